/*
 * The question before something is removed for good, as Docker asks it.
 */
import type { Io } from './io.ts';

/** Asks on stdout and reads a line; only `y` means yes. The end of stdin means no. */
export async function confirm(io: Io, warning: string): Promise<boolean> {
  io.out(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `);
  let text = '';
  for await (const piece of io.stdin) {
    text += String(piece);
    if (text.includes('\n')) break;
  }
  return (text.split('\n', 1)[0] ?? '').trim().toLowerCase() === 'y';
}
