/*
 * The flag list of a help text: two columns, the second wrapped, as Go's pflag lays it out. Pure.
 */
import type { FlagSpec } from '../flags.ts';

/** pflag lets a line run over by this many columns rather than break a short rest off. */
const slop = 5;

function takeLine(width: number, text: string): [line: string, rest: string] {
  if (width + slop > text.length) return [text, ''];
  const head = text.slice(0, width);
  const space = Math.max(head.lastIndexOf(' '), head.lastIndexOf('\t'), head.lastIndexOf('\n'));
  if (space <= 0) return [text, ''];
  const newline = head.lastIndexOf('\n');
  const at = newline > 0 && newline < space ? newline : space;
  return [text.slice(0, at), text.slice(at + 1)];
}

/** Wraps `text` to `columns`, with `indent` spaces before every line but the first. */
export function wrapText(indent: number, columns: number, text: string): string {
  const lines: string[] = [];
  let rest = text;
  do {
    const [line, more] = takeLine(Math.max(24, columns - indent) - slop, rest);
    lines.push(line);
    rest = more;
  } while (rest !== '');
  return lines.join('\n').replaceAll('\n', `\n${' '.repeat(indent)}`);
}

function defaultText(spec: FlagSpec): string {
  if (spec.type === 'map') return ' (default map[])';
  if (spec.type === 'ulimit' || spec.type === 'ipNetSlice') return ' (default [])';
  if (spec.fallback === '') return '';
  return spec.type === 'string'
    ? ` (default ${JSON.stringify(spec.fallback)})`
    : ` (default ${spec.fallback})`;
}

/** The lines of help for `specs`, sorted by name, `columns` wide. */
export function formatFlags(specs: readonly FlagSpec[], columns: number): string {
  const shown = specs
    .filter((spec) => spec.isHidden !== true)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((spec) => {
      const type = spec.type === 'bool' ? '' : ` ${spec.type}`;
      const head = `  ${spec.short === '' ? '   ' : `-${spec.short},`} --${spec.name}${type}`;
      return { head, usage: spec.usage + defaultText(spec) };
    });
  const width = Math.max(...shown.map(({ head }) => head.length)) + 3;
  return shown.map(({ head, usage }) => `${head.padEnd(width)}${wrapText(width, columns, usage)}\n`).join('');
}
