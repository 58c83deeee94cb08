/*
 * A swarm of several managers while its processes are killed: whoever starts again finds all that was there, and the
 * others go on.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { addressOf, type Cluster, commandLines, type Host, type HostName, openCluster } from './hosts.ts';

const [commandLine] = commandLines.filter(([name]) => name === 'docker CLI');

/** Steps of a daemon (src/base/seam.ts) before which it is killed: some, or with LINKSPAN_WALK_STRIDE=1 all. */
const steps = (first: number, last: number, some: readonly number[]): readonly number[] =>
  process.env['LINKSPAN_WALK_STRIDE'] === '1'
    ? Array.from({ length: last - first + 1 }, (_, i) => first + i)
    : some;

describe('several managers, killed', () => {
  let cluster: Cluster;
  let [a, b, c] = [] as unknown as [Host, Host, Host];

  const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
    (await host.cli(args)).stdout;
  const works = (host: Host, ...args: readonly string[]): Promise<boolean> =>
    eventually(async () => (await host.cli(args, { exitCode: undefined })).exitCode === 0, 30_000);
  const init = async (): Promise<void> => {
    await a.cli(['swarm', 'init', '--advertise-addr', addressOf('A')]);
    await a.cli(['network', 'create', '-d', 'overlay', '--attachable', 'net']);
  };
  const join = async (host: Host, role: 'worker' | 'manager', from: HostName = 'A'): Promise<void> => {
    const token = await say(cluster.hosts[from], 'swarm', 'join-token', '-q', role);
    await host.cli(['swarm', 'join', '--token', token, `${addressOf(from)}:2377`], {
      stdout: `This node joined a swarm as a ${role}.`,
    });
  };
  const run = (host: Host, name: string): Promise<string> =>
    say(host, 'run', '-d', '--name', name, '--network', 'net', 'busybox', 'sleep', '900');
  const logs = (): string => [a, b, c].map((host) => `${host.name}: ${host.tail()}`).join('\n');
  /** Host names with what `node ls` says of them, sorted; who leads is theirs to say. */
  const rows = async (at: Host): Promise<readonly string[]> => {
    const words = ['node', 'ls', '--format', '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'];
    const { stdout } = await at.cli(words, { exitCode: undefined });
    return stdout
      .split('\n')
      .map((row) =>
        row
          .trim()
          .replace(/^host-/, '')
          .replace(/Leader$/, 'Reachable'),
      )
      .sort();
  };
  const becomes = async (at: Host, ...expected: readonly string[]): Promise<void> => {
    const isSo = await eventually(async () => String(await rows(at)) === String(expected), 40_000);
    assert.ok(isSo, `${at.name}: ${String(await rows(at))} is not ${String(expected)}\n${logs()}`);
  };
  /** Reaches containers by name from one on the host. */
  const reaches = async (host: Host, from: string, ...names: readonly string[]): Promise<void> => {
    for (const name of names)
      assert.ok(
        await works(host, 'exec', from, 'ping', '-c', '1', '-W', '1', name),
        `${from} does not reach ${name}\n${logs()}`,
      );
  };

  before(async () => {
    cluster = await openCluster(commandLine?.[1] ?? 'docker', true);
    ({ A: a, B: b, C: c } = cluster.hosts);
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  describe('the first, while its records move to the store that two share', () => {
    // 3: the member begins; 5: records are copied; 6: it counts; 7: the old ones go; 9: the manager has opened again.
    for (const [i, n] of steps(3, 10, [6, 7]).entries()) {
      const isAlone = i % 2 === 1;
      test(`before step ${n}, ${isAlone ? 'the daemon alone' : 'the daemon and the store'}`, async () => {
        await Promise.all([a, b, c].map((host) => host.renew()));
        await init();
        await join(c, 'worker');
        await Promise.all([run(a, 'web'), run(c, 'far')]);
        const address = await say(a, 'inspect', '-f', '{{.NetworkSettings.Networks.net.IPAddress}}', 'web');
        await a.order(`crash@${n}`);
        const joining = join(b, 'manager');
        assert.ok(await eventually(() => !a.isAlive, 10_000), `step ${n} was not reached`);
        if (!isAlone && a.hasStore) a.killStore();
        await a.start();
        await joining;
        for (const host of [a, b]) await becomes(host, 'A Ready Reachable', 'B Ready Reachable', 'C Ready');
        await run(b, 'new');
        await reaches(b, 'new', 'web', 'far');
        await reaches(c, 'far', 'web', 'new');
        const named = '{{range .Containers}}{{.Name}} {{end}}';
        assert.match(await say(b, 'network', 'inspect', '-f', named, 'net'), /new/);
        assert.equal(
          await say(a, 'inspect', '-f', '{{.NetworkSettings.Networks.net.IPAddress}}', 'web'),
          address,
        );
        await b.cli(['network', 'create', '-d', 'overlay', 'more']);
        assert.ok(await works(a, 'network', 'rm', 'more'));
      });
    }
  });

  describe('a third that comes, with what it has begun of the store', () => {
    // 1: it was let in; 2: its member begins; 4: the member counts; 6: the manager opens.
    for (const n of steps(1, 8, [1, 4]))
      test(`before step ${n}: two go on, and it comes after its start`, async () => {
        await c.order(`crash@${n}`);
        await a.cli(['node', 'promote', 'host-C']);
        assert.ok(await eventually(() => !c.isAlive, 10_000), `step ${n} was not reached\n${logs()}`);
        if (c.hasStore) c.killStore();
        for (const host of [a, b]) {
          await host.cli(['network', 'create', '-d', 'overlay', 'more'], { timeoutMs: 10_000 });
          await host.cli(['network', 'rm', 'more'], { timeoutMs: 10_000 });
        }
        await c.start();
        for (const host of [a, b, c])
          await becomes(host, 'A Ready Reachable', 'B Ready Reachable', 'C Ready Reachable');
        await reaches(c, 'far', 'web', 'new');
        await c.cli(['node', 'demote', 'host-C']);
        for (const host of [a, b]) await becomes(host, 'A Ready Reachable', 'B Ready Reachable', 'C Ready');
        assert.ok(await eventually(() => !c.hasStore, 20_000));
      });
  });
});
