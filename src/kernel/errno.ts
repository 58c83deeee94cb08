/*
 * errno numbers to names, and any failure of a kernel call to a KernelError. Contract: errno(3).
 */
import { constants } from 'node:os';
import { KernelError } from './kernel.ts';

// Two names share a number for these; the later entry of a Map wins, so the ones that the kernel's texts use come last.
const names: ReadonlyMap<number, string> = new Map([
  ...Object.entries(constants.errno).map(([name, number]) => [number, name] as const),
  // Node has no name for it: a bridge that has no port left.
  [54, 'EXFULL'] as const,
  [constants.errno.EAGAIN, 'EAGAIN'] as const,
  [constants.errno.EOPNOTSUPP, 'EOPNOTSUPP'] as const,
]);

/** `ENODEV` for 19; `E999` for a number without a name. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}

/** The KernelError for something that `operation` threw: a file operation's error, an injected fault, anything. */
export function asKernelError(operation: string, error: unknown): KernelError {
  if (error instanceof KernelError) return error;
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  const text = error instanceof Error ? error.message : String(error);
  return new KernelError(operation, typeof code === 'string' ? code : 'EIO', text);
}

/** True if `error` is a KernelError with one of `codes`. */
export function hasErrno(error: unknown, ...codes: readonly string[]): error is KernelError {
  return error instanceof KernelError && codes.includes(error.code);
}
