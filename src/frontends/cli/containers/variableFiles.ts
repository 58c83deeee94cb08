/*
 * Lists of `KEY=value` from flags and files (`--env-file`, `--label-file`): `#` starts a comment line, a bare KEY of
 * an environment takes the CLI's own value, or stands alone so that the image's is removed.
 */
import { readFileSync } from 'node:fs';
import { CliError } from '../cliError.ts';

/** The entries of a file's text. Throws CliError with Docker's text where a name has spaces or is missing. */
export function parseVariableLines(text: string, path: string): string[] {
  const entries: string[] = [];
  for (const [i, raw] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const line = raw.trimStart().replace(/\r$/, '');
    if (line === '' || line.startsWith('#')) continue;
    const name = line.split('=', 1)[0] ?? '';
    if (/\s/.test(name))
      throw new CliError(
        `invalid environment file (${path}): line ${i + 1}: variable '${name}' contains whitespaces`,
        125,
      );
    if (name === '') throw new CliError(`no variable name on line '${line}'`, 125);
    entries.push(line);
  }
  return entries;
}

function readLines(path: string, exitCode: number): string[] {
  try {
    return parseVariableLines(readFileSync(path, 'utf8'), path);
  } catch (error) {
    const text = error instanceof CliError ? error.message : `open ${path}: no such file or directory`;
    throw new CliError(text, exitCode);
  }
}

function withOwnValue(entry: string, env: NodeJS.ProcessEnv): string {
  if (entry.includes('=')) return entry;
  const value = env[entry];
  return value === undefined ? entry : `${entry}=${value}`;
}

/**
 * Files first, then flags, so that flags win. Null when there are none. `fileExitCode` is for a bad file: 125, as a
 * bad flag, where a container is made, 1 in `exec`.
 */
export function readEnvironment(
  files: readonly string[],
  flags: readonly string[],
  env: NodeJS.ProcessEnv,
  fileExitCode = 125,
): string[] | null {
  const lines = files.flatMap((path) => readLines(path, fileExitCode));
  const all = [...lines, ...flags].map((entry) => withOwnValue(entry, env));
  return all.length === 0 ? null : all;
}

/** Labels as an object; a bare key has an empty value, and in a file it is nothing. */
export function readLabels(files: readonly string[], flags: readonly string[]): Record<string, string> {
  const lines = files.flatMap((path) => readLines(path, 125)).filter((line) => line.includes('='));
  const entries = [...lines, ...flags];
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf('=');
      return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );
}
