/*
 * What is told of a series of measurements. The lower quartile says what the work itself takes; median and p90 also
 * show what else the machine was doing.
 */

export interface Quantiles {
  readonly p25: number;
  readonly median: number;
  readonly p90: number;
}

/** Rounded to `digits` after the point; zeros for an empty series. */
export function quantilesOf(samples: readonly number[], digits = 2): Quantiles {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (part: number): number =>
    Number((sorted[Math.floor(sorted.length * part)] ?? 0).toFixed(digits));
  return { p25: at(0.25), median: at(0.5), p90: at(0.9) };
}

/** A table of what was measured, with a sentence above it. */
export function quantileTable(
  caption: string,
  rows: readonly (readonly [what: string, quantiles: Quantiles])[],
): readonly string[] {
  return [
    caption,
    '',
    '| step | lower quartile | median | p90 |',
    '|---|---|---|---|',
    ...rows.map(([what, { p25, median, p90 }]) => `| ${what} | ${p25} | ${median} | ${p90} |`),
  ];
}

/** Runs `work` and notes its milliseconds. */
export async function timed(samples: number[], work: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  await work();
  samples.push(performance.now() - start);
}
