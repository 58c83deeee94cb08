/*
 * Programs of the system that containers cannot do without.
 */
import { findProgram } from '../base/programs.ts';
import { LinkspanError } from '../errors/linkspanError.ts';

/** Throws runtimeUnavailable if `name` is nowhere in PATH; `need` says what for. */
export async function programPath(name: string, need: string): Promise<string> {
  const path = await findProgram(name);
  if (path === undefined) throw new LinkspanError('runtimeUnavailable', `${need} needs the program ${name}`);
  return path;
}
