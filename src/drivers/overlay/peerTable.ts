/*
 * Who is on the other hosts, and what that means for a VXLAN device. Pure. An address has one owner, the one that was
 * told last; a link address leads to the host of the peer that was told last. Not for endpoints of this host.
 */
import type { PeerChange, Peers } from '../../kernel/kernel.ts';
import { formatIp, type Ip } from '../../net/ip.ts';
import type { Mac } from '../../net/mac.ts';

/** An address of an endpoint on another host; an endpoint with two addresses is two peers. */
export interface OverlayPeer {
  readonly endpointId: string;
  readonly ip: Ip;
  readonly mac: Mac;
  /** Address of that host on the way that leads there. */
  readonly vtep: Ip;
  /**
   * Of a network that is not encrypted: packets for it go through the encrypted tunnels all the same, since no other way
   * leads there; `vtep` is an address inside.
   */
  readonly isDetour?: boolean;
}

export type Difference = Pick<PeerChange, 'replace' | 'del'>;

/** Of one segment. `add` and `remove` say what they change for the device; undefined = nothing. */
export class PeerTable {
  readonly #byIp = new Map<string, OverlayPeer>();
  /** Of each link address its peers by address, in the order in which they were told. */
  readonly #byMac = new Map<Mac, Map<string, OverlayPeer>>();
  /** Numbers of peers by host. */
  readonly #byVtep = new Map<string, { readonly vtep: Ip; readonly count: number }>();

  constructor(peers: readonly OverlayPeer[] = []) {
    for (const peer of peers) this.#put(peer);
  }

  get size(): number {
    return this.#byIp.size;
  }

  /** Adds, or changes what is known of the address. */
  add(peers: readonly OverlayPeer[]): Difference | undefined {
    return this.#change(peers, (peer) => this.#put(peer));
  }

  /** Passes over those whose address another endpoint has by now. */
  remove(peers: readonly Pick<OverlayPeer, 'endpointId' | 'ip'>[]): Difference | undefined {
    const present = peers.flatMap(({ endpointId, ip }) => {
      const found = this.#byIp.get(formatIp(ip));
      return found?.endpointId === endpointId ? found : [];
    });
    return this.#change(present, ({ ip }) => this.#drop(formatIp(ip)));
  }

  /** Of addresses that another device leads to from now on. */
  give(ips: readonly Ip[]): Difference | undefined {
    const present = ips.flatMap((ip) => this.#byIp.get(formatIp(ip)) ?? []);
    return present.length === 0 ? undefined : this.remove(present);
  }

  /** What the device must have. */
  peers(): Peers {
    const forwards = [...this.#byMac.keys()].flatMap((mac) => {
      const vtep = this.#vtepOf(mac);
      return vtep === undefined ? [] : { mac, vtep };
    });
    return { forwards, neighbours: [...this.#byIp.values()].map(({ ip, mac }) => ({ ip, mac })) };
  }

  /** The hosts that they are on. */
  vteps(): readonly Ip[] {
    return [...this.#byVtep.values()].map(({ vtep }) => vtep);
  }

  #count({ vtep }: OverlayPeer, by: 1 | -1): void {
    const key = formatIp(vtep);
    const count = (this.#byVtep.get(key)?.count ?? 0) + by;
    if (count === 0) this.#byVtep.delete(key);
    else this.#byVtep.set(key, { vtep, count });
  }

  #put(peer: OverlayPeer): void {
    const key = formatIp(peer.ip);
    this.#drop(key);
    this.#byIp.set(key, peer);
    this.#count(peer, 1);
    const ofMac = this.#byMac.get(peer.mac) ?? new Map<string, OverlayPeer>();
    this.#byMac.set(peer.mac, ofMac.set(key, peer));
  }

  #drop(key: string): void {
    const old = this.#byIp.get(key);
    if (old === undefined) return;
    this.#byIp.delete(key);
    this.#count(old, -1);
    const ofMac = this.#byMac.get(old.mac);
    ofMac?.delete(key);
    if (ofMac?.size === 0) this.#byMac.delete(old.mac);
  }

  #vtepOf(mac: Mac): Ip | undefined {
    return [...(this.#byMac.get(mac)?.values() ?? [])].at(-1)?.vtep;
  }

  #change(peers: readonly OverlayPeer[], apply: (peer: OverlayPeer) => void): Difference | undefined {
    const ips = new Map(peers.map(({ ip }) => [formatIp(ip), ip]));
    const macs = new Set(peers.map(({ mac }) => mac));
    for (const key of ips.keys()) {
      const old = this.#byIp.get(key);
      if (old !== undefined) macs.add(old.mac);
    }
    const now = (): Peers => ({
      forwards: [...macs].flatMap((mac) => {
        const vtep = this.#vtepOf(mac);
        return vtep === undefined ? [] : { mac, vtep };
      }),
      neighbours: [...ips].flatMap(([key, ip]) => {
        const mac = this.#byIp.get(key)?.mac;
        return mac === undefined ? [] : { ip, mac };
      }),
    });
    const before = now();
    for (const peer of peers) apply(peer);
    return differenceOf(before, now());
  }
}

/** What makes `wanted` out of `actual`; undefined if they are the same. */
export function differenceOf(actual: Peers, wanted: Peers): Difference | undefined {
  const vtepOf = new Map(actual.forwards.map(({ mac, vtep }) => [mac, formatIp(vtep)]));
  const macOf = new Map(actual.neighbours.map(({ ip, mac }) => [formatIp(ip), mac]));
  const macs = new Set(wanted.forwards.map(({ mac }) => mac));
  const ips = new Set(wanted.neighbours.map(({ ip }) => formatIp(ip)));
  const difference = {
    replace: {
      forwards: wanted.forwards.filter(({ mac, vtep }) => vtepOf.get(mac) !== formatIp(vtep)),
      neighbours: wanted.neighbours.filter(({ ip, mac }) => macOf.get(formatIp(ip)) !== mac),
    },
    del: {
      macs: [...new Set(actual.forwards.map(({ mac }) => mac))].filter((mac) => !macs.has(mac)),
      ips: actual.neighbours.map(({ ip }) => ip).filter((ip) => !ips.has(formatIp(ip))),
    },
  };
  const { replace, del } = difference;
  const count = replace.forwards.length + replace.neighbours.length + del.macs.length + del.ips.length;
  return count === 0 ? undefined : difference;
}

/** Pieces of at most `most` entries, in the order of a whole one, so that other work of the kernel's gets between. */
export function piecesOf({ replace, del }: Difference, most: number): readonly Difference[] {
  const none: Difference = { replace: { forwards: [], neighbours: [] }, del: { macs: [], ips: [] } };
  const split = <T>(
    entries: readonly T[],
    piece: (some: readonly T[]) => Difference,
  ): readonly Difference[] =>
    Array.from({ length: Math.ceil(entries.length / most) }, (_, i) =>
      piece(entries.slice(i * most, (i + 1) * most)),
    );
  return [
    ...split(replace.forwards, (forwards) => ({ ...none, replace: { forwards, neighbours: [] } })),
    ...split(replace.neighbours, (neighbours) => ({ ...none, replace: { forwards: [], neighbours } })),
    ...split(del.ips, (ips) => ({ ...none, del: { macs: [], ips } })),
    ...split(del.macs, (macs) => ({ ...none, del: { macs, ips: [] } })),
  ];
}
