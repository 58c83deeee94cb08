/*
 * Compares a table as it is with the table as it should be, and says in words what differs. Pure.
 */
import type { SetElement } from '../kernel/kernel.ts';
import { formatData, formatKey } from './elements.ts';
import type { Listing } from './nftJson.ts';
import { addressOf, ownChainsOf, setNamesOf, type TableSkeleton } from './tableSkeleton.ts';

export interface ElementDifference {
  readonly missing: readonly SetElement[];
  /** Elements in our sets that nothing asks for, or with other data. */
  readonly extra: readonly { readonly set: string; readonly key: string }[];
}

/** Elements of our sets: what `desired` has and `actual` lacks, and the reverse. */
export function compareElements(
  skeleton: TableSkeleton,
  desired: readonly SetElement[],
  actual: Listing,
): ElementDifference {
  const ours = setNamesOf(skeleton).filter((name) => !skeleton.filledSets.includes(name));
  const wanted = new Map<string, SetElement>(
    desired.map((element) => [`${element.set} ${formatKey(element)}`, element]),
  );
  const present = new Map<string, { readonly set: string; readonly key: string; readonly data: string }>(
    actual.sets
      .filter(({ name }) => ours.includes(name))
      .flatMap(({ name, elements }) =>
        [...elements].map(([key, data]) => [`${name} ${key}`, { set: name, key, data }] as const),
      ),
  );
  const isSame = (id: string): boolean => {
    const element = wanted.get(id);
    return element !== undefined && present.get(id)?.data === formatData(element);
  };
  return {
    missing: [...wanted].filter(([id]) => !isSame(id)).map(([, element]) => element),
    extra: [...present].filter(([id]) => !isSame(id)).map(([, { set, key }]) => ({ set, key })),
  };
}

/** nft commands that make the elements as desired: deletions first, since changed data needs both. */
export function planElementChanges(
  skeleton: TableSkeleton,
  difference: ElementDifference,
): readonly string[] {
  const at = addressOf(skeleton);
  return [
    ...difference.extra.map(({ set, key }) => `delete element ${at} ${set} { ${key} }`),
    ...difference.missing.map((element) => {
      const data = formatData(element);
      return `add element ${at} ${element.set} { ${formatKey(element)}${data === '' ? '' : ` : ${data}`} }`;
    }),
  ];
}

/** The part of a listing that `planSkeleton` decides, as text: equal skeletons have equal text. */
export function describeSkeleton(skeleton: TableSkeleton, listing: Listing): string {
  const chains = skeleton.chains.map(({ name }) => name);
  const sets = setNamesOf(skeleton);
  return JSON.stringify({
    sets: listing.sets.map(({ name }) => name).filter((name) => sets.includes(name)),
    chains: listing.chains
      .filter(({ name }) => chains.includes(name))
      .map(({ name, hook, priority, policy }) => [name, hook, priority, policy]),
    rules: ownChainsOf(skeleton).map(([chain]) =>
      listing.rules.filter((rule) => rule.chain === chain).map(({ text }) => text),
    ),
  });
}

/** True if every chain of ours has as many rules as planned: somebody may change the table while we read it back. */
export function hasAllRules(skeleton: TableSkeleton, listing: Listing): boolean {
  return ownChainsOf(skeleton).every(
    ([chain, rules]) => listing.rules.filter((rule) => rule.chain === chain).length === rules.length,
  );
}

/** One sentence on how the skeleton differs, for the log. */
export function explainSkeleton(skeleton: TableSkeleton, actual: Listing): string {
  if (actual.chains.length === 0 && actual.sets.length === 0) return 'the table was gone';
  const chains = skeleton.chains
    .map(({ name }) => name)
    .filter((name) => !actual.chains.some((one) => one.name === name));
  if (chains.length > 0) return `chains were gone: ${chains.join(', ')}`;
  const sets = setNamesOf(skeleton).filter((name) => !actual.sets.some((set) => set.name === name));
  if (sets.length > 0) return `sets were gone: ${sets.join(', ')}`;
  return 'rules had changed';
}
