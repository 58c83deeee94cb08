/*
 * What a refused start means: the exit code that the container gets (127 command not found, 126 not executable, 128
 * anything else) and the text that the user sees. The runtime's own text is all there is to tell by; the rules are
 * Docker's.
 */
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';

export interface StartFailure {
  readonly exitCode: number;
  readonly error: LinkspanError;
}

const notFoundTexts = [
  'executable file not found',
  'no such file or directory',
  'system cannot find the file specified',
];

function exitCodeOf(text: string, command: string): number | undefined {
  const lower = text.toLowerCase();
  if (lower.includes('not a directory')) return 127;
  if (lower.includes('permission denied') || lower.includes('operation not permitted')) return 126;
  const isAboutCommand = text.includes(command);
  return isAboutCommand && notFoundTexts.some((part) => lower.includes(part)) ? 127 : undefined;
}

const directoryHint =
  ': Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and ' +
  'is the expected type';

/** `command` is argv[0]; `otherCode` is for what is neither missing nor forbidden: 128 for a start, 126 for an exec. */
export function translateStartError(cause: unknown, command: string, otherCode: number): StartFailure {
  const text = messageOf(cause);
  const exitCode = exitCodeOf(text, command);
  if (exitCode === undefined) {
    const error =
      cause instanceof LinkspanError ? cause : new LinkspanError('runtimeFailed', text, { cause });
    return { exitCode: otherCode, error };
  }
  const hint = text.toLowerCase().includes('not a directory') ? directoryHint : '';
  return { exitCode, error: new LinkspanError('containerStartFailed', text + hint, { cause }) };
}
