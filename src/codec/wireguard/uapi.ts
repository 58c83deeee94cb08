/*
 * The text that one speaks with wireguard-go over its socket: `set=1` or `get=1`, lines `key=value`, an empty line; the
 * answer ends with `errno=N` and an empty line. Pure. Keys are in hexadecimal. What `formatSet` returns may hold
 * secrets: it is for the socket alone. Contract: https://www.wireguard.com/xplatform/.
 */
import { formatPrefix, type Prefix, parsePrefix } from '../../net/prefix.ts';
import type {
  WireguardChange,
  WireguardEndpoint,
  WireguardPeerChange,
  WireguardPeerState,
  WireguardState,
} from './device.ts';
import { type PublicKey, publicKeyFromBytes, publicKeyOf, publicKeyToBytes, SecretKey } from './key.ts';
import { formatHostPort, parseHostPort } from '../../net/hostPort.ts';

/** Asks for all that the device has. */
export const getRequest = 'get=1\n\n';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function peerLines(change: WireguardPeerChange): readonly string[] {
  const { publicKey, presharedKey, endpoint, keepaliveSeconds, allowedIps = [] } = change;
  const key = `public_key=${hex(publicKeyToBytes(publicKey))}`;
  // Without the second, wireguard-go makes a peer in order to remove it.
  if (change.isRemoved === true) return [key, 'update_only=true', 'remove=true'];
  return [
    key,
    ...(change.isUpdateOnly === true ? ['update_only=true'] : []),
    ...(presharedKey === undefined ? [] : [`preshared_key=${hex(presharedKey)}`]),
    ...(endpoint === undefined ? [] : [`endpoint=${formatHostPort(endpoint)}`]),
    ...(keepaliveSeconds === undefined ? [] : [`persistent_keepalive_interval=${keepaliveSeconds}`]),
    ...(change.replacesAllowedIps === true ? ['replace_allowed_ips=true'] : []),
    ...allowedIps.map((prefix) => `allowed_ip=${formatPrefix(prefix)}`),
  ];
}

/** A whole request. It is done line by line, and not taken back where a line is refused. */
export function formatSet({ privateKey, port, fwmark, replacesPeers, peers = [] }: WireguardChange): string {
  const lines = [
    'set=1',
    ...(privateKey === undefined ? [] : [`private_key=${hex(privateKey)}`]),
    ...(port === undefined ? [] : [`listen_port=${port}`]),
    ...(fwmark === undefined ? [] : [`fwmark=${fwmark}`]),
    ...(replacesPeers === true ? ['replace_peers=true'] : []),
    ...peers.flatMap(peerLines),
  ];
  return `${lines.join('\n')}\n\n`;
}

/** Where the first answer in `text` ends, undefined while it is not complete. */
export function endOfReply(text: string): number | undefined {
  const at = text.indexOf('\n\n');
  return at < 0 ? undefined : at + 2;
}

/** What `errno=` of an answer says: 0 for success, else positive. Throws RangeError where there is none. */
export function errnoOfReply(reply: string): number {
  const found = /(?:^|\n)errno=(-?\d+)\n\n$/.exec(reply)?.[1];
  if (found === undefined) throw new RangeError('an answer without errno');
  return Math.abs(Number(found));
}

function keyOf(text: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new RangeError('a key that is not 64 hexadecimal digits');
  return Buffer.from(text, 'hex');
}

/** A number of an answer: decimal, whole, not negative. */
function numberOf(text: string): number {
  if (!/^\d{1,19}$/.test(text)) throw new RangeError(`'${text}' is no number`);
  return Number(text);
}

function prefixOfText(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new RangeError(`'${text}' is no subnet`);
  return prefix;
}

/** What lines of a peer say so far. */
interface PeerDraft {
  readonly publicKey: PublicKey;
  hasPresharedKey: boolean;
  endpoint: WireguardEndpoint | undefined;
  keepaliveSeconds: number;
  handshakeMs: number;
  receivedBytes: number;
  sentBytes: number;
  readonly allowedIps: Prefix[];
}

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

function takePeerLine(draft: PeerDraft, key: string, value: string): void {
  switch (key) {
    case 'preshared_key':
      draft.hasPresharedKey = !isZero(keyOf(value));
      break;
    case 'endpoint':
      // Undefined for one with a zone, which means nothing outside this machine's links.
      draft.endpoint = parseHostPort(value);
      break;
    case 'persistent_keepalive_interval':
      draft.keepaliveSeconds = numberOf(value);
      break;
    case 'last_handshake_time_sec':
      draft.handshakeMs += numberOf(value) * 1000;
      break;
    case 'last_handshake_time_nsec':
      draft.handshakeMs += Math.floor(numberOf(value) / 1e6);
      break;
    case 'rx_bytes':
      draft.receivedBytes = numberOf(value);
      break;
    case 'tx_bytes':
      draft.sentBytes = numberOf(value);
      break;
    case 'allowed_ip':
      draft.allowedIps.push(prefixOfText(value));
      break;
  }
}

function finishPeer({ handshakeMs, ...rest }: PeerDraft): WireguardPeerState {
  return { ...rest, lastHandshakeMs: handshakeMs === 0 ? undefined : handshakeMs };
}

/** The device that an answer to `get=1` tells of. Lines that it does not know it passes over. Throws RangeError. */
export function parseDevice(reply: string): WireguardState {
  let privateKey: SecretKey | undefined;
  let port = 0;
  let fwmark = 0;
  const peers: PeerDraft[] = [];
  for (const line of reply.split('\n')) {
    const at = line.indexOf('=');
    const [key, value] = [line.slice(0, at), line.slice(at + 1)];
    const current = peers.at(-1);
    if (key === 'public_key')
      peers.push({
        ...{ publicKey: publicKeyFromBytes(keyOf(value)), hasPresharedKey: false, endpoint: undefined },
        ...{ keepaliveSeconds: 0, handshakeMs: 0, receivedBytes: 0, sentBytes: 0, allowedIps: [] },
      });
    else if (current !== undefined) takePeerLine(current, key, value);
    else if (key === 'private_key')
      privateKey = isZero(keyOf(value)) ? undefined : new SecretKey(keyOf(value));
    else if (key === 'listen_port') port = numberOf(value);
    else if (key === 'fwmark') fwmark = numberOf(value);
  }
  const publicKey = privateKey === undefined ? undefined : publicKeyOf(privateKey);
  return { publicKey, port, fwmark, peers: peers.map(finishPeer) };
}
