/*
 * A histogram that was counted elsewhere (in another thread), in the text format of Prometheus: prom-client's own can
 * only be observed into, one value after the other. Pure.
 */

export interface CountedHistogram {
  /** Upper bounds of all buckets but the last, ascending, milliseconds. */
  readonly boundsMs: readonly number[];
  /** By the value of the label: a number for each bucket, not summed up, and the sum of what was observed. */
  readonly series: Readonly<Record<string, { readonly counts: readonly number[]; readonly sumMs: number }>>;
}

function formatSeries(
  name: string,
  label: string,
  boundsMs: readonly number[],
  { counts, sumMs }: CountedHistogram['series'][string],
): readonly string[] {
  let sum = 0;
  const buckets = counts.map((count, i) => {
    sum += count;
    const bound = boundsMs[i];
    const le = bound === undefined ? '+Inf' : String(bound / 1000);
    return `${name}_bucket{le="${le}",${label}} ${sum}`;
  });
  return [...buckets, `${name}_sum{${label}} ${sumMs / 1000}`, `${name}_count{${label}} ${sum}`];
}

/** Lines with an end each; in seconds, as is the custom. */
export function formatHistogram(
  name: string,
  help: string,
  labelName: string,
  { boundsMs, series }: CountedHistogram,
): string {
  const lines = Object.entries(series).flatMap(([value, one]) =>
    formatSeries(name, `${labelName}="${value}"`, boundsMs, one),
  );
  if (lines.length === 0) return '';
  return [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`, ...lines, ''].join('\n');
}
