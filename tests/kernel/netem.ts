/*
 * How far two ends of a link are from each other, as netem makes it (tc-netem(8)). Needs a kernel that has it, as the
 * vm lane's.
 */

/** Of one end of a link, for what leaves there. */
export interface Distance {
  readonly delayMs: number;
  readonly lossPercent: number;
}

/** A program that gives it to a link, in place of what was set before. */
export function netemWords(link: string, { delayMs, lossPercent }: Distance): readonly string[] {
  const words = ['tc', 'qdisc', 'replace', 'dev', link, 'root', 'netem'];
  return [...words, 'delay', `${delayMs}ms`, 'loss', `${lossPercent}%`, 'limit', '10000'];
}
