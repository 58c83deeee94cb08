/*
 * `--pid`, `--ipc` and `--uts`: processes and shared memory of another container, of the host, and of nobody; who joins
 * what does not run; what a kill of the daemon and the policy `always` make of them.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { notAsked } from '../arch/skips.ts';
import { callApi } from './api.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';

// What the command lines send is compared in src/frontends/cli.
for (const engine of engines('docker')) {
  describe(`shared namespaces: ${engine.name}`, () => {
    const isReference = engine.kind === 'dockerd';
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
      await daemon.cli(['run', '-d', '--name', 'own', 'busybox', 'sleep', '600']);
      await daemon.cli(['run', '-d', '--name', 'open', '--ipc', 'shareable', 'busybox', 'sleep', '601']);
      await daemon.cli(['create', '--name', 'off', 'busybox', 'true']);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const look = async (name: string, format: string): Promise<string> =>
      (await daemon.cli(['inspect', '-f', format, name])).stdout;
    /** Mount points of shared memory that the daemon left on the host. */
    const sharedMounts = (): readonly string[] =>
      readFileSync(`/proc/${daemon.pid()}/mountinfo`, 'utf8')
        .split('\n')
        .filter((line) => line.includes(' - tmpfs shm '));

    test('--pid container: sees the other’s processes, and top each container’s own', async () => {
      await daemon.cli(['run', '-d', '--name', 'peer', '--pid', 'container:own', 'busybox', 'sleep', '602']);
      await daemon.cli(['exec', 'own', 'ps', '-o', 'args'], { stdout: /sleep 600[^]*sleep 602/ });
      const top = (await daemon.cli(['top', 'peer', '-o', 'pid,args'])).stdout;
      assert.match(top, /sleep 602/);
      assert.doesNotMatch(top, /sleep 600/);
      assert.equal(
        await look('peer', '{{.HostConfig.PidMode}}'),
        `container:${await look('own', '{{.Id}}')}`,
      );
      await daemon.cli(['rm', '-f', 'peer']);
      await daemon.cli(['exec', 'own', 'ps', '-o', 'args'], { stdout: /^(?!.*sleep 602)/s });
    });

    test('--ipc container: shares /dev/shm with one that is shareable, also down a chain', async () => {
      const show =
        'cat /dev/shm/word; grep -c " /dev/shm tmpfs .*size=65536k" /proc/mounts; ls -d /dev/mqueue';
      await daemon.cli(['exec', 'open', 'sh', '-c', 'echo shared >/dev/shm/word']);
      await daemon.cli(['run', '--rm', '--ipc', 'container:open', 'busybox', 'sh', '-c', show], {
        stdout: 'shared\n1\n/dev/mqueue',
      });
      await daemon.cli(['run', '-d', '--name', 'link', '--ipc', 'container:open', 'busybox', 'sleep', '60']);
      await daemon.cli(['run', '--rm', '--ipc', 'container:link', 'busybox', 'cat', '/dev/shm/word'], {
        stdout: 'shared',
      });
      const same = ['readlink', '/proc/self/ns/ipc'];
      const { stdout } = await daemon.cli(['exec', 'open', ...same]);
      await daemon.cli(['exec', 'link', ...same], { stdout });
      await daemon.cli(['rm', '-f', 'link']);
    });

    test('a container’s own /dev/shm is nobody else’s, and with --ipc none there is none', async () => {
      const ipc = (mode: string, ...command: readonly string[]): readonly string[] => [
        ...['run', '--rm', '--ipc', mode, 'busybox'],
        ...command,
      ];
      await daemon.cli(ipc('private', 'ls', '/dev/shm'), { stdout: '' });
      await daemon.cli(ipc('none', 'sh', '-c', 'ls -d /dev/shm /dev/mqueue 2>/dev/null; true'), {
        stdout: '/dev/mqueue',
      });
      await daemon.cli(ipc('host', 'sh', '-c', 'grep -c " /dev/shm \\| /dev/mqueue " /proc/mounts'), {
        stdout: '2',
      });
      await daemon.cli(['run', '--rm', '--uts', 'host', 'busybox', 'hostname'], { stdout: hostname() });
      await daemon.cli(['run', '--rm', '--pid', 'host', 'busybox', 'ps', '-o', 'args'], {
        stdout: /dockerd|linkspand/,
      });
      assert.equal(await look('own', '{{.HostConfig.IpcMode}}'), 'private');
    });

    test('what cannot be joined is told in Docker’s words', async () => {
      const { socketPath } = daemon;
      const tries: readonly (readonly [object, number, number, RegExp])[] = [
        [{ PidMode: 'foo' }, 400, 0, /^invalid PID mode: foo$/],
        [{ IpcMode: 'foo' }, 400, 0, /^invalid IPC mode: foo$/],
        [{ UTSMode: 'foo' }, 400, 0, /^invalid UTS mode: foo$/],
        [{ PidMode: 'container:nope' }, 400, 0, /^No such container: nope$/],
        [{ IpcMode: 'container:nope' }, 400, 0, /^No such container: nope$/],
        // Docker answers 500 to the first.
        [
          { PidMode: 'container:off' },
          201,
          isReference ? 500 : 409,
          /^failed to join PID namespace: container [0-9a-f]{64} is not running$/,
        ],
        [
          { IpcMode: 'container:off' },
          201,
          409,
          /^failed to join IPC namespace: container [0-9a-f]{64} is not running$/,
        ],
        [
          { IpcMode: 'container:own' },
          201,
          400,
          /^failed to join IPC namespace: container [0-9a-f]{64}: non-shareable IPC \(hint: use IpcMode:shareable for the donor container\)$/,
        ],
      ];
      const older =
        isReference && (await daemon.cli(['version', '-f', '{{.Server.Version}}'])).stdout.startsWith('20');
      if (older) return;
      for (const [HostConfig, created, started, message] of tries) {
        const body = JSON.stringify({ Image: 'busybox', HostConfig });
        const answer = await callApi(socketPath, 'POST', '/containers/create?name=tried', body);
        assert.equal(answer.status, created, answer.body);
        if (created === 400) assert.match(answer.message, message);
        else {
          const start = await callApi(socketPath, 'POST', '/containers/tried/start');
          assert.equal(start.status, started, start.body);
          assert.match(start.message, message);
          assert.match(
            await look('tried', '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}'),
            /^created 128 failed/,
          );
          await daemon.cli(['rm', 'tried']);
        }
      }
    });

    const crash = 'a killed daemon finds them again, and what it left mounted goes';
    const skip = isReference && notAsked('containers end with it');
    test(crash, { skip }, async () => {
      const { cli } = daemon;
      const all = ['--pid', 'container:base', '--ipc', 'container:base', '--network', 'container:base'];
      await cli([
        'run',
        '-d',
        '--name',
        'base',
        '--restart',
        'always',
        '--ipc',
        'shareable',
        'busybox',
        'sleep',
        '603',
      ]);
      await cli(['run', '-d', '--name', 'side', '--restart', 'always', ...all, 'busybox', 'sleep', '604']);
      assert.equal(sharedMounts().length, 2);
      await daemon.kill('SIGKILL');
      await daemon.host(['sh', '-c', 'kill -9 $(pgrep -f "^sleep 601$")']);
      await daemon.start();
      await cli(['exec', 'side', 'ps', '-o', 'args'], { stdout: /sleep 603[^]*sleep 604/ });
      assert.equal(await look('open', '{{.State.Status}}'), 'exited');
      assert.equal(sharedMounts().length, 1);

      // Both end, and both are started by the policy: the one that joins comes second.
      await daemon.kill('SIGKILL');
      await daemon.host(['sh', '-c', 'kill -9 $(pgrep -f "^sleep 603$")']);
      await daemon.start();
      const isBack = async (): Promise<boolean> => (await look('side', '{{.State.Status}}')) === 'running';
      assert.ok(await eventually(isBack, 10_000), await look('side', '{{.State.Status}} {{.State.Error}}'));
      await cli(['exec', 'side', 'ps', '-o', 'args'], { stdout: /sleep 603[^]*sleep 604/ });
      assert.equal(await look('side', '{{.State.Error}}'), '');
      await cli(['rm', '-f', 'base', 'side']);
      assert.equal(sharedMounts().length, 0);
    });
  });
}
