/*
 * `update` of containers that exist: other limits are in the cgroup of a running one at once and hold after a restart,
 * another restart policy holds from now on, and what cannot be is refused with nothing changed.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { isV2, parent, readCgroup } from './cgroups.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { testOnce } from './reference.ts';

const mb = 1024 * 1024;

/** A file of a container's cgroup. */
const readOwn = (id: string, v1: string, v2: string): string => readCgroup(`${parent}/${id}`, v1, v2);
const memoryOf = (id: string): string => readOwn(id, 'memory/memory.limit_in_bytes', 'memory.max');
const pidsOf = (id: string): string => readOwn(id, 'pids/pids.max', 'pids.max');

for (const engine of engines()) {
  describe(`updates: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const once = testOnce(engine);

    const run = async (name: string, ...flags: readonly string[]): Promise<string> =>
      (await daemon.cli(['run', '-d', '--name', name, ...flags, 'busybox', 'sleep', '600'])).stdout;
    const inspect = async (name: string, template: string): Promise<string> =>
      (await daemon.cli(['inspect', '-f', template, name])).stdout;
    const update = (...args: readonly string[]): ReturnType<Daemon['cli']> => daemon.cli(['update', ...args]);

    once('other limits are in the cgroup at once, in inspect, and in the next run', async () => {
      const id = await run('web', '-m', '64m', '--pids-limit', '20', '--cpu-shares', '512');
      await daemon.cli(
        ['update', '-m', '96m', '--memory-swap', '128m', '--pids-limit', '30', '--cpus', '0.5', 'web'],
        { stdout: 'web' },
      );
      const look = (): readonly string[] => [
        memoryOf(id),
        readOwn(id, 'memory/memory.memsw.limit_in_bytes', 'memory.swap.max'),
        pidsOf(id),
        readOwn(id, 'cpu/cpu.cfs_quota_us', 'cpu.max'),
      ];
      const wanted = [96 * mb, (isV2 ? 32 : 128) * mb, 30, isV2 ? '50000 100000' : 50000].map(String);
      assert.deepEqual(look(), wanted);
      assert.match(readOwn(id, 'cpu/cpu.shares', 'cpu.weight'), isV2 ? /^\d\d$/ : /^512$/);
      const fields = ['Memory', 'MemorySwap', 'NanoCpus', 'PidsLimit', 'CpuShares'];
      assert.equal(
        await inspect('web', fields.map((field) => `{{.HostConfig.${field}}}`).join(' ')),
        `${96 * mb} ${128 * mb} 500000000 30 512`,
      );
      await daemon.cli(['restart', '-t', '0', 'web']);
      assert.deepEqual(look(), wanted);
      await update('--pids-limit', '-1', 'web');
      assert.equal(pidsOf(id), 'max');
      assert.equal(await inspect('web', '{{.HostConfig.PidsLimit}}'), '0');
    });

    once('a container that does not run has them from its start; a paused one at once', async () => {
      await daemon.cli(['create', '--name', 'later', 'busybox', 'sleep', '600']);
      await update('-m', '32m', '--memory-swap', '-1', 'later');
      await daemon.cli(['start', 'later']);
      const id = await inspect('later', '{{.Id}}');
      assert.equal(memoryOf(id), String(32 * mb));
      await daemon.cli(['pause', 'later']);
      await update('--pids-limit', '7', 'later');
      assert.equal(pidsOf(id), '7');
      await daemon.cli(['unpause', 'later']);
    });

    once('another restart policy holds from now on', async () => {
      await run('comes', '--restart', 'no');
      await update('--restart', 'always', 'comes');
      assert.equal(
        await inspect('comes', '{{json .HostConfig.RestartPolicy}}'),
        '{"Name":"always","MaximumRetryCount":0}',
      );
      await daemon.host(['kill', '-9', await inspect('comes', '{{.State.Pid}}')]);
      const isBack = await eventually(
        async () => (await inspect('comes', '{{.RestartCount}} {{.State.Status}}')) === '1 running',
        20_000,
      );
      assert.ok(isBack);
      await update('--restart', 'no', 'comes');
      await daemon.host(['kill', '-9', await inspect('comes', '{{.State.Pid}}')]);
      await daemon.cli(['wait', 'comes'], { stdout: '137' });
      assert.equal(await inspect('comes', '{{.State.Status}}'), 'exited');
    });

    test('what cannot be is refused with Docker’s words, and nothing is changed', async () => {
      const id = await run('fixed', '-m', '64m', '--cpu-quota', '50000', '--rm');
      for (const [flags, stderr] of [
        [['-m', '1m'], /Minimum memory limit allowed is 6MB/],
        [
          ['-m', '256m'],
          /Cannot update container [0-9a-f]{64}: Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time/,
        ],
        [
          ['--cpus', '1'],
          /Cannot update container [0-9a-f]{64}: Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set/,
        ],
        [
          ['--restart', 'always'],
          /Restart policy cannot be updated because AutoRemove is enabled for the container/,
        ],
        [['--restart', 'sometimes'], /invalid restart policy/],
        [['--cpuset-cpus', '4096'], /Requested CPUs are not available - requested 4096, available: 0/],
      ] as const)
        await daemon.cli(['update', ...flags, 'fixed'], { exitCode: 1, stderr });
      await daemon.cli(['update', '--pids-limit', '5', 'nope'], {
        exitCode: 1,
        stderr: /No such container: nope/,
      });
      assert.equal(memoryOf(id), String(64 * mb));
      assert.equal(await inspect('fixed', '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}'), `${64 * mb} 0`);
    });

    once('a limit that the kernel does not take leaves the old ones', async () => {
      const fill = 'dd if=/dev/zero of=/dev/shm/x bs=1M count=24; sleep 600';
      const id = (
        await daemon.cli([
          ...[
            'run',
            '-d',
            '--name',
            'full',
            '-m',
            '64m',
            '--memory-swap',
            '64m',
            'busybox',
            'sh',
            '-c',
            fill,
          ],
        ])
      ).stdout;
      const usage = (): number => Number(readOwn(id, 'memory/memory.usage_in_bytes', 'memory.current'));
      assert.ok(await eventually(() => usage() > 24 * mb, 20_000), `${usage()} bytes`);
      // cgroup v2 takes any limit, and kills what is above it.
      if (isV2) return;
      await daemon.cli(['update', '-m', '8m', '--memory-swap', '8m', '--pids-limit', '9', 'full'], {
        exitCode: 1,
        stderr: /Cannot update container [0-9a-f]{64}: .*(memory|busy)/,
      });
      assert.equal(memoryOf(id), String(64 * mb));
      assert.equal(await inspect('full', '{{.HostConfig.Memory}}'), String(64 * mb));
    });

    once('the event, and a field that cannot be changed', async () => {
      await run('told');
      await update('--pids-limit', '8', 'told');
      const told = ['events', '--since', '1h', '--until', '0s', '--filter', 'container=told'];
      assert.ok(await eventually(async () => (await daemon.cli(told)).stdout.includes('container update')));
      if (daemon.isReference) return;
      const answer = await callApi(
        daemon.socketPath,
        'POST',
        '/containers/told/update',
        '{"Devices":[{"PathOnHost":"/dev/fuse"}]}',
      );
      assert.equal(answer.status, 501);
      assert.match(answer.message, /Devices of a container that exists cannot be changed/);
    });
  });
}
