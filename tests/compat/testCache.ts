/* Where tests find and keep what is made once for all runs. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where scripts/test-tools keeps what it unpacks, and tests what they make once. */
export const testCache: string =
  process.env['LINKSPAN_TEST_CACHE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'linkspan');

/** A file of the packages that `scripts/test-tools newer` unpacks; undefined where it had no network. */
export function findNewer(path: string): string | undefined {
  const found = join(testCache, 'newer', path);
  return existsSync(found) ? found : undefined;
}
