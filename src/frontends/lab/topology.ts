/*
 * What a lab looks like, as data: segments (layer 2 networks) and the hosts that have links to them. Pure; underlay.ts
 * makes it. Today there is one plan, one segment; several sites would be several segments.
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

export interface HostLink {
  /** Of the host's end. */
  readonly device: string;
  readonly segment: string;
  readonly address: string;
}

export interface LabHost {
  /** Its host name, too. */
  readonly name: string;
  /** The first one is what other hosts know it by. */
  readonly links: readonly HostLink[];
}

export interface Topology {
  readonly segments: readonly Segment[];
  readonly hosts: readonly LabHost[];
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

/** The host's port at a segment's bridge. */
export function portName(host: LabHost, link: HostLink): string {
  return `${host.name}-${link.device}`;
}

/** Throws with the names that there are. */
export function getHost(topology: Topology, name: string): LabHost {
  const host = topology.hosts.find((each) => each.name === name);
  if (host !== undefined) return host;
  const names = topology.hosts.map((each) => each.name).join(', ');
  throw new CliError(`lab: there is no host ${name}; this lab has ${names}`);
}
