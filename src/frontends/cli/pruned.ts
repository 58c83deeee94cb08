/*
 * What a prune of one kind of thing has removed, as text and in bytes.
 */

export interface Pruned {
  /** A head, a line each, an empty line; empty if there was nothing. */
  readonly text: string;
  readonly reclaimedBytes: number;
}

export function prunedList(head: string, lines: readonly string[] | null, reclaimedBytes: number): Pruned {
  const list = lines ?? [];
  const text = list.length === 0 ? '' : `${head}:\n${list.map((line) => `${line}\n`).join('')}\n`;
  return { text, reclaimedBytes };
}
