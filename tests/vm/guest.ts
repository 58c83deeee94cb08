/*
 * Test files in another kernel: boots one under QEMU (tools/vmrun) and runs a file in a lane there.
 */
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root: string = join(import.meta.dirname, '../..');

/** What V8 says before it aborts because its own bookkeeping does not add up, and of nothing that a program does. */
const brokenEngine = /^ *# Fatal error in /m;

/** For `runInGuest`, which may have to run twice. */
export const guestTimeoutMs = (limitSeconds: number): number => (2 * limitSeconds + 60) * 1000;

/**
 * Runs a test file in the guest, with `modules` loaded and more on the kernel's command line; its output is shown when it fails. Under emulation V8 may find its
 * own list of machine code broken and abort (once in some hundred runs, never on a real processor): such a run says
 * nothing of the tests, is told of, and repeated once.
 */
export function runInGuest(
  file: string,
  limitSeconds: number,
  only?: string,
  modules?: string,
  kernelWords?: string,
): void {
  let ended = runOnce(file, limitSeconds, only, modules, kernelWords);
  if (ended.status !== 0 && brokenEngine.test(`${ended.stdout}\n${ended.stderr}`)) {
    process.stdout.write(`V8 aborted under emulation; once more\n${ended.stdout}\n${ended.stderr}\n`);
    ended = runOnce(file, limitSeconds, only, modules, kernelWords);
  }
  const { status, stdout, stderr } = ended;
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  // A pattern that fits nothing must not pass.
  assert.match(stdout, /pass [1-9]/);
  process.stdout.write(stderr);
}

function runOnce(
  file: string,
  limitSeconds: number,
  only: string | undefined,
  modules: string | undefined,
  kernelWords: string | undefined,
): SpawnSyncReturns<string> {
  const pattern = only === undefined ? [] : [`--test-name-pattern=${only}`];
  const engine = process.env['LINKSPAN_COMPAT_ENGINE'] ?? 'docker';
  return spawnSync(
    join(root, 'tools/vmrun'),
    [
      ...(modules === undefined ? [] : ['-m', modules]),
      ...(kernelWords === undefined ? [] : ['-k', kernelWords]),
      ...['-v', '-t', String(limitSeconds), '-e', `LINKSPAN_COMPAT_ENGINE=${engine}`, '--'],
      ...[join(root, 'scripts/lane'), join(root, 'scripts/node'), '--test', ...pattern, join(root, file)],
    ],
    { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 },
  );
}
