/*
 * The table without its elements: sets, chains and a number of rules that no number of networks changes. Pure text in
 * nft syntax. What varies with networks is in elements.ts.
 *
 * A packet that the host forwards meets, in this order:
 *   operator   the operator's own rules; an accept there ends our verdict, a drop is final. Never flushed by us.
 *              Addresses are those after DNAT; `ct original ip daddr` and `ct original proto-dst` give the first ones.
 *   forward    one network (also frames that br_netfilter shows us: both interfaces are the bridge), internal
 *              networks, known connections, published ports (DNAT), gateway modes; then everything else into a
 *              network is dropped and everything else out of one is accepted.
 *   guard      only where we switched forwarding on: drops what passes between two interfaces that are not ours,
 *              so that the host does not become a router. Frames inside a foreign bridge pass.
 * What goes to the bridge of another engine is accepted without the mark: whether its containers may be reached is for
 * that engine's rules to say.
 * The priority is just before `filter`, so that rules of others at `filter` can see the mark that `allow` sets. An
 * accept here does not overrule a drop in another table; see foreign/.
 *
 * Masquerading looks at the source address, not at the incoming interface: with net.bridge.bridge-nf-call-iptables=1
 * frames inside a bridge pass postrouting without one. `oifname @bridges return` comes first so that traffic into any
 * of our networks keeps its source.
 */

/** Set in the packet mark of what we accept, for the one rule that we may add to a foreign chain. */
export const acceptedMark = 0x1000_0000;

export interface SkeletonOptions {
  /** Table name in family inet. */
  readonly table: string;
  /** True while a rule in a foreign chain looks for `acceptedMark`; otherwise marks are left alone. */
  readonly marksAccepted: boolean;
  /** Families whose forwarding we switched on and whose foreign forwarding is therefore dropped. */
  readonly guardedFamilies: readonly (4 | 6)[];
}

/** Type of each set and map, in nft syntax. Interval sets are keyed by subnet. */
const sets: Readonly<Record<string, string>> = {
  bridges: '{ type ifname; }',
  same: '{ type ifname . ifname; }',
  internal: '{ type ifname; }',
  open4: '{ type ifname; }',
  open6: '{ type ifname; }',
  routed4: '{ type ifname; }',
  routed6: '{ type ifname; }',
  masq4: '{ type ipv4_addr; flags interval; }',
  masq6: '{ type ipv6_addr; flags interval; }',
  foreign: '{ type ifname . ifname; }',
  theirs: '{ type ifname; }',
};
const maps: Readonly<Record<string, string>> = {
  snat4: '{ type ipv4_addr : ipv4_addr; flags interval; }',
  snat6: '{ type ipv6_addr : ipv6_addr; flags interval; }',
};

/** Names of all sets and maps that are ours. */
export const setNames: readonly string[] = [...Object.keys(sets), ...Object.keys(maps)];

const baseChains: Readonly<Record<string, string>> = {
  forward: '{ type filter hook forward priority filter - 1; policy accept; }',
  postrouting: '{ type nat hook postrouting priority srcnat; policy accept; }',
};

/** The chain that belongs to the operator: added if missing, never flushed. */
export const operatorChain = 'operator';

function rulesOf(options: SkeletonOptions): Readonly<Record<string, readonly string[]>> {
  const mark = `meta mark set meta mark | 0x${acceptedMark.toString(16)}`;
  return {
    allow: [options.marksAccepted ? `${mark} accept` : 'accept'],
    guard: [
      'iifname . oifname @foreign return comment "inside a foreign bridge"',
      ...options.guardedFamilies.map((family) => `meta nfproto ipv${family} drop comment "not a router"`),
    ].slice(0, options.guardedFamilies.length === 0 ? 0 : undefined),
    forward: [
      `jump ${operatorChain}`,
      'iifname . oifname @same goto allow comment "one network"',
      'iifname @internal drop comment "internal: nothing leaves"',
      'oifname @internal drop comment "internal: nothing enters"',
      'oifname @bridges ct state established,related goto allow',
      'iifname @bridges ct state established,related goto allow',
      'oifname @bridges ct status dnat goto allow comment "published"',
      'oifname @open4 meta nfproto ipv4 goto allow comment "nat-unprotected"',
      'oifname @open6 meta nfproto ipv6 goto allow comment "nat-unprotected"',
      'oifname @routed4 ip protocol icmp goto allow comment "routed"',
      'oifname @routed6 meta l4proto ipv6-icmp goto allow comment "routed"',
      'oifname @bridges drop comment "not published"',
      'iifname @bridges oifname @theirs accept comment "their owner decides"',
      'iifname @bridges goto allow comment "outward"',
      'goto guard',
    ],
    postrouting: [
      'oifname @bridges return comment "into a network: keep the source"',
      'snat ip to ip saddr map @snat4',
      'snat ip6 to ip6 saddr map @snat6',
      'ip saddr @masq4 masquerade',
      'ip6 saddr @masq6 masquerade',
    ],
  };
}

/** Names of the chains whose rules are ours alone. */
export const chainNames: readonly string[] = ['allow', 'guard', 'forward', 'postrouting'];

/**
 * nft commands, one a line, that make the table's sets, chains and rules as they should be, whatever is there; one
 * transaction. Elements and the operator's chain are kept. Fails (nothing changes) where a set or base chain of the
 * same name has another type: then delete with `planRemoval` in the same transaction first.
 */
export function planSkeleton(options: SkeletonOptions): readonly string[] {
  const at = `inet ${options.table}`;
  const rules = rulesOf(options);
  return [
    `add table ${at}`,
    ...Object.entries(sets).map(([name, type]) => `add set ${at} ${name} ${type}`),
    ...Object.entries(maps).map(([name, type]) => `add map ${at} ${name} ${type}`),
    ...[operatorChain, ...chainNames].map((name) =>
      `add chain ${at} ${name} ${baseChains[name] ?? ''}`.trim(),
    ),
    ...chainNames.map((name) => `flush chain ${at} ${name}`),
    ...chainNames.flatMap((name) => (rules[name] ?? []).map((rule) => `add rule ${at} ${name} ${rule}`)),
  ];
}

/**
 * nft commands that take everything of ours out of the table but the operator's chain, for the objects named in
 * `present`. References first, so that one transaction can delete and add again.
 */
export function planRemoval(
  table: string,
  present: { readonly chains: readonly string[]; readonly sets: readonly string[] },
): readonly string[] {
  const at = `inet ${table}`;
  const ours = chainNames.filter((name) => present.chains.includes(name));
  return [
    ...ours.map((name) => `flush chain ${at} ${name}`),
    ...ours.map((name) => `delete chain ${at} ${name}`),
    ...setNames.filter((name) => present.sets.includes(name)).map((name) => `delete set ${at} ${name}`),
  ];
}
