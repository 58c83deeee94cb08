/*
 * From the peers that are wanted to what is said to the device. Pure. Two things matter: a session is not ended without
 * need, so that no peer is taken away and made again; and an address that stays a peer's is never, not for a moment, no
 * peer's, since the packets of that moment would be lost. So the addresses of a peer are replaced only where it is to
 * have fewer, and what moves from one peer to another is moved by giving it to the other.
 */
import type { WireguardPeerChange, WireguardPeerState } from '../codec/wireguard/device.ts';
import type { PublicKey } from '../codec/wireguard/key.ts';
import { formatPrefix, type Prefix } from '../net/prefix.ts';
import type { TunnelPeer } from './tunnel.ts';

interface KnownPeer {
  readonly keepaliveSeconds: number;
  /** By how they are written. */
  readonly allowedIps: ReadonlySet<string>;
}

/** What the device is taken to have. */
export type KnownPeers = ReadonlyMap<PublicKey, KnownPeer>;

export interface PeerPlan {
  readonly changes: readonly WireguardPeerChange[];
  /** What it has once they are done. */
  readonly known: KnownPeers;
}

const noKey: Uint8Array = new Uint8Array(32);
/** Any interval does: it is on for a moment. */
const wakeSeconds = 25;

export function knownOf(peers: readonly WireguardPeerState[]): KnownPeers {
  return new Map(
    peers.map(({ publicKey, keepaliveSeconds, allowedIps }) => [
      publicKey,
      { keepaliveSeconds, allowedIps: new Set(allowedIps.map(formatPrefix)) },
    ]),
  );
}

function planAllowedIps(
  has: ReadonlySet<string>,
  wanted: ReadonlyMap<string, Prefix>,
): Pick<WireguardPeerChange, 'allowedIps' | 'replacesAllowedIps'> {
  if ([...has].some((text) => !wanted.has(text)))
    return { replacesAllowedIps: true, allowedIps: [...wanted.values()] };
  return { allowedIps: [...wanted].flatMap(([text, prefix]) => (has.has(text) ? [] : [prefix])) };
}

/** `put` in order, then `remove`; of those that are not known nothing is said. */
export function planPeers(
  known: KnownPeers,
  put: readonly TunnelPeer[],
  remove: readonly PublicKey[],
): PeerPlan {
  const next = new Map(known);
  const owners = new Map(
    [...known].flatMap(([key, { allowedIps }]) => [...allowedIps].map((ip) => [ip, key])),
  );
  const changes: WireguardPeerChange[] = [];
  for (const { publicKey, presharedKey, endpoint, keepaliveSeconds = 0, isAnew, allowedIps } of put) {
    const old = isAnew === true ? next.get(publicKey) : undefined;
    if (old !== undefined) {
      changes.push({ publicKey, isRemoved: true });
      next.delete(publicKey);
      for (const text of old.allowedIps) owners.delete(text);
    }
    const wanted = new Map(allowedIps.map((prefix) => [formatPrefix(prefix), prefix]));
    changes.push({
      publicKey,
      presharedKey: presharedKey?.reveal() ?? noKey,
      ...(endpoint === undefined ? {} : { endpoint }),
      keepaliveSeconds,
      ...planAllowedIps(next.get(publicKey)?.allowedIps ?? new Set(), wanted),
    });
    for (const text of wanted.keys()) {
      const owner = owners.get(text);
      const robbed = owner === undefined || owner === publicKey ? undefined : next.get(owner);
      if (owner !== undefined && robbed !== undefined)
        next.set(owner, {
          ...robbed,
          allowedIps: new Set([...robbed.allowedIps].filter((ip) => ip !== text)),
        });
      owners.set(text, publicKey);
    }
    for (const text of next.get(publicKey)?.allowedIps ?? []) if (!wanted.has(text)) owners.delete(text);
    next.set(publicKey, { keepaliveSeconds, allowedIps: new Set(wanted.keys()) });
  }
  for (const publicKey of remove) if (next.delete(publicKey)) changes.push({ publicKey, isRemoved: true });
  return { changes, known: next };
}

/** A keepalive from each of those that are known, now: it is sent when the interval is switched on. */
export function planWake(known: KnownPeers, peers: readonly PublicKey[]): readonly WireguardPeerChange[] {
  return peers.flatMap((publicKey) => {
    const keepaliveSeconds = known.get(publicKey)?.keepaliveSeconds;
    if (keepaliveSeconds === undefined) return [];
    const set = (seconds: number): WireguardPeerChange => ({
      ...{ publicKey, isUpdateOnly: true },
      keepaliveSeconds: seconds,
    });
    return keepaliveSeconds === 0 ? [set(wakeSeconds), set(0)] : [set(0), set(keepaliveSeconds)];
  });
}

/** A session that the other side takes packets of still (REJECT_AFTER_TIME). */
const sessionMs = 180_000;

/**
 * After an address of this host changed: each peer is sent to from whatever address leads there now, since wireguard-go
 * goes on with the one that it used before, and those with a session hear of it by a keepalive.
 */
export function planFreshPaths(
  peers: readonly WireguardPeerState[],
  nowMs: number,
): readonly WireguardPeerChange[] {
  const reachable = peers.filter(({ endpoint }) => endpoint !== undefined);
  const live = reachable.filter(
    ({ lastHandshakeMs }) => lastHandshakeMs !== undefined && nowMs - lastHandshakeMs < sessionMs,
  );
  return [
    ...reachable.flatMap(({ publicKey, endpoint }) =>
      endpoint === undefined ? [] : [{ publicKey, isUpdateOnly: true, endpoint }],
    ),
    ...planWake(
      knownOf(live),
      live.map(({ publicKey }) => publicKey),
    ),
  ];
}
