/*
 * A figure and what it has to be, as a row of bench/RESULTS.md.
 */

export interface Target {
  readonly what: string;
  /** undefined where an engine is missing. */
  readonly value: number | undefined;
  readonly limit: number;
  /** True: more is better. */
  readonly isLowerLimit?: boolean;
  readonly unit: string;
}

export function ratio(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a / b;
}

export function targetTable(all: readonly Target[]): readonly string[] {
  const row = ({ what, value, limit, isLowerLimit = false, unit }: Target): string => {
    const isMet = value !== undefined && (isLowerLimit ? value >= limit : value <= limit);
    const verdict = value === undefined ? 'not measured' : isMet ? 'yes' : 'no';
    const shown = value === undefined ? '' : `${Number(value.toFixed(2))} ${unit}`.trim();
    const bound = `${isLowerLimit ? 'at least' : 'at most'} ${limit} ${unit}`.trim();
    return `| ${what} | ${shown} | ${bound} | ${verdict} |`;
  };
  return ['| target | measured | limit | met |', '|---|---|---|---|', ...all.map(row)];
}
