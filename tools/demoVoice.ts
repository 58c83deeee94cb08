/*
 * How the demos speak: headings, and commands as typed above their real output. A command that does not end as it should
 * ends the demo.
 */
import { spawnSync } from 'node:child_process';

const isColor = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;

export const bold = (text: string): string => (isColor ? `\x1b[1m${text}\x1b[0m` : text);

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function heading(text: string): void {
  say(`\n${bold(`── ${text} ──`)}`);
}

/** Types one command; returns its stdout. Throws when the exit code is not what it should be. */
export function type(command: string, expected: 'success' | 'failure' = 'success'): string {
  say(`$ ${command}`);
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
  for (const line of `${stdout}${stderr}`.trimEnd().split('\n')) if (line !== '') say(`  ${line}`);
  if ((status === 0) !== (expected === 'success'))
    throw new Error(`'${command}' ended with ${status}, which is not what should happen here`);
  return stdout.trim();
}
