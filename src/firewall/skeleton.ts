/*
 * The table `inet linkspan` without its elements: sets, chains and a number of rules that no number of networks or
 * published ports changes. Pure text in nft syntax. What varies is in elements.ts and bindingElements.ts.
 *
 * A packet that the host forwards meets, in this order:
 *   operator   the operator's own rules; an accept there ends our verdict, a drop is final. Never flushed by us.
 *              Addresses are those after DNAT; `ct original ip daddr` and `ct original proto-dst` give the first ones.
 *   forward    one network (also frames that br_netfilter shows us: both interfaces are the bridge; they may be untracked,
 *              see endpointGuard.ts), internal
 *              networks, known connections, published ports (DNAT), gateway modes; then everything else into a
 *              network is dropped and everything else out of one is accepted.
 *   guard      only where we switched forwarding on: drops what passes between two interfaces that are not ours,
 *              so that the host does not become a router. Frames inside a foreign bridge pass.
 * What goes to the bridge of another engine is accepted without the mark: whether its containers may be reached is for
 * that engine's rules to say.
 * The priority is just before `filter`, so that rules of others at `filter` can see the mark that `allow` sets. An
 * accept here does not overrule a drop in another table; see foreign/.
 *
 * A connection to one of the host's own addresses meets, with its first packet:
 *   arrive     from outside: never for a loopback address (route_localnet is on for our bridges, and somebody may have
 *              it on elsewhere), never from a source that a limited port does not admit; under the publish policy
 *              `hostInput` only once the host's own INPUT rules have let the same client pass, see `input`.
 *   publish    DNAT by map: one address, every address, runs. A key that is not there falls through to the host.
 *   output     the host's own, ::1 included where `servesLoopback6`: an answer is translated back before routing. Where
 *              br_netfilter does that inside the bridge already, the kernel then drops a packet for ::1 that comes from
 *              no loopback link, so that ::1 must not be translated there at all.
 *   loopback   what our bridges send with or to a loopback address is dropped: route_localnet lets it in otherwise.
 *   input      `hostInput` only, after every other INPUT chain: a new connection to a published port that got here was
 *              accepted by all of them. Its client is noted in `admitted` and the packet dropped; the sender repeats
 *              it (TCP after a second), and then `arrive` lets it through. docs/adr/0006-publish-policy.md
 *
 * Masquerading looks at the source address, not at the incoming interface: with net.bridge.bridge-nf-call-iptables=1
 * frames inside a bridge pass postrouting without one. `oifname @bridges return` comes first so that traffic into any
 * of our networks keeps its source.
 */

import type { TableSkeleton } from './tableSkeleton.ts';

/** Set in the packet mark of what we accept, for the one rule that we may add to a foreign chain. */
export const acceptedMark = 0x1000_0000;

export interface SkeletonOptions {
  /** Table name in family inet. */
  readonly table: string;
  /** True while a rule in a foreign chain looks for `acceptedMark`; otherwise marks are left alone. */
  readonly marksAccepted: boolean;
  /** Families whose forwarding we switched on and whose foreign forwarding is therefore dropped. */
  readonly guardedFamilies: readonly (4 | 6)[];
  /** True: a published port is open only to whom the host's own INPUT rules let pass (`--publish-policy=host-input`). */
  readonly asksHost: boolean;
  /** True: the host reaches published ports by ::1 too; only where bridges hand no IPv6 frames to the firewall. */
  readonly servesLoopback6: boolean;
}

const families = [4, 6] as const;

/** nft's type of an address. */
const address = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;

const ofFamily = (family: 4 | 6): readonly (readonly [name: string, type: string])[] => {
  const ip = address[family];
  return [
    ['open', '{ type ifname; }'],
    ['routed', '{ type ifname; }'],
    ['masq', `{ type ${ip}; flags interval; }`],
    ['home', `{ type ${ip} . ifname; flags interval; }`],
    ['limited', `{ type ${ip} . inet_proto . inet_service; flags interval; }`],
    ['admits', `{ type ${ip} . ${ip} . inet_proto . inet_service; flags interval; }`],
    ['opened', `{ type ${ip} . ${ip} . inet_proto . inet_service; flags interval; }`],
    ['trusted', `{ type ifname . ${ip} . inet_proto . inet_service; }`],
    ['asked', `{ type ${ip} . inet_proto . inet_service; flags interval; }`],
    // Filled by the packet path; elements of its own are no business of a compare.
    [
      'admitted',
      `{ type ${ip} . ${ip} . inet_proto . inet_service; flags dynamic,timeout; timeout 5m; size 65535; }`,
    ],
  ];
};

const named = (
  of: (family: 4 | 6) => readonly (readonly [string, string])[],
): Readonly<Record<string, string>> =>
  Object.fromEntries(
    families.flatMap((family) => of(family).map(([name, type]) => [`${name}${family}`, type] as const)),
  );

/** Type of each set and map, in nft syntax. */
const sets: Readonly<Record<string, string>> = {
  bridges: '{ type ifname; }',
  same: '{ type ifname . ifname; }',
  internal: '{ type ifname; }',
  foreign: '{ type ifname . ifname; }',
  theirs: '{ type ifname; }',
  ...named(ofFamily),
};
const maps: Readonly<Record<string, string>> = named((family) => {
  const ip = address[family];
  return [
    ['snat', `{ type ${ip} : ${ip}; flags interval; }`],
    ['any', `{ type inet_proto . inet_service : ${ip} . inet_service; }`],
    ['pub', `{ type ${ip} . inet_proto . inet_service : ${ip} . inet_service; }`],
    ['span', `{ type ${ip} . inet_proto . inet_service : ${ip}; flags interval; }`],
  ];
});

/** Sets that the packet path fills: who the host's INPUT rules let pass lately. */
export const admittedSets: readonly string[] = families.map((family) => `admitted${family}`);

const baseChains: Readonly<Record<string, string>> = {
  // nft 1.0.6 does not take the name `dstnat` at hook output; both are -100.
  loopback: '{ type filter hook prerouting priority raw; policy accept; }',
  prerouting: '{ type nat hook prerouting priority dstnat; policy accept; }',
  output: '{ type nat hook output priority -100; policy accept; }',
  input: '{ type filter hook input priority 250; policy accept; }',
  forward: '{ type filter hook forward priority filter - 1; policy accept; }',
  postrouting: '{ type nat hook postrouting priority srcnat; policy accept; }',
};

/** The chain that belongs to the operator: added if missing, never flushed. */
export const operatorChain = 'operator';

/**
 * The protocol as the header names it. Not `meta l4proto`: in an interval set over several fields nft 1.0 turns that
 * one byte around by a `byteorder` that kernels before 6.18 refuse (seen with 6.12). An IPv6 packet whose first header
 * is an extension is therefore not published.
 */
const protocol: Readonly<Record<string, string>> = { ip: 'ip protocol', ip6: 'ip6 nexthdr' };
/** Address, protocol and port that a packet is for, as `limited4` and its like are keyed. */
const target = (ip: string): string => `${ip} daddr . ${protocol[ip]} . th dport`;
const client = (ip: string): string => `${ip} saddr . ${target(ip)}`;
const ipWord = { 4: 'ip', 6: 'ip6' } as const;

/** One rule a family; `ip` is `ip` or `ip6`. */
const perFamily = (rule: (family: 4 | 6, ip: string) => string): readonly string[] =>
  families.map((family) => rule(family, ipWord[family]));

function publishingRules({
  asksHost,
  servesLoopback6,
}: SkeletonOptions): Readonly<Record<string, readonly string[]>> {
  const toHost = (to: string): readonly string[] =>
    perFamily((_family, ip) => `${protocol[ip]} { tcp, udp, sctp } fib daddr type local goto ${to}`);
  const isAsked = (family: 4 | 6, ip: string): string => `ct state new ${target(ip)} @asked${family}`;
  return {
    loopback: [
      'ip daddr 127.0.0.0/8 iifname @bridges drop comment "the loopback of the host stays its own"',
      'ip saddr 127.0.0.0/8 iifname @bridges drop',
    ],
    prerouting: toHost('arrive'),
    output: [...(servesLoopback6 ? [] : ['ip6 daddr ::1 return']), ...toHost('publish')],
    arrive: [
      'ip daddr 127.0.0.0/8 return comment "published on loopback: for the host alone"',
      'ip6 daddr ::1 return',
      ...perFamily(
        (family, ip) =>
          `${target(ip)} @limited${family} ${client(ip)} != @admits${family} drop comment "not from there"`,
      ),
      ...(asksHost
        ? perFamily((family, ip) => `${client(ip)} @admitted${family} goto publish`)
        : ['goto publish']),
    ],
    publish: [
      ...perFamily((family, ip) => `dnat ${ip} to ${target(ip)} map @pub${family}`),
      ...perFamily((family, ip) => `dnat ${ip} to ${protocol[ip]} . th dport map @any${family}`),
      ...perFamily((family, ip) => `dnat ${ip} to ${target(ip)} map @span${family}`),
    ],
    input: asksHost
      ? [
          ...perFamily(
            (family, ip) => `${isAsked(family, ip)} add @admitted${family} { ${client(ip)} } drop`,
          ),
          // Where the set is full, the rule above ends before its verdict.
          ...perFamily((family, ip) => `${isAsked(family, ip)} drop`),
        ]
      : [],
  };
}

function rulesOf(options: SkeletonOptions): Readonly<Record<string, readonly string[]>> {
  const mark = `meta mark set meta mark | 0x${acceptedMark.toString(16)}`;
  // A chain more is some nanoseconds of each packet.
  const allow = options.marksAccepted ? 'goto allow' : 'accept';
  return {
    ...publishingRules(options),
    allow: options.marksAccepted ? [`${mark} accept`] : [],
    guard: [
      'iifname . oifname @foreign return comment "inside a foreign bridge"',
      ...options.guardedFamilies.map((family) => `meta nfproto ipv${family} drop comment "not a router"`),
    ].slice(0, options.guardedFamilies.length === 0 ? 0 : undefined),
    forward: [
      `jump ${operatorChain}`,
      `iifname . oifname @same ${allow} comment "one network"`,
      'iifname @internal drop comment "internal: nothing leaves"',
      'oifname @internal drop comment "internal: nothing enters"',
      `oifname @bridges ct state established,related ${allow}`,
      `iifname @bridges ct state established,related ${allow}`,
      `oifname @bridges ct status dnat ${allow} comment "published"`,
      ...perFamily(
        (family, ip) =>
          `oifname @bridges ${client(ip)} @opened${family} ${allow} comment "routed: published"`,
      ),
      ...perFamily(
        (family, ip) =>
          `oifname @bridges iifname . ${target(ip)} @trusted${family} ${allow} comment "trusted link: published"`,
      ),
      `oifname @open4 meta nfproto ipv4 ${allow} comment "nat-unprotected"`,
      `oifname @open6 meta nfproto ipv6 ${allow} comment "nat-unprotected"`,
      `oifname @routed4 ip protocol icmp ${allow} comment "routed"`,
      `oifname @routed6 meta l4proto ipv6-icmp ${allow} comment "routed"`,
      'oifname @bridges drop comment "not published"',
      'iifname @bridges oifname @theirs accept comment "their owner decides"',
      `iifname @bridges ${allow} comment "outward"`,
      'goto guard',
    ],
    postrouting: [
      ...perFamily(
        (family, ip) =>
          `ct status dnat ${ip} saddr . oifname @home${family} masquerade comment "its own network by a published port"`,
      ),
      'ip saddr 127.0.0.0/8 oifname @bridges masquerade comment "the host, by its loopback"',
      'ip6 saddr ::1 oifname @bridges masquerade',
      'oifname @bridges return comment "into a network: keep the source"',
      'snat ip to ip saddr map @snat4',
      'snat ip6 to ip6 saddr map @snat6',
      'ip saddr @masq4 masquerade',
      'ip6 saddr @masq6 masquerade',
    ],
  };
}

/** In the order in which they are made: after what they jump to. */
const chainNames = [
  'loopback',
  'publish',
  'arrive',
  'prerouting',
  'output',
  'input',
  'allow',
  'guard',
  'forward',
  'postrouting',
] as const;

export function mainSkeleton(options: SkeletonOptions): TableSkeleton {
  const rules = rulesOf(options);
  return {
    family: 'inet',
    table: options.table,
    sets,
    maps,
    filledSets: admittedSets,
    chains: [
      { name: operatorChain, hook: '', rules: 'operators' },
      ...chainNames.map((name) => ({ name, hook: baseChains[name] ?? '', rules: rules[name] ?? [] })),
    ],
  };
}
