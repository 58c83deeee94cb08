/*
 * WireGuard devices as messages of the generic netlink family `wireguard`, version 1. Pure. A long list of peers, or of
 * what a peer is allowed, is split over several messages, both ways: whoever is named again continues. Contract:
 * linux/wireguard.h.
 *
 *   sockaddr_in    0 u16 AF_INET  | 2 u16 port | 4 address | 8 zeros                        16 bytes
 *   sockaddr_in6   0 u16 AF_INET6 | 2 u16 port | 4 u32 flow | 8 address | 24 u32 scope      28 bytes
 *   timespec       0 i64 seconds | 8 i64 nanoseconds
 * Ports of these and addresses are in network byte order, all other integers in the machine's.
 */
import { type Ip, ipFromBytes, ipToBytes } from '../../net/ip.ts';
import { type Prefix, prefixOf } from '../../net/prefix.ts';
import type {
  WireguardChange,
  WireguardEndpoint,
  WireguardPeerChange,
  WireguardPeerState,
  WireguardState,
} from '../wireguard/device.ts';
import { type PublicKey, publicKeyFromBytes, publicKeyToBytes } from '../wireguard/key.ts';
import { decodeAttributes, decodeElements, messageFlag, u8Of, u16Of, u32Of, view, Writer } from './core.ts';
import { genericHeaderBytes, writeGenericHeader } from './generic.ts';

export const wireguardFamilyName = 'wireguard';
const version = 1;
const command = { getDevice: 0, setDevice: 1 } as const;
const device = {
  name: 2,
  privateKey: 3,
  publicKey: 4,
  flags: 5,
  listenPort: 6,
  fwmark: 7,
  peers: 8,
} as const;
const replacePeers = 1;
const peer = {
  publicKey: 1,
  presharedKey: 2,
  flags: 3,
  endpoint: 4,
  keepalive: 5,
  lastHandshake: 6,
  receivedBytes: 7,
  sentBytes: 8,
  allowedIps: 9,
} as const;
const peerFlag = { removeMe: 1, replaceAllowedIps: 2, updateOnly: 4 } as const;
const allowedIp = { family: 1, address: 2, length: 3 } as const;
const inet = 2;
const inet6 = 10;

/** Most that peers take of a message: half of what a list attribute can hold, and far below a socket's buffer. */
const listBytes = 32_768;
/** The most that a peer takes without what it is allowed, and one that it is allowed, with their headers. */
const peerBytes = 136;
const allowedIpBytes = 40;
const allowedIpsEach: number = Math.floor((listBytes - peerBytes) / allowedIpBytes);

function writeEndpoint(w: Writer, { ip, port }: WireguardEndpoint): void {
  w.u16(ip.family === 4 ? inet : inet6);
  w.u16be(port);
  if (ip.family === 6) w.u32(0);
  w.bytes(ipToBytes(ip));
  w.u32(0);
  if (ip.family === 4) w.u32(0);
}

function writeAllowedIp(w: Writer, { base, length }: Prefix): void {
  w.nested(0, () => {
    w.u16Attribute(allowedIp.family, base.family === 4 ? inet : inet6);
    w.bytesAttribute(allowedIp.address, ipToBytes(base));
    w.u8Attribute(allowedIp.length, length);
  });
}

function flagsOf({ isRemoved, replacesAllowedIps, isUpdateOnly }: WireguardPeerChange): number {
  return (
    (isRemoved === true ? peerFlag.removeMe : 0) |
    (replacesAllowedIps === true ? peerFlag.replaceAllowedIps : 0) |
    (isUpdateOnly === true ? peerFlag.updateOnly : 0)
  );
}

function writePeer(w: Writer, change: WireguardPeerChange): void {
  const { publicKey, presharedKey, endpoint, keepaliveSeconds, allowedIps } = change;
  const flags = flagsOf(change);
  w.nested(0, () => {
    w.bytesAttribute(peer.publicKey, publicKeyToBytes(publicKey));
    if (flags !== 0) w.u32Attribute(peer.flags, flags);
    if (presharedKey !== undefined) w.bytesAttribute(peer.presharedKey, presharedKey);
    if (endpoint !== undefined) w.attribute(peer.endpoint, () => writeEndpoint(w, endpoint));
    if (keepaliveSeconds !== undefined) w.u16Attribute(peer.keepalive, keepaliveSeconds);
    if (allowedIps !== undefined && allowedIps.length > 0)
      w.nested(peer.allowedIps, () => {
        for (const prefix of allowedIps) writeAllowedIp(w, prefix);
      });
  });
}

/** The same in pieces that fit a message. */
function splitPeer(change: WireguardPeerChange): readonly WireguardPeerChange[] {
  const { allowedIps = [], publicKey } = change;
  if (allowedIps.length <= allowedIpsEach) return [change];
  const pieces: WireguardPeerChange[] = [{ ...change, allowedIps: allowedIps.slice(0, allowedIpsEach) }];
  for (let at = allowedIpsEach; at < allowedIps.length; at += allowedIpsEach)
    pieces.push({ publicKey, isUpdateOnly: true, allowedIps: allowedIps.slice(at, at + allowedIpsEach) });
  return pieces;
}

/** As many lists as there are messages; at least one, which may be empty. */
function splitPeers(peers: readonly WireguardPeerChange[]): readonly (readonly WireguardPeerChange[])[] {
  const lists: WireguardPeerChange[][] = [[]];
  let bytes = 0;
  for (const piece of peers.flatMap(splitPeer)) {
    const length = peerBytes + (piece.allowedIps?.length ?? 0) * allowedIpBytes;
    if (bytes + length > listBytes) {
      lists.push([]);
      bytes = 0;
    }
    bytes += length;
    lists.at(-1)?.push(piece);
  }
  return lists;
}

/**
 * WG_CMD_SET_DEVICE, one message unless there are hundreds of peers: then only each message for itself is done as a
 * whole. `family`: as the kernel numbers it. ENODEV without the device, EADDRINUSE where the port is taken.
 */
export function encodeSetDevice(family: number, name: string, change: WireguardChange): Uint8Array[] {
  const { privateKey, port, fwmark, replacesPeers, peers = [] } = change;
  return splitPeers(peers).map((list, i) => {
    const w = new Writer();
    w.message(family, messageFlag.request | messageFlag.ack, () => {
      writeGenericHeader(w, command.setDevice, version);
      w.stringAttribute(device.name, name);
      if (i === 0) {
        if (replacesPeers === true) w.u32Attribute(device.flags, replacePeers);
        if (privateKey !== undefined) w.bytesAttribute(device.privateKey, privateKey);
        if (port !== undefined) w.u16Attribute(device.listenPort, port);
        if (fwmark !== undefined) w.u32Attribute(device.fwmark, fwmark);
      }
      if (list.length > 0)
        w.nested(device.peers, () => {
          for (const one of list) writePeer(w, one);
        });
    });
    return w.finish();
  });
}

/** WG_CMD_GET_DEVICE, a dump; ENODEV without the device, EOPNOTSUPP where the link is none. */
export function encodeGetDevice(family: number, name: string): Uint8Array {
  const w = new Writer();
  w.message(family, messageFlag.request | messageFlag.dump, () => {
    writeGenericHeader(w, command.getDevice, version);
    w.stringAttribute(device.name, name);
  });
  return w.finish();
}

/** Undefined for one with a scope, which means nothing outside this machine's links. */
function decodeEndpoint(bytes: Uint8Array | undefined): WireguardEndpoint | undefined {
  if (bytes === undefined || bytes.length < 16) return undefined;
  const data = view(bytes);
  const [family, port] = [data.getUint16(0, true), data.getUint16(2, false)];
  const of = (at: number, length: number): Ip => ipFromBytes(bytes.slice(at, at + length));
  if (family === inet) return { ip: of(4, 4), port };
  if (family !== inet6 || bytes.length < 28 || data.getUint32(24, true) !== 0) return undefined;
  return { ip: of(8, 16), port };
}

function decodeTimeMs(bytes: Uint8Array | undefined): number | undefined {
  if (bytes === undefined || bytes.length < 16) return undefined;
  const data = view(bytes);
  const ms = Number(data.getBigInt64(0, true)) * 1000 + Math.floor(Number(data.getBigInt64(8, true)) / 1e6);
  return ms === 0 ? undefined : ms;
}

const u64Of = (bytes: Uint8Array | undefined): number =>
  bytes === undefined ? 0 : Number(view(bytes).getBigUint64(0, true));

function decodeAllowedIp(bytes: Uint8Array): Prefix {
  const attributes = decodeAttributes(bytes);
  const address = attributes.get(allowedIp.address);
  const length = u8Of(attributes.get(allowedIp.length));
  if (address === undefined || length === undefined) throw new RangeError('an allowed IP without address');
  return prefixOf(ipFromBytes(address), length);
}

const isZero = (bytes: Uint8Array | undefined): boolean => bytes?.every((byte) => byte === 0) ?? true;

function decodePeer(bytes: Uint8Array): WireguardPeerState {
  const attributes = decodeAttributes(bytes);
  const key = attributes.get(peer.publicKey);
  if (key === undefined) throw new RangeError('a peer without a key');
  const allowed = attributes.get(peer.allowedIps);
  return {
    publicKey: publicKeyFromBytes(key),
    hasPresharedKey: !isZero(attributes.get(peer.presharedKey)),
    endpoint: decodeEndpoint(attributes.get(peer.endpoint)),
    keepaliveSeconds: u16Of(attributes.get(peer.keepalive)) ?? 0,
    lastHandshakeMs: decodeTimeMs(attributes.get(peer.lastHandshake)),
    receivedBytes: u64Of(attributes.get(peer.receivedBytes)),
    sentBytes: u64Of(attributes.get(peer.sentBytes)),
    allowedIps: allowed === undefined ? [] : decodeElements(allowed).map(decodeAllowedIp),
  };
}

/** One message of the answer to WG_CMD_GET_DEVICE; keeps nothing of `payload`. */
export function decodeDevice(payload: Uint8Array): WireguardState {
  const attributes = decodeAttributes(payload, genericHeaderBytes);
  const key = attributes.get(device.publicKey);
  const peers = attributes.get(device.peers);
  return {
    publicKey: key === undefined || isZero(key) ? undefined : publicKeyFromBytes(key),
    port: u16Of(attributes.get(device.listenPort)) ?? 0,
    fwmark: u32Of(attributes.get(device.fwmark)) ?? 0,
    peers: peers === undefined ? [] : decodeElements(peers).map(decodePeer),
  };
}

/** The device that all messages of one answer tell of: the first has what is the device's own, a peer may be in several. */
export function mergeDevice(parts: readonly WireguardState[]): WireguardState {
  const [first] = parts;
  if (first === undefined) throw new RangeError('an answer without a device');
  const peers = new Map<PublicKey, WireguardPeerState>();
  for (const one of parts.flatMap((part) => part.peers)) {
    const before = peers.get(one.publicKey);
    peers.set(
      one.publicKey,
      before === undefined ? one : { ...before, allowedIps: [...before.allowedIps, ...one.allowedIps] },
    );
  }
  return { ...first, peers: [...peers.values()] };
}
