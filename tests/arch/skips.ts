/*
 * The rule on skipped tests: each names the kernel feature that is missing, and is listed in tests/skips.json.
 */

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

/** One sentence per skip that no row allows. */
export function unlistedSkips(skips: readonly Skip[], allowed: readonly AllowedSkip[]): readonly string[] {
  return skips
    .filter(({ file, reason }) => !allowed.some((row) => row.file === file && reason.includes(row.feature)))
    .map(
      ({ file, name, reason }) =>
        `${file} skips '${name}' with the reason '${reason}': name the missing kernel feature and list it in tests/skips.json`,
    );
}
