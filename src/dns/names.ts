/*
 * The names that containers have on networks, indexed for a resolver: by network and name, and by address backwards.
 * Changed one endpoint at a time; a look-up costs a map access, however many endpoints there are. Pure.
 */
import { encodeName, foldName, parseLabels } from '../codec/dns/name.ts';
import { formatIp, type Ip, ipToBytes, parseIp } from '../net/ip.ts';

/** An endpoint as the resolver knows it. */
export interface NamedEndpoint {
  readonly id: string;
  /** Network id. */
  readonly network: string;
  readonly networkName: string;
  /** The first is what an address is called when asked backwards. */
  readonly names: readonly string[];
  /** Addresses in text, without length. */
  readonly addresses: readonly string[];
}

/** RDATA of A and AAAA records. */
export interface Addresses {
  readonly v4: readonly Uint8Array[];
  readonly v6: readonly Uint8Array[];
}

interface Entry extends Addresses {
  /** Endpoint id to its addresses. */
  readonly members: Map<string, readonly Ip[]>;
}

interface Zone {
  name: string;
  readonly endpoints: Set<string>;
  readonly entries: Map<string, Entry>;
  /** `2.0.18.172.in-addr.arpa` → RDATA of a PTR record, and whose it is. */
  readonly pointers: Map<string, { readonly endpoint: string; readonly data: Uint8Array }>;
}

/** The name under which PTR records of an address are asked for (RFC 1035 §3.5, RFC 3596 §2.5). */
export function pointerName(ip: Ip): string {
  if (ip.family === 4) return `${formatIp(ip).split('.').reverse().join('.')}.in-addr.arpa`;
  const digits = ip.bits.toString(16).padStart(32, '0');
  return `${digits.split('').reverse().join('.')}.ip6.arpa`;
}

/** The key of a name; undefined for what is no domain name, such as an alias with empty labels. */
function keyOf(name: string): string | undefined {
  const text = name.endsWith('.') ? name.slice(0, -1) : name;
  try {
    return parseLabels(text).length > 0 ? foldName(text) : undefined;
  } catch {
    return undefined;
  }
}

function toEntry(members: Map<string, readonly Ip[]>): Entry {
  const all = [...members.values()].flat();
  const bytesOf = (family: 4 | 6): readonly Uint8Array[] =>
    all.filter((ip) => ip.family === family).map(ipToBytes);
  return { members, v4: bytesOf(4), v6: bytesOf(6) };
}

export class NameIndex {
  readonly #zones = new Map<string, Zone>();
  readonly #endpoints = new Map<string, NamedEndpoint>();

  /** Adds or replaces. */
  put(endpoint: NamedEndpoint): void {
    this.del(endpoint.id);
    this.#endpoints.set(endpoint.id, endpoint);
    const zone = this.#zones.get(endpoint.network) ?? {
      ...{ name: '', endpoints: new Set(), entries: new Map(), pointers: new Map() },
    };
    this.#zones.set(endpoint.network, zone);
    zone.name = foldName(endpoint.networkName);
    zone.endpoints.add(endpoint.id);
    const ips = endpoint.addresses.flatMap((text) => parseIp(text) ?? []);
    for (const key of new Set(endpoint.names.flatMap((name) => keyOf(name) ?? []))) {
      const members = zone.entries.get(key)?.members ?? new Map<string, readonly Ip[]>();
      zone.entries.set(key, toEntry(members.set(endpoint.id, ips)));
    }
    const fullName = `${endpoint.names[0] ?? ''}.${endpoint.networkName}`;
    if (keyOf(fullName) === undefined || endpoint.names.length === 0) return;
    const data = encodeName(fullName);
    for (const ip of ips) zone.pointers.set(pointerName(ip), { endpoint: endpoint.id, data });
  }

  /** Success if there is none. */
  del(id: string): void {
    const endpoint = this.#endpoints.get(id);
    const zone = endpoint === undefined ? undefined : this.#zones.get(endpoint.network);
    if (endpoint === undefined || zone === undefined) return;
    this.#endpoints.delete(id);
    zone.endpoints.delete(id);
    if (zone.endpoints.size === 0) this.#zones.delete(endpoint.network);
    for (const key of endpoint.names.flatMap((name) => keyOf(name) ?? [])) {
      const members = zone.entries.get(key)?.members;
      members?.delete(id);
      if (members === undefined || members.size === 0) zone.entries.delete(key);
      else zone.entries.set(key, toEntry(members));
    }
    for (const ip of endpoint.addresses.flatMap((text) => parseIp(text) ?? [])) {
      const name = pointerName(ip);
      if (zone.pointers.get(name)?.endpoint === id) zone.pointers.delete(name);
    }
  }

  /** The network's name in lower case; undefined while nothing is attached to it. */
  networkName(network: string): string | undefined {
    return this.#zones.get(network)?.name;
  }

  /** What `folded`, a name in lower case, stands for on a network. */
  find(network: string, folded: string): Addresses | undefined {
    return this.#zones.get(network)?.entries.get(folded);
  }

  /** RDATA of the PTR record of `folded`, a reverse name in lower case. */
  findPointer(network: string, folded: string): Uint8Array | undefined {
    return this.#zones.get(network)?.pointers.get(folded)?.data;
  }

  get size(): number {
    return this.#endpoints.size;
  }
}
