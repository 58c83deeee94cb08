/*
 * The table `bridge linkspan`: what a container's port of a bridge may send. Pure. A constant number of rules; each
 * guarded endpoint is a few elements. Family bridge, because only there are frames seen before the bridge learns their
 * MAC, ARP among them, and whether br_netfilter is on or not (docs/adr/0008-anti-spoofing.md).
 *
 *   ports     link                      guarded links; frames of others pass
 *   macs      link . MAC                the endpoint's own
 *   own4 own6 link . MAC . address      addresses of its container, on whichever network: by weak-host rules an answer
 *                                       leaves by any of its interfaces; of IPv6 the link-local of the MAC too
 *   targets6  link . address            the endpoint's IPv6 addresses as numbers, which is how nft 1.0 sees a field that
 *                                       it has no name for: the target of neighbour solicitations and advertisements
 *
 *   near4 near6    link . MAC . address      as own4 and own6, but of this endpoint alone
 *   peers4 peers6  MAC . address             the same endpoints, as a frame is addressed to them
 *
 * On the host, where `skipsTracking`: a frame that its endpoint sends with its own address to an endpoint's own MAC and
 * address stays inside a bridge whatever the rules of the host say, and no answer to it needs translating. Where
 * br_netfilter shows such frames to the IP rules, connection tracking would note each connection for nobody. All others
 * are tracked: what goes to the bridge's own MAC (so every published port), and answers that a container of several
 * networks sends with its address on another. docs/adr/0019-untracked-neighbours.md
 *
 * What has no address of its own yet may look for one: DHCP, ARP probes, duplicate address detection of an own address,
 * router solicitations, MLD reports. Router advertisements and redirects come from nobody: with them a container would
 * become the gateway of the others. Everything else is dropped, other protocols and tagged frames among it: `ether type`
 * reads the tag where there is one.
 */
import type { SetElement } from '../kernel/kernel.ts';
import { equalIp, type Ip } from '../net/ip.ts';
import { linkLocalOf, type Mac } from '../net/mac.ts';
import { ipField, macField, nameField } from './fields.ts';
import type { TableSkeleton } from './tableSkeleton.ts';

/** An endpoint that may send as its container only. */
export interface GuardedEndpoint {
  /** The host's end of its pair: a bridge port. */
  readonly link: string;
  /** Whose it is: a container. */
  readonly owner: string;
  readonly mac: Mac;
  readonly addresses: readonly Ip[];
  /** False: it may send what it likes; the owner's other endpoints may use its addresses all the same. */
  readonly isChecked: boolean;
}

const arp = 'ether type arp arp htype 1 arp ptype 0x0800 arp hlen 6 arp plen 4';
/** In neighbour solicitations and advertisements (RFC 4861 section 4.3 and 4.4), after 8 bytes. */
const target = 'iifname . @th,64,128';
const ip6 = 'ether type ip6';
const unspecified = `${ip6} ip6 saddr ::`;
const solicit = `${unspecified} icmpv6 type nd-neighbor-solicit`;
const beginning = '{ nd-router-solicit, mld-listener-report, mld2-listener-report }';

const neighbourSets: TableSkeleton['sets'] = {
  near4: '{ type ifname . ether_addr . ipv4_addr; }',
  near6: '{ type ifname . ether_addr . ipv6_addr; }',
  peers4: '{ type ether_addr . ipv4_addr; }',
  peers6: '{ type ether_addr . ipv6_addr; }',
};

/** `host`: its bridges. `overlay`: the namespace of an overlay network, where nothing is tracked anyway. */
export type GuardPlace = 'host' | 'overlay';

export interface GuardOptions {
  /** Its name in family bridge. */
  readonly table: string;
  readonly place: GuardPlace;
  /** True: frames between endpoints are not tracked. On hosts only. */
  readonly skipsTracking: boolean;
}

/** From an endpoint, as itself, to another. IPv6 without extension headers, so that no neighbour discovery is among it. */
const untracked: readonly string[] = [
  'ether type ip ether daddr . ip daddr @peers4 iifname . ether saddr . ip saddr @near4 notrack accept',
  `${ip6} ip6 nexthdr { tcp, udp } ether daddr . ip6 daddr @peers6 iifname . ether saddr . ip6 saddr @near6 notrack accept`,
];

export function guardSkeleton(options: GuardOptions): TableSkeleton {
  return {
    family: 'bridge',
    table: options.table,
    sets: {
      ports: '{ type ifname; }',
      macs: '{ type ifname . ether_addr; }',
      own4: '{ type ifname . ether_addr . ipv4_addr; }',
      own6: '{ type ifname . ether_addr . ipv6_addr; }',
      targets6: `{ typeof ${target}; }`,
      ...(options.place === 'host' ? neighbourSets : {}),
    },
    maps: {},
    filledSets: [],
    chains: [
      {
        name: 'check6',
        hook: '',
        rules: [
          `${ip6} icmpv6 type { nd-router-advert, nd-redirect } drop comment "not a router"`,
          `${ip6} icmpv6 type nd-neighbor-advert ${target} != @targets6 drop comment "another's address"`,
          `${ip6} iifname . ether saddr . ip6 saddr @own6 accept`,
          'iifname . ether saddr != @macs drop',
          `${solicit} ${target} @targets6 accept comment "duplicate address detection"`,
          `${unspecified} icmpv6 type ${beginning} accept`,
          'drop',
        ],
      },
      {
        name: 'check',
        hook: '',
        rules: [
          'ether type ip iifname . ether saddr . ip saddr @own4 accept',
          `${ip6} goto check6`,
          'iifname . ether saddr != @macs drop',
          `${arp} iifname . arp saddr ether . arp saddr ip @own4 accept`,
          `${arp} arp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs accept comment "probe"`,
          'ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept comment "DHCP"',
          'drop',
        ],
      },
      {
        name: 'prerouting',
        // Before br_netfilter (0), at NF_BR_PRI_NAT_DST_BRIDGED.
        hook: '{ type filter hook prerouting priority -300; policy accept; }',
        rules: [...(options.skipsTracking ? untracked : []), 'iifname @ports goto check'],
      },
    ],
  };
}

function distinctIps(addresses: readonly Ip[]): readonly Ip[] {
  return addresses.filter((ip, i) => addresses.findIndex((other) => equalIp(other, ip)) === i);
}

/** All elements of one owner's endpoints. */
export function planEndpoints(
  endpoints: readonly GuardedEndpoint[],
  place: GuardPlace,
): readonly SetElement[] {
  const addresses = endpoints.flatMap((endpoint) => endpoint.addresses);
  return endpoints
    .filter(({ isChecked }) => isChecked)
    .flatMap((one) => [...planEndpoint(one, addresses), ...(place === 'host' ? planNeighbour(one) : [])]);
}

/** `sources`: addresses of its owner, its own among them. */
function planEndpoint({ link, mac, addresses }: GuardedEndpoint, sources: readonly Ip[]): SetElement[] {
  const [name, own] = [nameField(link), macField(mac)];
  const linkLocal = linkLocalOf(mac);
  const targets = distinctIps([...addresses, linkLocal]).filter(({ family }) => family === 6);
  return [
    // What is allowed before what is checked.
    { set: 'macs', key: [name, own] },
    ...distinctIps([...sources, linkLocal]).map(
      (ip): SetElement => ({ set: `own${ip.family}`, key: [name, own, ipField(ip)] }),
    ),
    ...targets.map((ip): SetElement => ({ set: 'targets6', key: [name, ipField(ip)] })),
    { set: 'ports', key: [name] },
  ];
}

function planNeighbour({ link, mac, addresses }: GuardedEndpoint): SetElement[] {
  const own = macField(mac);
  return distinctIps(addresses).flatMap((ip): SetElement[] => [
    { set: `near${ip.family}`, key: [nameField(link), own, ipField(ip)] },
    { set: `peers${ip.family}`, key: [own, ipField(ip)] },
  ]);
}
