/*
 * Commands over several names: each is tried, successes are printed as they come, failures are collected and end
 * the command with exit code 1.
 */
import { CliError, silentExit } from './cliError.ts';
import type { Io } from './io.ts';

/**
 * Calls `work` for each name in order; what it returns is printed on a line. Failures go to stderr, in order, after
 * the last name; then throws a silent CliError with code 1.
 */
export async function forEachName(
  io: Io,
  names: readonly string[],
  work: (name: string) => Promise<string | undefined>,
): Promise<void> {
  const failures: string[] = [];
  for (const name of names) {
    try {
      const line = await work(name);
      if (line !== undefined) io.out(`${line}\n`);
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      failures.push(error.message);
    }
  }
  if (failures.length === 0) return;
  io.err(`${failures.join('\n')}\n`);
  throw silentExit(1);
}
