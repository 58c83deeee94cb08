/*
 * Help texts, laid out as the docker CLI lays out its own, plus examples. Pure.
 */
import type { Command, Group } from './command.ts';
import type { FlagSpec } from './flags.ts';
import { formatFlags } from './text/wrap.ts';

export const programName = 'linkspan';

/** Docker wraps one column short of the terminal, or of 80. */
export function helpColumns(terminalColumns: number | undefined): number {
  return (terminalColumns ?? 80) - 1;
}

function list(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(11, ...rows.map(([name]) => name.length));
  return rows.map(([name, summary]) => `  ${name.padEnd(width)} ${summary}\n`).join('');
}

/** The help of one command. */
export function formatCommandHelp(command: Command, path: string, columns: number): string {
  const parts = [`Usage:  ${programName} ${path} ${command.usage}`.trimEnd(), command.summary];
  if (command.paths.length > 1)
    parts.push(`Aliases:\n  ${command.paths.map((each) => `${programName} ${each}`).join(', ')}`);
  if (command.examples.length > 0) {
    const lines = command.examples.map(([why, line]) => `  # ${why}\n  ${programName} ${line}`);
    parts.push(`Examples:\n${lines.join('\n')}`);
  }
  if (command.flags.some((spec) => spec.isHidden !== true))
    parts.push(`Options:\n${formatFlags(command.flags, columns).trimEnd()}`);
  return `${parts.join('\n\n')}\n`;
}

/** The help of a group such as `network`. */
export function formatGroupHelp(group: Group, members: readonly Command[]): string {
  const rows = members.map((command): [string, string] => {
    const path = command.paths.find((each) => each.startsWith(`${group.name} `)) ?? '';
    return [path.slice(group.name.length + 1), command.summary];
  });
  const sorted = rows.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return [
    `Usage:  ${programName} ${group.name} COMMAND`,
    group.summary,
    `Commands:\n${list(sorted).trimEnd()}`,
    `Run '${programName} ${group.name} COMMAND --help' for more information on a command.`,
    '',
  ]
    .join('\n\n')
    .trimEnd()
    .concat('\n');
}

/** The help of the program. */
export function formatRootHelp(
  sections: readonly { readonly title: string; readonly rows: readonly (readonly [string, string])[] }[],
  flags: readonly FlagSpec[],
  columns: number,
): string {
  return [
    `Usage:  ${programName} [OPTIONS] COMMAND`,
    'Container networks for Linux, with the commands that Docker users know',
    ...sections.map(({ title, rows }) => `${title}:\n${list(rows).trimEnd()}`),
    `Global Options:\n${formatFlags(flags, columns).trimEnd()}`,
    `Run '${programName} COMMAND --help' for more information on a command.`,
  ]
    .join('\n\n')
    .concat('\n');
}
