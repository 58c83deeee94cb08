/*
 * A swarm of several managers while its processes are killed: whoever starts again finds all that was there, and the
 * others go on.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { addressOf, type Cluster, commandLines, type Host, type HostName, openCluster } from './hosts.ts';

const [commandLine] = commandLines.filter(([name]) => name === 'docker CLI');

/** `npm run soak` */
const isSoak = process.env['LINKSPAN_WALK_STRIDE'] === '1';

/** Steps of a daemon (src/base/seam.ts) before which it is killed: some, or all. */
const steps = (first: number, last: number, some: readonly number[]): readonly number[] =>
  isSoak ? Array.from({ length: last - first + 1 }, (_, i) => first + i) : some;

describe('several managers, killed', () => {
  let cluster: Cluster;
  let [a, b, c, d] = [] as unknown as [Host, Host, Host, Host];

  const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
    (await host.cli(args)).stdout;
  const works = (host: Host, ...args: readonly string[]): Promise<boolean> =>
    eventually(async () => (await host.cli(args, { exitCode: undefined })).exitCode === 0, 30_000);
  const init = async (): Promise<void> => {
    await a.cli(['swarm', 'init', '--advertise-addr', addressOf('A'), '--dispatcher-heartbeat', '1s']);
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
  const logs = (): string => [a, b, c, d].map((host) => `${host.name}: ${host.tail()}`).join('\n');
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

  /** Numbers, one after 50 ms, from a container on one host to one on another, until `end`, which sees that all came. */
  const openStream = async (
    from: Host,
    to: Host,
    name: string,
  ): Promise<{ readonly end: () => Promise<void> }> => {
    const [source, sink] = [`${name}-source`, `${name}-sink`] as const;
    const runScript = (host: Host, container: string, script: string): Promise<string> =>
      say(host, 'run', '-d', '--name', container, '--network', 'net', 'busybox', 'sh', '-c', script);
    // Without an input that stays open, nc would close the connection's other direction, and its peer end at that.
    await runScript(to, sink, 'mkfifo /in; exec 3<>/in; nc -l -p 7000 <&3 >/got; touch /over; sleep 900');
    const count = 'i=0; while [ ! -e /stop ]; do echo $i; i=$((i+1)); usleep 50000; done';
    await runScript(
      from,
      source,
      `until ping -c 1 -W 1 ${sink}; do :; done; (${count}; echo $i >/sent) | nc ${sink} 7000; sleep 900`,
    );
    const got = async (): Promise<readonly string[]> =>
      (await say(to, 'exec', sink, 'cat', '/got')).split('\n');
    assert.ok(
      await eventually(async () => (await got()).length > 2, 10_000),
      `${name} does not begin: ${await say(from, 'logs', source)}`,
    );
    return {
      end: async () => {
        await from.cli(['exec', source, 'touch', '/stop']);
        assert.ok(await works(to, 'exec', sink, 'test', '-e', '/over'), `${name} does not end`);
        const sent = Number(await say(from, 'exec', source, 'cat', '/sent'));
        assert.ok(sent > 100, `${name}: only ${sent}`);
        const expected = Array.from({ length: sent }, (_, i) => String(i));
        assert.deepEqual(await got(), expected, name);
        await Promise.all([from.cli(['rm', '-f', source]), to.cli(['rm', '-f', sink])]);
      },
    };
  };

  before(async () => {
    cluster = await openCluster(commandLine?.[1] ?? 'docker', true, 4);
    ({ A: a, B: b, C: c, D: d } = cluster.hosts);
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  describe('the first, while its records move to the store that two share', () => {
    // 3: the member begins; 5: records are copied; 6: it counts; 7: the old ones go; 9: the manager has opened again.
    for (const [i, n] of steps(3, 10, [7]).entries()) {
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
    for (const n of steps(1, 8, [4]))
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
        // It has to hear it, and to see that its member is out.
        const said = async (): Promise<string> =>
          (await c.cli(['node', 'ls'], { exitCode: undefined })).stderr;
        assert.ok(await eventually(async () => /not a swarm manager/.test(await said()), 30_000), logs());
        assert.ok(await eventually(() => !c.hasStore, 20_000));
      });
  });

  test('every process in turn, while containers on different hosts talk: their connections lose nothing', async () => {
    // Who has gone may have led.
    assert.ok(await works(b, 'network', 'create', '-d', 'overlay', 'led'));
    assert.ok(await works(a, 'network', 'rm', 'led'));
    const streams = await Promise.all([openStream(a, b, 'ab'), openStream(c, a, 'ca')]);
    const daemon = (host: Host) => async (): Promise<void> => {
      await host.kill('SIGKILL');
      await host.start();
    };
    const store = (host: Host) => async (): Promise<void> => {
      host.killStore();
      assert.ok(await eventually(() => host.hasStore, 10_000), 'its daemon starts it again');
    };
    const containerd = (host: Host) => (): Promise<void> => {
      host.run('busybox', 'sh', '-c', 'kill -9 $(pidof containerd)');
      return Promise.resolve();
    };
    for (const kill of [
      ...[a, b, c].flatMap((host) => [daemon(host), containerd(host)]),
      ...[a, b].map(store),
      async () => {
        await a.killAll();
        await a.start();
      },
    ])
      await kill();
    for (const host of [a, b]) await becomes(host, 'A Ready Reachable', 'B Ready Reachable', 'C Ready');
    for (const { end } of streams) await end();
  });

  // A minute of waiting for what has died to be missed.
  if (!isSoak) return;

  test('the manager of a worker: it finds another, and they know who is down', async () => {
    await a.cli(['node', 'promote', 'host-C']);
    const three = ['A Ready Reachable', 'B Ready Reachable', 'C Ready Reachable'];
    for (const host of [a, b, c]) await becomes(host, ...three);
    await join(d, 'worker', 'B');
    await becomes(a, ...three, 'D Ready');
    // The one that it has a session with.
    const table = d.run('busybox', 'netstat', '-tn');
    const its = [a, b, c].find((host) => table.includes(`${host.address}:2377 `));
    assert.ok(its, table);
    const others = [a, b, c].filter((host) => host !== its);
    await d.cli(['create', '--name', 'late', '--network', 'net', 'busybox', 'sleep', '900']);
    await its.killAll();
    assert.ok(await works(d, 'start', 'late'), logs());
    // Where the daemon is down, nobody hears of new endpoints.
    const there = [...(its === b ? [] : ['new']), ...(its === c ? [] : ['far'])];
    await reaches(d, 'late', ...there);
    const without = three.map((row) => (row.startsWith(its.name) ? `${its.name} Down Unreachable` : row));
    for (const host of others) await becomes(host, ...without, 'D Ready');
    await d.kill('SIGKILL');
    for (const host of others) await becomes(host, ...without, 'D Down');
    await Promise.all([d.start(), its.start()]);
    for (const host of [a, b, c]) await becomes(host, ...three, 'D Ready');
    await reaches(d, 'late', 'web', 'new', 'far');
  });

  test('two of three for good: the third goes on alone by force, and the others are workers when they come', async () => {
    const ids = await say(a, 'network', 'ls', '--no-trunc', '-q', '--filter', 'driver=overlay');
    const ip = (host: Host, name: string): Promise<string> =>
      say(host, 'inspect', '-f', '{{.NetworkSettings.Networks.net.IPAddress}}', name);
    const before = await Promise.all([ip(a, 'web'), ip(d, 'late'), ip(b, 'new')]);
    await Promise.all([b.killAll(), c.killAll()]);
    await a.cli(['swarm', 'init', '--force-new-cluster', '--advertise-addr', addressOf('A')]);
    await becomes(a, 'A Ready Reachable', 'B Down', 'C Down', 'D Ready');
    assert.equal(await say(a, 'network', 'ls', '--no-trunc', '-q', '--filter', 'driver=overlay'), ids);
    await run(a, 'alone');
    await reaches(d, 'late', 'alone', 'web');
    await Promise.all([b.start(), c.start()]);
    await becomes(a, 'A Ready Reachable', 'B Ready', 'C Ready', 'D Ready');
    for (const host of [b, c]) {
      assert.equal(await say(host, 'info', '-f', '{{.Swarm.ControlAvailable}}'), 'false');
      assert.equal(host.hasStore, false);
    }
    await reaches(b, 'new', 'alone', 'late', 'far');
    assert.deepEqual(await Promise.all([ip(a, 'web'), ip(d, 'late'), ip(b, 'new')]), before);
  });
});
