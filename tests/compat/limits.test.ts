/*
 * Limits and devices of containers: what the user sets is in the container's cgroup or process, and holds. Files of the
 * cgroup are read on the host, for both versions of cgroups.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { isV2, parent, readCgroup } from './cgroups.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { testOnce } from './reference.ts';

const mb = 1024 * 1024;

for (const engine of engines('docker')) {
  describe(`limits: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const once = testOnce(engine);

    const run = async (name: string, flags: readonly string[], command = ['sleep', '600']): Promise<string> =>
      (await daemon.cli(['run', '-d', '--name', name, ...flags, 'busybox', ...command])).stdout;
    const inspect = async (name: string, template: string): Promise<string> =>
      (await daemon.cli(['inspect', '-f', template, name])).stdout;

    test('memory, processor and process limits are in the cgroup, and inspect shows them', async () => {
      const id = await run('limited', [
        ...['--memory', '64m', '--memory-swap', '96m', '--memory-reservation', '32m'],
        ...['--cpus', '0.5', '--cpu-shares', '512', '--cpuset-cpus', '0', '--pids-limit', '20'],
      ]);
      const path = `${parent}/${id}`;
      assert.equal(readCgroup(path, 'memory/memory.limit_in_bytes', 'memory.max'), String(64 * mb));
      assert.equal(
        readCgroup(path, 'memory/memory.memsw.limit_in_bytes', 'memory.swap.max'),
        String((isV2 ? 32 : 96) * mb),
      );
      assert.equal(readCgroup(path, 'memory/memory.soft_limit_in_bytes', 'memory.low'), String(32 * mb));
      assert.equal(readCgroup(path, 'cpu/cpu.cfs_quota_us', 'cpu.max'), isV2 ? '50000 100000' : '50000');
      assert.match(readCgroup(path, 'cpu/cpu.shares', 'cpu.weight'), isV2 ? /^\d\d$/ : /^512$/);
      assert.equal(readCgroup(path, 'cpuset/cpuset.cpus', 'cpuset.cpus'), '0');
      assert.equal(readCgroup(path, 'pids/pids.max', 'pids.max'), '20');
      const fields = 'Memory MemorySwap MemoryReservation NanoCpus CpuShares CpusetCpus PidsLimit';
      assert.equal(
        await inspect(
          'limited',
          fields
            .split(' ')
            .map((field) => `{{.HostConfig.${field}}}`)
            .join(' '),
        ),
        `${64 * mb} ${96 * mb} ${32 * mb} 500000000 512 0 20`,
      );
    });

    once('swap without a limit is the cgroup’s own', async () => {
      const id = await run('swapping', ['--memory', '64m', '--memory-swap', '-1']);
      const swap = readCgroup(`${parent}/${id}`, 'memory/memory.memsw.limit_in_bytes', 'memory.swap.max');
      assert.ok(isV2 ? swap === 'max' : Number(swap) > 2 ** 60, swap);
      assert.equal(await inspect('swapping', '{{.HostConfig.MemorySwap}}'), '-1');
    });

    once('a twentieth of a processor is no more', async () => {
      const spin =
        'timeout 3 sh -c "while :; do :; done"; cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpu/cpu.stat';
      await run('slow', ['--cpus', '0.05'], ['sh', '-c', spin]);
      await daemon.cli(['wait', 'slow']);
      const { stdout } = await daemon.cli(['logs', 'slow'], { exitCode: undefined });
      assert.ok(Number(/nr_throttled (\d+)/.exec(stdout)?.[1]) > 5, stdout);
    });

    once(
      'a process that takes more memory than it may is killed, which inspect and the events tell',
      async () => {
        await daemon.cli(
          [
            'run',
            '--name',
            'hog',
            '-m',
            '16m',
            '--memory-swap',
            '16m',
            'busybox',
            'sh',
            '-c',
            'tail /dev/zero',
          ],
          { exitCode: 137 },
        );
        assert.ok(
          await eventually(async () => (await inspect('hog', '{{.State.OOMKilled}}')) === 'true'),
          'OOMKilled',
        );
        // --until ends at a whole second, so that the latest news comes with the next.
        const events = ['events', '--since', '1h', '--until', '0s', '--filter', 'container=hog'];
        assert.ok(
          await eventually(async () => (await daemon.cli(events)).stdout.includes(' container oom ')),
          'the event',
        );
        await daemon.cli(['run', '--name', 'modest', '-m', '16m', 'busybox', 'sh', '-c', 'exit 137'], {
          exitCode: 137,
        });
        assert.equal(await inspect('modest', '{{.State.OOMKilled}}'), 'false');
      },
    );

    once('processes are no more than allowed', async () => {
      const fork = 'i=0; while [ $i -lt 30 ]; do sleep 60 & i=$((i+1)); done; echo done';
      const { stdout, stderr } = await daemon.cli(
        ['run', '--rm', '--pids-limit', '10', 'busybox', 'sh', '-c', fork],
        { exitCode: undefined },
      );
      assert.match(stderr, /can't fork/);
      assert.doesNotMatch(stdout, /done/);
    });

    test('ulimits, the OOM score and a parent cgroup', async () => {
      const show = 'ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj';
      await daemon.cli(
        [
          ...['run', '--rm', '--ulimit', 'nofile=100:200', '--ulimit', 'core=-1', '--oom-score-adj', '300'],
          ...['busybox', 'sh', '-c', show],
        ],
        { stdout: '100\n200\nunlimited\n300' },
      );
      const id = await run('below', ['--cgroup-parent', `${parent}/mine`, '--ulimit', 'nofile=100']);
      await daemon.cli(['exec', 'below', 'sh', '-c', 'ulimit -n'], { stdout: '100' });
      assert.match(readCgroup(`${parent}/mine/${id}`, 'pids/cgroup.procs', 'cgroup.procs'), /^\d+$/);
      assert.equal(await inspect('below', '{{.HostConfig.CgroupParent}}'), `${parent}/mine`);
    });

    test('an ulimit above the daemon’s own hard limit is the runtime’s error', async () => {
      await daemon.cli(['run', '--rm', '--ulimit', 'nofile=900000000000', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /error setting rlimit/,
      });
    });

    test('a device is there under its name, and only for what it was given for', async () => {
      const look =
        'test -c /dev/probe && exec 3</dev/probe && echo read && exec 4>/dev/probe && echo written';
      const { stdout } = await daemon.cli(
        ['run', '--rm', '--device', '/dev/loop-control:/dev/probe:r', 'busybox', 'sh', '-c', look],
        { exitCode: 1, stderr: /can't create \/dev\/probe: Operation not permitted/ },
      );
      assert.equal(stdout, 'read');
      // A character device that the default rules leave out.
      const make = 'mknod /k c 10 237 && exec 3</k';
      await daemon.cli(['run', '--rm', 'busybox', 'sh', '-c', make], { exitCode: 1 });
      await daemon.cli(['run', '--rm', '--device-cgroup-rule', 'c 10:* rmw', 'busybox', 'sh', '-c', make], {
        exitCode: 0,
      });
      // Both command lines take the text for a missing program.
      await daemon.cli(['run', '--rm', '--device', '/dev/nope', 'busybox', 'true'], {
        exitCode: 127,
        stderr:
          /error gathering device information while adding custom device "\/dev\/nope": no such file or directory/,
      });
    });

    for (const [flags, stderr] of [
      [['-m', '1m'], /Minimum memory limit allowed is 6MB/],
      [['-m', '64m', '--memory-swap', '32m'], /Minimum memoryswap limit should be larger than memory limit/],
      [['--memory-swap', '32m'], /You should always set the Memory limit when using Memoryswap limit/],
      [['--cpus', '4096'], /[Rr]ange of CPUs is from 0.01 to \d+.00, as there are only \d+ CPUs available/],
      [['--cpuset-cpus', '4096'], /Requested CPUs are not available - requested 4096, available: 0/],
      [['--oom-score-adj', '2000'], /Invalid value 2000, range for oom score adj is \[-1000, 1000\]/],
      [
        ['--blkio-weight', '5'],
        /Range of blkio weight is from 10 to 1000|does not support Block I\/O weight/,
      ],
    ] as const) {
      test(`create ${flags.join(' ')} is refused with Docker's words`, async () => {
        const { exitCode } = await daemon.cli(['create', ...flags, 'busybox'], {
          exitCode: undefined,
          stderr,
        });
        assert.ok(exitCode === 1 || stderr.source.includes('Block'), `exit code ${exitCode}`);
      });
    }

    once('a limit on a block device is in the cgroup', async () => {
      const { stdout } = await daemon.host(['sh', '-c', 'ls /sys/block | grep -v zram | head -1']);
      const number = readFileSync(`/sys/block/${stdout}/dev`, 'utf8').trim();
      const id = await run('throttled', ['--device-write-bps', `/dev/${stdout}:1mb`]);
      assert.match(
        readCgroup(`${parent}/${id}`, 'blkio/blkio.throttle.write_bps_device', 'io.max'),
        new RegExp(`^${number} .*1048576`),
      );
    });

    once('info says which limits there are', async () => {
      const { body } = await callApi(daemon.socketPath, 'GET', '/info');
      const info = JSON.parse(body) as Readonly<Record<string, unknown>>;
      for (const field of ['MemoryLimit', 'CpuCfsQuota', 'CPUShares', 'CPUSet', 'PidsLimit'])
        assert.equal(info[field], true, field);
      assert.equal(info['OomKillDisable'], !isV2);
    });
  });
}
