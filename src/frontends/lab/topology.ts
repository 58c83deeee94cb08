/*
 * What a lab looks like, as data: segments (layer 2 networks), and the hosts and routers that have links to them. Pure;
 * underlay.ts makes it. This plan is the flat one; sites.ts has that of several sites.
 *
 *     [host1] eth0 192.0.2.11/24 ─┐
 *     [host2] eth0 192.0.2.12/24 ─┼─ underlay (a bridge)
 *     [host3] eth0 192.0.2.13/24 ─┘
 */
import { CliError } from '../cli/cliError.ts';

export interface Segment {
  /** Names the bridge in the underlay's namespace: 15 characters at most. */
  readonly name: string;
  readonly prefixLength: number;
}

export interface StationLink {
  /** Of the station's end. */
  readonly device: string;
  readonly segment: string;
  readonly address: string;
}

/** What has links to segments. */
export interface Station {
  readonly name: string;
  /** A host's first one is what other hosts know it by. */
  readonly links: readonly StationLink[];
}

/** Its name is its host name, too. */
export interface LabHost extends Station {
  /** Its default route; absent = there is no way out of its segments. */
  readonly gateway?: string;
}

/** How a router translates what leaves: with the source port as it was, or another one for each destination. */
export type NatKind = 'portPreserving' | 'symmetric';

/** A site's way to the internet, named like the site. Its links are `lan` and `wan`. */
export interface LabRouter extends Station {
  readonly routes: readonly { readonly to: string; readonly via: string }[];
  /** Absent = the site's addresses are known everywhere. */
  readonly nat?: NatKind;
}

export interface Topology {
  readonly segments: readonly Segment[];
  readonly hosts: readonly LabHost[];
  /** Absent in a lab of one segment. */
  readonly routers?: readonly LabRouter[];
}

export const mostHosts = 16;

/** `host1` to `hostN`. */
export function hostNames(count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => `host${i + 1}`);
}

/** One segment with all hosts on it, from 192.0.2.11 (TEST-NET-1, RFC 5737) on. At most `mostHosts`. */
export function planTopology(names: readonly string[]): Topology {
  return {
    segments: [{ name: 'underlay', prefixLength: 24 }],
    hosts: names.map((name, i) => ({
      name,
      links: [{ device: 'eth0', segment: 'underlay', address: `192.0.2.${11 + i}` }],
    })),
  };
}

/** The address that other hosts know it by. */
export function addressOf(host: LabHost): string {
  return host.links[0]?.address ?? '';
}

/** The station's port at a segment's bridge. */
export function portName(station: Station, link: StationLink): string {
  return `${station.name}-${link.device}`;
}

export function routersOf({ routers }: Topology): readonly LabRouter[] {
  return routers ?? [];
}

/** The router of the site that a host is in, if there are sites. */
export function findRouterOf(topology: Topology, host: LabHost): LabRouter | undefined {
  const isHere = ({ links }: LabRouter): boolean => links[0]?.segment === host.links[0]?.segment;
  return routersOf(topology).find(isHere);
}

/** Whether others than those of its own segment can begin a conversation with it. */
export function isReachable(topology: Topology, host: LabHost): boolean {
  return findRouterOf(topology, host)?.nat === undefined;
}

function getNamed<Named extends Station>(all: readonly Named[], what: string, name: string): Named {
  const found = all.find((each) => each.name === name);
  if (found !== undefined) return found;
  const names = all.map((each) => each.name).join(', ');
  throw new CliError(`lab: there is no ${what} ${name}; this lab has ${names}`);
}

/** Throws with the names that there are. */
export function getHost(topology: Topology, name: string): LabHost {
  return getNamed(topology.hosts, 'host', name);
}

/** A host, or the router of a site by the site's name. Throws with the names that there are. */
export function getStation(topology: Topology, name: string): Station {
  const routers = routersOf(topology);
  const what = routers.length === 0 ? 'host' : 'host or site';
  return getNamed([...topology.hosts, ...routers], what, name);
}
