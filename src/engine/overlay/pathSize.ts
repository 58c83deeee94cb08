/*
 * How large packets may be on the way to another node: what several questions and their answers come to. Losing one packet
 * says nothing, so that each length is asked for up to three times.
 */
import type { Kernel, NamespacePath } from '../../kernel/kernel.ts';
import type { Ip } from '../../net/ip.ts';

export interface PathTarget {
  /** IPv4, as `to`. */
  readonly from: Ip;
  readonly to: Ip;
  readonly namespace?: NamespacePath;
  /** Of the largest packet that networks send on this way, its IP header and all. */
  readonly fullBytes: number;
  /** Networks send without DF there, so that routers may split what is too large. */
  readonly maySplit: boolean;
}

/**
 * `whole`: full packets get there and back. `split`: in fragments only. `lost`: they do not, though small ones do;
 * `passingBytes` is the largest that does. `unknown`: nothing comes back.
 */
export type PathSize =
  | { readonly kind: 'whole' | 'unknown' }
  | { readonly kind: 'split' | 'lost'; readonly passingBytes: number };

/** Passes wherever IP does, but for exotic links (RFC 791: every host takes 576). */
const smallBytes = 128;
const roundMs = 1000;
const rounds = 3;
/** Lengths in one question. */
const mostSizes = 16;

export async function findPathSize(kernel: Pick<Kernel, 'probePath'>, target: PathTarget): Promise<PathSize> {
  const { fullBytes, maySplit, ...ends } = target;
  const ask = (sizes: readonly number[], isWhole: boolean): Promise<readonly number[]> =>
    kernel.probePath({ ...ends, sizes, isWhole, timeoutMs: roundMs });
  /** Undefined where small packets are lost, too: then that of large ones is no news. */
  const passes = async (isWhole: boolean): Promise<boolean | undefined> => {
    let smallOnes = 0;
    for (let round = 0; round < rounds; round++) {
      const answered = await ask([smallBytes, fullBytes], isWhole);
      if (answered.includes(fullBytes)) return true;
      if (answered.includes(smallBytes)) smallOnes += 1;
      // Nobody there, or nobody who answers.
      if (smallOnes === 0 && round > 0) return undefined;
    }
    return smallOnes === rounds ? false : undefined;
  };
  const isWhole = await passes(true);
  if (isWhole === undefined) return { kind: 'unknown' };
  if (isWhole) return { kind: 'whole' };
  const isSplit = maySplit ? await passes(false) : false;
  if (isSplit === undefined) return { kind: 'unknown' };
  const passingBytes = await search(fullBytes, (sizes) => ask(sizes, true));
  return { kind: isSplit ? 'split' : 'lost', passingBytes };
}

/** The largest length that is answered: below `fullBytes`, which is not. */
async function search(
  fullBytes: number,
  ask: (sizes: readonly number[]) => Promise<readonly number[]>,
): Promise<number> {
  let [passing, failing] = [smallBytes, fullBytes];
  while (failing - passing > 1) {
    const step = Math.max(1, Math.ceil((failing - passing) / (mostSizes + 1)));
    const sizes: number[] = [];
    for (let size = passing + step; size < failing; size += step) sizes.push(size);
    const answered = new Set([...(await ask(sizes)), ...(await ask(sizes))]);
    const best = sizes.findLast((size) => answered.has(size));
    failing = sizes.find((size) => size > (best ?? 0)) ?? failing;
    passing = best ?? passing;
  }
  return passing;
}
