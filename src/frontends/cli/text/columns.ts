/*
 * Column alignment with the rules of Go's text/tabwriter as Docker sets it up: cells end in a tab, a column is at
 * least 10 wide and padded by 3, and only adjacent lines that have the cell share a column. Pure.
 */

interface Rules {
  readonly minWidth: number;
  readonly padding: number;
}

function widthOfText(text: string): number {
  return Array.from(text).length;
}

/** Aligns tab-separated lines. The text after a line's last tab is not padded. */
export function alignColumns(lines: readonly string[], minWidth = 10, padding = 3): string[] {
  const cells = lines.map((line) => line.split('\t'));
  const widths = cells.map((): number[] => []);
  measure(cells, widths, 0, cells.length, 0, { minWidth, padding });
  return cells.map((row, y) =>
    row
      .map((cell, x) => {
        const width = widths[y]?.[x];
        return width === undefined ? cell : cell + ' '.repeat(Math.max(0, width - widthOfText(cell)));
      })
      .join(''),
  );
}

/** Sets the width of column `x` for each run of lines in [from, to) that have a tab-ended cell there. */
function measure(
  cells: string[][],
  widths: number[][],
  from: number,
  to: number,
  x: number,
  rules: Rules,
): void {
  const hasCell = (y: number): boolean => (cells[y]?.length ?? 0) - 1 > x;
  for (let y = from; y < to; y++) {
    if (!hasCell(y)) continue;
    let end = y;
    let width = rules.minWidth;
    for (; end < to && hasCell(end); end++)
      width = Math.max(width, widthOfText(cells[end]?.[x] ?? '') + rules.padding);
    for (let i = y; i < end; i++) widths[i]?.push(width);
    measure(cells, widths, y, end, x + 1, rules);
    y = end;
  }
}
