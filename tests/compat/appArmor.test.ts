/*
 * AppArmor, where the kernel has it switched on: containers run with the profile `docker-default`, with another, or with
 * none, and what the profile forbids stays forbidden to root with every capability.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';

const loadedPath = '/sys/kernel/security/apparmor/profiles';
const enabledPath = '/sys/module/apparmor/parameters/enabled';
const isEnabled = existsSync(enabledPath) && readFileSync(enabledPath, 'utf8').startsWith('Y');
const skip = isEnabled ? false : 'AppArmor (CONFIG_SECURITY_APPARMOR) is not in this kernel, or switched off';

for (const engine of engines('docker'))
  describe(`AppArmor: ${engine.name}`, { skip }, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const run = async (flags: readonly string[], line: string): Promise<string> =>
      (await daemon.cli(['run', '--rm', ...flags, 'busybox', 'sh', '-c', line])).stdout;
    const confinedBy = 'cat /proc/self/attr/current';

    test('the default profile, another, and none', async () => {
      await daemon.cli(['info', '-f', '{{.SecurityOptions}}'], { stdout: /name=apparmor/ });
      assert.equal(await run([], confinedBy), 'docker-default (enforce)');
      assert.equal(await run(['--security-opt', 'apparmor=unconfined'], confinedBy), 'unconfined');
      assert.equal(await run(['--privileged'], confinedBy), 'unconfined');
      assert.equal(
        await run(['--privileged', '--security-opt', 'apparmor:docker-default'], confinedBy),
        'docker-default (enforce)',
      );
      await daemon.cli(['run', '--rm', '--security-opt', 'apparmor=nowhere', 'busybox', 'true'], {
        exitCode: undefined,
        stderr: /apparmor/,
      });
      await daemon.cli(['ps', '-aq'], { stdout: '' });
    });

    test('what it forbids, to root with every capability; and exec and stop go on', async () => {
      const line =
        'mount -t tmpfs none /tmp 2>&1; echo 1 2>&1 >/proc/sys/kernel/panic; cat /sys/firmware/memmap/0/type 2>&1; true';
      const open = ['--cap-add', 'ALL', '--security-opt', 'systempaths=unconfined'];
      const flags = [...open, '--security-opt', 'seccomp=unconfined'];
      const said = await run(flags, line);
      assert.equal(said.match(/permission denied/gi)?.length, 3, said);
      await daemon.cli(['run', '-d', '--init', '--name', 'c1', 'busybox', 'sleep', '600']);
      await daemon.cli(['inspect', '-f', '{{.AppArmorProfile}}', 'c1'], { stdout: 'docker-default' });
      await daemon.cli(['exec', 'c1', 'sh', '-c', confinedBy], { stdout: 'docker-default (enforce)' });
      await daemon.cli(['exec', '--privileged', 'c1', 'sh', '-c', confinedBy], { stdout: 'unconfined' });
      await daemon.cli(['stop', 'c1']);
      await daemon.cli(['inspect', '-f', '{{.State.ExitCode}}', 'c1'], { stdout: '143' });
      await daemon.cli(['rm', 'c1']);
    });

    test('a profile that somebody removed is loaded again', async () => {
      const remove = ['sh', '-c', 'printf docker-default >/sys/kernel/security/apparmor/.remove'];
      await daemon.host(remove);
      assert.doesNotMatch(readFileSync(loadedPath, 'utf8'), /^docker-default /m);
      assert.equal(await run([], confinedBy), 'docker-default (enforce)');
    });
  });
