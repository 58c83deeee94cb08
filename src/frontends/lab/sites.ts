/*
 * The plan of a lab of several sites: a LAN each, whose router joins it to the internet. Pure.
 *
 *     [A1] eth0 203.0.113.11/27 ──┬─ A-site ── lan [A] wan 198.51.100.1 ─────┬─ internet
 *     [A2] eth0 203.0.113.12/27 ──┘                                          │
 *     [B1] eth0 192.168.102.11/27 ── B-site ── lan [B, NAT] wan 198.51.100.2 ──┘
 *
 * The internet is 198.51.100.0/24, sites without NAT have a part of 203.0.113.0/24 each (TEST-NET-2 and 3, RFC 5737), to
 * which every router knows the way; those behind NAT have private addresses, to which none does.
 */
import { CliError } from '../cli/cliError.ts';
import { type LabHost, type LabRouter, mostHosts, type NatKind, type Topology } from './topology.ts';

export interface Site {
  readonly name: string;
  readonly hosts: number;
  /** Absent = its addresses are known everywhere. */
  readonly nat?: NatKind;
}

/** As many as 203.0.113.0/24 has parts of 32 addresses. */
const mostSites = 8;
const prefixLength = 27;

const natNames: Readonly<Record<string, NatKind>> = {
  'port-preserving': 'portPreserving',
  symmetric: 'symmetric',
};

/**
 * `A=2`: the name of a site and how many hosts it has. Up to four letters, so that names of links and paths of sockets
 * stay within what the kernel takes.
 */
export function parseSite(text: string): Site {
  const match = /^([A-Za-z]{1,4})=(\d{1,4})$/.exec(text);
  if (match === null) throw new CliError('a site is NAME=HOSTS, and its name 1 to 4 letters');
  const hosts = Number(match[2]);
  if (hosts < 1 || hosts > mostHosts) throw new CliError(`a site has 1 to ${mostHosts} hosts`);
  return { name: match[1] ?? '', hosts };
}

/** `B` or `B=symmetric`: the name of a site and its router's NAT. */
export function parseNat(text: string): readonly [site: string, nat: NatKind] {
  const [site = '', kind = 'port-preserving', ...rest] = text.split('=');
  const nat = Object.hasOwn(natNames, kind) ? natNames[kind] : undefined;
  if (nat === undefined || rest.length > 0)
    throw new CliError(`a NAT is SITE or SITE=KIND, and its kind ${Object.keys(natNames).join(' or ')}`);
  return [site, nat];
}

/** Throws if two values of a flag are for one site. */
function refuseTwice(what: string, names: readonly string[]): void {
  // Host names differ by more than their case.
  const folded = names.map((name) => name.toLowerCase());
  const twice = names.find((_, i) => folded.indexOf(folded[i] ?? '') !== i);
  if (twice !== undefined) throw new CliError(`lab: ${what} names ${twice} twice`, 125);
}

/** The sites that the values of `--site` and `--nat` describe. Throws CliError 125 if they make no lab. */
export function parseSites(siteTexts: readonly string[], natTexts: readonly string[]): readonly Site[] {
  const sites = siteTexts.map(parseSite);
  const nats = natTexts.map(parseNat);
  const names = sites.map(({ name }) => name);
  refuseTwice('--site', names);
  refuseTwice(
    '--nat',
    nats.map(([site]) => site),
  );
  const unknown = nats.find(([site]) => !names.includes(site));
  if (unknown !== undefined)
    throw new CliError(`lab: --nat: there is no site ${unknown[0]}; --site names ${names.join(', ')}`, 125);
  if (sites.length > mostSites) throw new CliError(`lab: a lab has at most ${mostSites} sites`, 125);
  const count = sites.reduce((sum, { hosts }) => sum + hosts, 0);
  if (count > mostHosts)
    throw new CliError(`lab: a lab has 1 to ${mostHosts} hosts; these sites have ${count}`, 125);
  const natOf = new Map(nats);
  const planned = sites.map((site) => {
    const nat = natOf.get(site.name);
    return nat === undefined ? site : { ...site, nat };
  });
  if (planned.every(({ nat }) => nat !== undefined))
    throw new CliError('lab: a site without NAT is needed: its first host is the one that others join', 125);
  return planned;
}

/** The first three bytes of a site's addresses, and the first address of its part. */
function partOf({ nat }: Site, index: number): readonly [prefix: string, first: number] {
  return nat === undefined ? ['203.0.113', index * 32] : [`192.168.${101 + index}`, 0];
}

/** Sites that `parseSites` gives. Hosts are called after their site: `A1`, `A2`, `B1`. */
export function planSites(sites: readonly Site[]): Topology {
  const lanOf = ({ name }: Site): string => `${name}-site`;
  const wan = (index: number): string => `198.51.100.${1 + index}`;
  const address = (site: Site, index: number, last: number): string => {
    const [prefix, first] = partOf(site, index);
    return `${prefix}.${first + last}`;
  };
  const hosts = sites.flatMap((site, index) =>
    Array.from(
      { length: site.hosts },
      (_, i): LabHost => ({
        name: `${site.name}${i + 1}`,
        links: [{ device: 'eth0', segment: lanOf(site), address: address(site, index, 11 + i) }],
        gateway: address(site, index, 1),
      }),
    ),
  );
  const routers = sites.map((site, index): LabRouter => {
    const routes = sites.flatMap((other, i) => {
      const isTold = other.nat === undefined && other !== site;
      return isTold ? [{ to: `${address(other, i, 0)}/${prefixLength}`, via: wan(i) }] : [];
    });
    const links = [
      { device: 'lan', segment: lanOf(site), address: address(site, index, 1) },
      { device: 'wan', segment: 'internet', address: wan(index) },
    ];
    return { name: site.name, links, routes, ...(site.nat === undefined ? {} : { nat: site.nat }) };
  });
  const lans = sites.map((site) => ({ name: lanOf(site), prefixLength }));
  return { segments: [{ name: 'internet', prefixLength: 24 }, ...lans], hosts, routers };
}
