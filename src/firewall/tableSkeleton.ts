/*
 * An nft table without its elements, as data, and the commands that make it or take it away. Pure. Which tables there
 * are and what their rules say is in skeleton.ts and endpointGuard.ts.
 */

export interface SkeletonChain {
  readonly name: string;
  /** Type, hook, priority and policy in nft syntax; empty = it is only jumped to. */
  readonly hook: string;
  /** In nft syntax. `operators` = theirs to fill: the chain is added if it is missing, and never flushed. */
  readonly rules: readonly string[] | 'operators';
}

export interface TableSkeleton {
  readonly family: 'inet' | 'bridge';
  readonly table: string;
  /** Types in nft syntax by name. */
  readonly sets: Readonly<Record<string, string>>;
  readonly maps: Readonly<Record<string, string>>;
  /** Sets that the packet path fills: their elements are no business of a compare. */
  readonly filledSets: readonly string[];
  /** A chain that others jump to comes before them. */
  readonly chains: readonly SkeletonChain[];
}

/** `inet linkspan` */
export const addressOf = ({ family, table }: TableSkeleton): string => `${family} ${table}`;

/** Names of all its sets and maps. */
export const setNamesOf = ({ sets, maps }: TableSkeleton): readonly string[] => [
  ...Object.keys(sets),
  ...Object.keys(maps),
];

/** The chains whose rules are ours alone, with them. */
export const ownChainsOf = ({
  chains,
}: TableSkeleton): readonly (readonly [name: string, rules: readonly string[]])[] =>
  chains.flatMap(({ name, rules }) => (rules === 'operators' ? [] : [[name, rules] as const]));

/**
 * nft commands, one a line, that make the table's sets, chains and rules as they should be, whatever is there; one
 * transaction. Elements and operators' chains are kept. Fails (nothing changes) where a set or base chain of the same
 * name has another type: then delete with `planRemoval` in the same transaction first.
 */
export function planSkeleton(skeleton: TableSkeleton): readonly string[] {
  const at = addressOf(skeleton);
  const own = ownChainsOf(skeleton);
  return [
    `add table ${at}`,
    ...Object.entries(skeleton.sets).map(([name, type]) => `add set ${at} ${name} ${type}`),
    ...Object.entries(skeleton.maps).map(([name, type]) => `add map ${at} ${name} ${type}`),
    ...skeleton.chains.map(({ name, hook }) => `add chain ${at} ${name} ${hook}`.trim()),
    ...own.map(([name]) => `flush chain ${at} ${name}`),
    ...own.flatMap(([name, rules]) => rules.map((rule) => `add rule ${at} ${name} ${rule}`)),
  ];
}

/**
 * nft commands that take everything of ours out of the table but operators' chains, for the objects named in
 * `present`. References first, so that one transaction can delete and add again.
 */
export function planRemoval(
  skeleton: TableSkeleton,
  present: { readonly chains: readonly string[]; readonly sets: readonly string[] },
): readonly string[] {
  const at = addressOf(skeleton);
  const ours = ownChainsOf(skeleton)
    .map(([name]) => name)
    .filter((name) => present.chains.includes(name));
  return [
    ...ours.map((name) => `flush chain ${at} ${name}`),
    ...ours.map((name) => `delete chain ${at} ${name}`),
    ...setNamesOf(skeleton)
      .filter((name) => present.sets.includes(name))
      .map((name) => `delete set ${at} ${name}`),
  ];
}
