/*
 * Files that flags name, read with the error texts that Go gives.
 */
import { readFileSync } from 'node:fs';
import { CliError } from '../cliError.ts';

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  ENOTDIR: 'not a directory',
};

/** The text of a file. Throws CliError. */
export function readFileValue(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    throw new CliError(
      code === 'EISDIR' ? `read ${path}: is a directory` : `open ${path}: ${reasons[code] ?? code}`,
      125,
    );
  }
}

/** As `readFileValue`, of a file that holds PEM. */
export function readPem(path: string): string {
  const text = readFileValue(path);
  if (!/^-----BEGIN [^\n]*-----\s*$[^]*^-----END [^\n]*-----\s*$/m.test(text))
    throw new CliError('file contents must be in PEM format', 125);
  return text;
}
