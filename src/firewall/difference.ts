/*
 * Compares the table as it is with the table as it should be, and says in words what differs. Pure.
 */
import type { SetElement } from '../kernel/kernel.ts';
import { formatData, formatKey } from './elements.ts';
import type { Listing } from './nftJson.ts';
import { admittedSets, chainNames, operatorChain, setNames } from './skeleton.ts';

export interface ElementDifference {
  readonly missing: readonly SetElement[];
  /** Elements in our sets that nothing asks for, or with other data. */
  readonly extra: readonly { readonly set: string; readonly key: string }[];
}

/** Elements of our sets: what `desired` has and `actual` lacks, and the reverse. */
export function compareElements(desired: readonly SetElement[], actual: Listing): ElementDifference {
  const wanted = new Map<string, SetElement>(
    desired.map((element) => [`${element.set} ${formatKey(element)}`, element]),
  );
  const present = new Map<string, { readonly set: string; readonly key: string; readonly data: string }>(
    actual.sets
      .filter(({ name }) => setNames.includes(name) && !admittedSets.includes(name))
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
export function planElementChanges(table: string, difference: ElementDifference): readonly string[] {
  return [
    ...difference.extra.map(({ set, key }) => `delete element inet ${table} ${set} { ${key} }`),
    ...difference.missing.map((element) => {
      const data = formatData(element);
      return `add element inet ${table} ${element.set} { ${formatKey(element)}${data === '' ? '' : ` : ${data}`} }`;
    }),
  ];
}

/** The part of a listing that `planSkeleton` decides, as text: equal skeletons have equal text. */
export function describeSkeleton(listing: Listing): string {
  const isOurs = (name: string): boolean => chainNames.includes(name) || name === operatorChain;
  return JSON.stringify({
    sets: listing.sets.map(({ name }) => name).filter((name) => setNames.includes(name)),
    chains: listing.chains
      .filter(({ name }) => isOurs(name))
      .map(({ name, hook, priority, policy }) => [name, hook, priority, policy]),
    rules: chainNames.map((chain) => listing.rules.filter((rule) => rule.chain === chain).map((r) => r.text)),
  });
}

/** True if every chain of ours has as many rules as planned: somebody may change the table while we read it back. */
export function hasAllRules(listing: Listing, counts: ReadonlyMap<string, number>): boolean {
  return [...counts].every(
    ([chain, count]) => listing.rules.filter((rule) => rule.chain === chain).length === count,
  );
}

/** One sentence on how the skeleton differs, for the log. */
export function explainSkeleton(actual: Listing): string {
  if (actual.chains.length === 0 && actual.sets.length === 0) return 'the table was gone';
  const chains = [...chainNames, operatorChain].filter((name) => !actual.chains.some((c) => c.name === name));
  if (chains.length > 0) return `chains were gone: ${chains.join(', ')}`;
  const sets = setNames.filter((name) => !actual.sets.some((set) => set.name === name));
  if (sets.length > 0) return `sets were gone: ${sets.join(', ')}`;
  return 'rules had changed';
}
