/*
 * The rule on skipped tests: each names the kernel feature that is missing, and is listed in tests/skips.json. Where a
 * real dockerd judges the compat checks, what it is not asked is skipped too.
 */

const ofReference = 'dockerd 20.10: ';

/** The reason of a skip for what dockerd is not asked: `needs Docker 27`. */
export function notAsked(why: string): string {
  return `${ofReference}${why}`;
}

/** A row of tests/skips.json. */
export interface AllowedSkip {
  /** Relative to the checkout. */
  readonly file: string;
  /** What the kernel lacks, as the skip's text names it. */
  readonly feature: string;
}

/** A test that a run skipped. */
export interface Skip {
  readonly file: string;
  readonly name: string;
  readonly reason: string;
}

/** One sentence per skip that no row allows. `judgesDockerd`: the run asks a real dockerd. */
export function unlistedSkips(
  skips: readonly Skip[],
  allowed: readonly AllowedSkip[],
  judgesDockerd = false,
): readonly string[] {
  return skips
    .filter(({ reason }) => !(judgesDockerd && reason.startsWith(ofReference) && reason !== ofReference))
    .filter(({ file, reason }) => !allowed.some((row) => row.file === file && reason.includes(row.feature)))
    .map(
      ({ file, name, reason }) =>
        `${file} skips '${name}' with the reason '${reason}': name the missing kernel feature and list it in tests/skips.json`,
    );
}
