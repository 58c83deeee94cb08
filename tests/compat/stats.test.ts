/*
 * `stats` as users see it: what the numbers say of containers that compute, take memory and send, in one answer and as a
 * stream that ends with the container.
 */
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { isV2 } from './cgroups.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { testOnce } from './reference.ts';

const mb = 1024 * 1024;

interface Cpu {
  readonly cpu_usage: { readonly total_usage: number; readonly usage_in_usermode: number };
  readonly system_cpu_usage: number;
  readonly online_cpus: number;
}

interface Stats {
  readonly name: string;
  readonly id: string;
  readonly read: string;
  readonly preread: string;
  readonly pids_stats: { readonly current: number; readonly limit?: number };
  readonly cpu_stats: Cpu;
  readonly precpu_stats: Cpu;
  readonly memory_stats: { readonly usage: number; readonly limit: number; readonly stats: object };
  readonly networks?: Readonly<Record<string, { readonly rx_bytes: number; readonly tx_bytes: number }>>;
}

/** The answers of a stream as they come, until it ends. */
function follow(
  socketPath: string,
  path: string,
): { readonly lines: Stats[]; readonly ended: Promise<void> } {
  const lines: Stats[] = [];
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  get({ socketPath, path }, (response) => {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (piece: string) => {
      const parts = (text + piece).split('\n');
      text = parts.pop() ?? '';
      lines.push(...parts.map((line) => JSON.parse(line) as Stats));
    });
    response.on('end', resolve);
  }).on('error', reject);
  return { lines, ended };
}

for (const engine of engines('docker')) {
  describe(`stats: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const once = testOnce(engine);

    const run = async (name: string, flags: readonly string[], command: string): Promise<string> =>
      (await daemon.cli(['run', '-d', '--name', name, ...flags, 'busybox', 'sh', '-c', command])).stdout;
    const ask = async (name: string, query = 'stream=0'): Promise<Stats> => {
      const answer = await callApi(daemon.socketPath, 'GET', `/containers/${name}/stats?${query}`);
      assert.equal(answer.status, 200, answer.body);
      return JSON.parse(answer.body) as Stats;
    };

    test('the table says who computes, and what of its memory a container has', async () => {
      await run('busy', [], 'while :; do :; done');
      await run('idle', ['-m', '64m'], 'dd if=/dev/zero of=/dev/shm/x bs=1M count=20; exec sleep 600');
      const format = '{{.Name}} {{.CPUPerc}} {{.MemPerc}} {{.MemUsage}} {{.PIDs}}';
      const look = async (): Promise<Map<string, readonly string[]>> => {
        const { stdout } = await daemon.cli(['stats', '--no-stream', '--format', format]);
        return new Map(stdout.split('\n').map((line) => [line.split(' ')[0] ?? '', line.split(' ')]));
      };
      let rows = await look();
      const memory = (): number => Number.parseFloat(rows.get('idle')?.[2] ?? '0');
      await eventually(async () => (rows = await look()).size === 2 && memory() > 25, 30_000);
      assert.ok(memory() > 25 && memory() < 70, JSON.stringify([...rows]));
      assert.equal(rows.get('idle')?.[5], '64MiB');
      assert.equal(rows.get('idle')?.[6], '1');
      const percent = (name: string): number => Number.parseFloat(rows.get(name)?.[1] ?? '0');
      assert.ok(percent('busy') > percent('idle') + 5, JSON.stringify([...rows]));
      const { stdout } = await daemon.cli(['stats', '--no-stream', 'idle']);
      assert.match(
        stdout,
        /^CONTAINER ID +NAME +CPU % +MEM USAGE \/ LIMIT +MEM % +NET I\/O +BLOCK I\/O +PIDS\n/,
      );
      assert.match(stdout.split('\n')[1] ?? '', /^[0-9a-f]{12} +idle +\d+\.\d\d% +\d.*MiB \/ 64MiB +\d.*%/);
      await daemon.cli(['rm', '-f', 'busy', 'idle']);
    });

    once('the answer has the numbers of Docker’s API, of each interface too', async () => {
      await daemon.cli(['network', 'create', 'n1']);
      await daemon.cli(['network', 'create', 'n2']);
      const id = await run(
        'talker',
        ['--network', 'n1', '-m', '64m', '--pids-limit', '50'],
        'exec sleep 600',
      );
      await daemon.cli(['network', 'connect', 'n2', 'talker']);
      await run('peer', ['--network', 'n1'], 'exec sleep 600');
      const quiet = await ask('talker', 'stream=0&one-shot=1');
      assert.deepEqual([quiet.name, quiet.id], ['/talker', id]);
      assert.equal(quiet.preread, '0001-01-01T00:00:00Z');
      await daemon.cli(['exec', 'talker', 'ping', '-c', '3', '-i', '0.2', '-s', '1000', 'peer']);
      const stats = await ask('talker');
      assert.deepEqual(Object.keys(stats.networks ?? {}).sort(), ['eth0', 'eth1']);
      const sent = (stats.networks?.['eth0']?.tx_bytes ?? 0) - (quiet.networks?.['eth0']?.tx_bytes ?? 0);
      assert.ok(sent >= 3000 && sent < 10_000, `${sent} bytes`);
      const received = (stats.networks?.['eth0']?.rx_bytes ?? 0) - (quiet.networks?.['eth0']?.rx_bytes ?? 0);
      assert.ok(received >= 3000, `${received} bytes`);
      const apart = Date.parse(stats.read) - Date.parse(stats.preread);
      assert.ok(apart >= 900, `${apart} ms apart`);
      const passed = stats.cpu_stats.system_cpu_usage - stats.precpu_stats.system_cpu_usage;
      assert.ok(passed > 0 && stats.cpu_stats.online_cpus >= 1);
      assert.ok(stats.cpu_stats.cpu_usage.total_usage >= quiet.cpu_stats.cpu_usage.total_usage);
      assert.deepEqual([stats.memory_stats.limit, stats.pids_stats.limit], [64 * mb, 50]);
      assert.ok(stats.memory_stats.usage > 0 && stats.pids_stats.current >= 1);
      assert.ok((isV2 ? 'inactive_file' : 'total_inactive_file') in stats.memory_stats.stats);
      await run('guest', ['--network', 'container:talker'], 'exec sleep 600');
      assert.deepEqual(Object.keys((await ask('guest')).networks ?? {}).sort(), ['eth0', 'eth1']);
      await run('hosted', ['--network', 'host'], 'exec sleep 600');
      assert.equal((await ask('hosted')).networks, undefined);
      await daemon.cli(['rm', '-f', 'talker', 'peer', 'guest', 'hosted']);
    });

    once(
      'a stream has an answer each second, says nothing of a stopped container, and ends with its removal',
      async () => {
        await run('gone', [], 'exec sleep 600');
        const { lines, ended } = follow(daemon.socketPath, '/containers/gone/stats');
        assert.ok(await eventually(() => lines.length >= 3, 20_000));
        assert.equal(lines[1]?.preread, lines[0]?.read);
        assert.ok((lines[2]?.pids_stats.current ?? 0) > 0);
        await daemon.cli(['stop', '-t', '0', 'gone']);
        assert.ok(await eventually(() => lines.at(-1)?.pids_stats.current === undefined, 20_000));
        assert.equal(lines.at(-1)?.name, '/gone');
        assert.equal((await ask('gone')).read, '0001-01-01T00:00:00Z');
        await daemon.cli(['rm', 'gone']);
        await ended;
        const answer = await callApi(daemon.socketPath, 'GET', '/containers/gone/stats?stream=0');
        assert.equal(answer.status, 404);
      },
    );

    test('the live table goes on until it is ended, and shows who comes', async () => {
      await run('first', [], 'exec sleep 600');
      const live = daemon.cli(['stats'], { exitCode: 137, timeoutMs: 9_000 });
      await run('second', [], 'exec sleep 600');
      const { stdout } = await live;
      assert.ok(stdout.includes('\x1b[H'));
      assert.match(stdout, /first/);
      assert.match(stdout, /second/);
      await daemon.cli(['stats', '--no-stream', 'nope'], { exitCode: 1, stderr: /No such container: nope/ });
      await daemon.cli(['rm', '-f', 'first', 'second']);
    });
  });
}
