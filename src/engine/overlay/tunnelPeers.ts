/*
 * The peers of this node's WireGuard device: made of the other nodes and of the paths to them, and told to the device, of
 * which only what is new is said, since it may know better where the others are.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { SwarmNode } from '../../cluster/swarmNetworks.ts';
import { type PublicKey, parsePublicKey, presharedKeyOf } from '../../codec/wireguard/key.ts';
import { parseHostPort } from '../../net/hostPort.ts';
import type { Ip } from '../../net/ip.ts';
import type { Tunnel, TunnelPeer } from '../../tunnels/tunnel.ts';
import type { Route } from './tunnelPaths.ts';

export interface TunnelPeersDependencies {
  /** The same on all nodes; each pair has a preshared key made of it. */
  readonly secret?: Uint8Array;
  readonly addressOf: (number: number) => Ip;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborted when the daemon ends. */
  readonly stopping: AbortSignal;
  /** In turn with all else that changes the device; not called for one that is another by then. */
  readonly inTurn: (tunnel: Tunnel, work: () => Promise<void>) => Promise<void>;
}

/** How long the old key of a node is known beside its new one. */
const retireMs = 3000;

interface ToldPeer extends Route {
  /** But for its place. */
  readonly peer: TunnelPeer;
  /** Of both ends: what the preshared key is made of. */
  readonly keys: string;
  /** Numbers of the nodes whose addresses it has. */
  readonly carries: readonly number[];
}

/** By node. */
type ToldPeers = ReadonlyMap<string, ToldPeer>;

export interface Wanted {
  /** This node's public key. */
  readonly own: PublicKey;
  /** The others. */
  readonly nodes: readonly SwarmNode[];
  readonly routeTo: (nodeId: string) => Route;
  /** Where the device has it is where it is, whatever managers say. */
  readonly isLive: (nodeId: string) => boolean;
}

/** With the place that it is sent to from now on. */
function placed({ peer, endpoint: text = '' }: ToldPeer): TunnelPeer {
  const endpoint = parseHostPort(text);
  return endpoint === undefined ? peer : { ...peer, endpoint };
}

export class TunnelPeers {
  readonly #deps: TunnelPeersDependencies;
  /** What the device was told; undefined where that is not known. */
  #told: ToldPeers | undefined;

  constructor(deps: TunnelPeersDependencies) {
    this.#deps = deps;
  }

  /** The device is to be told all, before anything else. */
  get isUnknown(): boolean {
    return this.#told === undefined;
  }

  /** It is another device. */
  forget(): void {
    this.#told = undefined;
  }

  async tell(tunnel: Tunnel, wanted: Wanted): Promise<void> {
    const now = this.#toldOf(wanted);
    const before = this.#told;
    this.#told = undefined;
    const whole = ([id, told]: readonly [string, ToldPeer]): TunnelPeer =>
      wanted.isLive(id) ? told.peer : placed(told);
    if (before === undefined) await tunnel.setPeers([...now].map(whole));
    else await this.#change(tunnel, before, now);
    this.#told = now;
  }

  async #change(tunnel: Tunnel, before: ToldPeers, wanted: ToldPeers): Promise<void> {
    const put = [...wanted].filter(([id, told]) => before.get(id) !== told);
    const gone = [...before].flatMap(([id, { peer }]) => (wanted.has(id) ? [] : peer.publicKey));
    if (put.length + gone.length === 0) return;
    const changed = put.flatMap(([id, { peer }]) => {
      const old = before.get(id)?.peer.publicKey;
      return old === undefined || old === peer.publicKey ? [] : [{ old, now: peer.publicKey }];
    });
    const places = changed.length === 0 ? [] : await tunnel.peers();
    const changes = put.map(([id, told]) => {
      const known = before.get(id);
      if (known?.peer.publicKey !== told.peer.publicKey) {
        // Where the node is, its new key is.
        const place = places.find(({ publicKey }) => publicKey === known?.peer.publicKey)?.endpoint;
        return place === undefined ? placed(told) : { ...told.peer, endpoint: place };
      }
      if (known.serial !== told.serial) return { ...placed(told), isAnew: true };
      return known.endpoint === told.endpoint ? told.peer : placed(told);
    });
    // Who gets an address comes before who loses it, so that it is always somebody's.
    const had = new Map([...before.values()].map(({ peer }) => [peer.publicKey, peer.allowedIps.length]));
    const growth = (peer: TunnelPeer): number => peer.allowedIps.length - (had.get(peer.publicKey) ?? 0);
    await tunnel.changePeers({ put: changes.toSorted((a, b) => growth(b) - growth(a)), remove: gone });
    if (changed.length === 0) return;
    // One with another key than before cannot begin a session until it is heard from.
    await tunnel.wake(changed.map(({ now }) => now));
    void this.#retire(
      tunnel,
      changed.map(({ old }) => old),
    );
  }

  /** Of nodes that have another key by now: what is on its way under the old one is to get there. */
  async #retire(tunnel: Tunnel, old: readonly PublicKey[]): Promise<void> {
    const { clock, logger, stopping, inTurn } = this.#deps;
    try {
      await clock.sleep(retireMs, stopping);
      await inTurn(tunnel, async () => {
        const inUse = new Set([...(this.#told ?? [])].map(([, { peer }]) => peer.publicKey));
        await tunnel.changePeers({ remove: old.filter((key) => !inUse.has(key)) });
      });
    } catch (error) {
      // The next `setPeers` does it.
      if (!stopping.aborted) logger.debug({ err: error }, 'could not remove an old key');
    }
  }

  /** What was told already is as it was: nothing of it is computed again. */
  #toldOf({ own, nodes, routeTo }: Wanted): ToldPeers {
    const found = nodes.flatMap(({ id, tunnel }) => {
      const publicKey = parsePublicKey(tunnel?.publicKey ?? '');
      if (tunnel === undefined || publicKey === undefined) return [];
      return { id, publicKey, number: tunnel.number, route: routeTo(id) };
    });
    const ids = new Set(found.map(({ id }) => id));
    const carried = new Map<string, number[]>();
    for (const { id, number, route } of found) {
      const by = route.relay !== undefined && ids.has(route.relay) ? route.relay : id;
      carried.set(by, [...(carried.get(by) ?? []), number]);
    }
    return new Map(
      found.map(({ id, publicKey, route }) => {
        const told = { ...route, keys: `${own} ${publicKey}`, carries: carried.get(id) ?? [] };
        const known = this.#told?.get(id);
        if (known !== undefined && isDeepStrictEqual(known, { ...told, peer: known.peer }))
          return [id, known];
        return [id, { ...told, peer: this.#peerOf(own, publicKey, told) }];
      }),
    );
  }

  #peerOf(own: PublicKey, publicKey: PublicKey, told: Omit<ToldPeer, 'peer'>): TunnelPeer {
    const { secret, addressOf } = this.#deps;
    return {
      ...{ publicKey, keepaliveSeconds: told.keepaliveSeconds },
      allowedIps: told.carries.map((number) => ({ base: addressOf(number), length: 32 })),
      ...(secret === undefined ? {} : { presharedKey: presharedKeyOf(secret, own, publicKey) }),
    };
  }
}
