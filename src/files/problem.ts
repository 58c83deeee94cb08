/*
 * What went wrong with one file of a copy, in words that name the file and not the way in which we reached it.
 */
import { getSystemErrorMessage } from 'node:util';
import { LinkspanError } from '../errors/linkspanError.ts';
import { PathError, toText } from './rootTree.ts';

const words: Readonly<Record<string, string>> = {
  EBUSY: 'device or resource busy',
  EISDIR: 'is a directory',
  tooDeep: 'too many folders in each other',
  loop: 'too many levels of symbolic links',
  notFolder: 'not a directory',
  missing: 'no such file or directory',
};

/** `path` in bytes. Refusals stay as they are; what is no error of a file is given back too. */
export function problemAt(path: string, error: unknown): unknown {
  if (error instanceof LinkspanError || !(error instanceof Error)) return error;
  if (error instanceof PathError)
    return new LinkspanError('archiveRefused', `${toText(error.path)}: ${words[error.problem]}`, {
      cause: error,
    });
  const { errno, code, syscall } = error as NodeJS.ErrnoException;
  // What Node does not hand to the system: an owner or a time out of range.
  if (code?.startsWith('ERR_') === true)
    return new LinkspanError('archiveRefused', `${toText(path)}: ${error.message}`, { cause: error });
  if (errno === undefined || code === undefined) return error;
  const text = words[code] ?? getSystemErrorMessage(errno);
  return new LinkspanError('archiveRefused', `${syscall ?? 'copy'} ${toText(path)}: ${text}`, {
    cause: error,
  });
}
