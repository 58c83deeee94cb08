/* Where tests find and keep what is made once for all runs. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where scripts/test-tools keeps what it unpacks, and tests what they make once. */
export const testCache: string =
  process.env['LINKSPAN_TEST_CACHE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'linkspan');
