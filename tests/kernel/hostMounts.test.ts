/*
 * Mounts on the host, on the real kernel: found and unmounted where the way to them has symbolic links, binds that take nothing
 * away from what they are made of, and what an error does not tell.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inspect } from 'node:util';
import { openSeam } from '../../src/base/seam.ts';
import { hostMountOf } from '../../src/engine/volumes/volumeOptions.ts';
import { type HostMount, openHostMounts } from '../../src/runtime/hostMounts.ts';

const mounts = openHostMounts(openSeam());
const folder = mkdtempSync(join(tmpdir(), 'linkspan mounts-'));
const tmpfs: HostMount = { type: 'tmpfs', source: 'tmpfs', options: ['size=1m'] };

/** A new folder. */
function make(...names: readonly string[]): string {
  const path = join(folder, ...names);
  mkdirSync(path, { recursive: true });
  return path;
}

after(async () => {
  for (const path of await mounts.list(folder)) await mounts.unmount(path);
  rmSync(folder, { recursive: true });
});

test('what is mounted behind a symbolic link is found there, and unmounted', async () => {
  make('disk', 'root');
  symlinkSync('disk', join(folder, 'link'));
  const root = join(folder, 'link/root');
  const [one, two] = [make('link/root/one/_data'), make('link/root/two')];
  for (const target of [one, two, two]) await mounts.mount(target, tmpfs);
  writeFileSync(join(one, 'file'), '');
  assert.deepEqual(await mounts.list(root), [two, two, one]);
  await mounts.unmount(two);
  assert.deepEqual(await mounts.list(root), [one], 'all that is there');
  await mounts.unmount(one);
  assert.deepEqual([await mounts.list(root), existsSync(join(one, 'file'))], [[], false]);
});

test('where there is no folder there is no mount', async () => {
  await mounts.unmount(join(folder, 'no/such'));
  assert.deepEqual(await mounts.list(join(folder, 'no')), []);
});

for (const o of ['bind', 'rbind'])
  test(`unmounting a volume with o=${o} leaves what is mounted below its device`, async () => {
    const device = make(`device-${o}`);
    await mounts.mount(device, tmpfs);
    execFileSync('mount', ['--make-shared', device]);
    const volume = make(`volume-${o}`);
    const what = hostMountOf({ type: 'none', device, o });
    assert.ok(what);
    await mounts.mount(volume, what);
    const below = make(`device-${o}`, 'below');
    await mounts.mount(below, tmpfs);
    writeFileSync(join(below, 'file'), '');
    assert.equal(existsSync(join(volume, 'below/file')), true, 'what is mounted later is in the volume');
    await mounts.unmount(volume);
    assert.equal(existsSync(join(below, 'file')), true);
  });

test('the error of a mount that fails has no options of it', async () => {
  const what: HostMount = { type: 'cifs', source: '//192.0.2.1/x', options: ['password=hush'] };
  await assert.rejects(mounts.mount(make('share'), what), (error) => {
    assert.match(inspect(error, { depth: null }), /runtimeFailed/);
    assert.doesNotMatch(inspect(error, { depth: null }), /hush/);
    return true;
  });
});
