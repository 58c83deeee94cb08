/*
 * Test files in another kernel: boots one under QEMU (tools/vmrun) and runs a file in a lane there.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root: string = join(import.meta.dirname, '../..');

/** Runs a test file in the guest, with `modules` loaded; its output is shown when it fails. */
export function runInGuest(file: string, limitSeconds: number, only?: string, modules?: string): void {
  const pattern = only === undefined ? [] : [`--test-name-pattern=${only}`];
  const engine = process.env['LINKSPAN_COMPAT_ENGINE'] ?? 'docker';
  const { status, stdout, stderr } = spawnSync(
    join(root, 'tools/vmrun'),
    [
      ...(modules === undefined ? [] : ['-m', modules]),
      ...['-v', '-t', String(limitSeconds), '-e', `LINKSPAN_COMPAT_ENGINE=${engine}`, '--'],
      ...[join(root, 'scripts/lane'), join(root, 'scripts/node'), '--test', ...pattern, join(root, file)],
    ],
    { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 },
  );
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  // A pattern that fits nothing must not pass.
  assert.match(stdout, /pass [1-9]/);
  process.stdout.write(stderr);
}
