/*
 * Overlay networks of which each machine has blocks (`-o linkspan.host-prefix`), with the stock docker CLI on three
 * machines: names and traffic across, one route a block, addresses by name, a machine that is cut off and goes on, and
 * blocks of a machine that is removed.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { type Cluster, cutOff, formSwarm, type Host, openCluster } from './hosts.ts';

describe('overlay networks with blocks', () => {
  let cluster: Cluster;
  let [a, b, c] = [] as unknown as [Host, Host, Host];

  const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
    (await host.cli(args)).stdout;
  const run = (host: Host, name: string, ...more: readonly string[]): Promise<string> =>
    say(host, 'run', '-d', '--name', name, '--network', 'blocks', ...more, 'busybox', 'sleep', '900');
  const addressIn = (host: Host, name: string): Promise<string> =>
    say(host, 'inspect', '-f', '{{.NetworkSettings.Networks.blocks.IPAddress}}', name);
  const reaches = (host: Host, name: string, target: string, withinMs = 3000): Promise<boolean> =>
    eventually(async () => {
      const words = ['exec', name, 'ping', '-c', '1', '-W', '1', target];
      return (await host.cli(words, { exitCode: undefined })).exitCode === 0;
    }, withinMs);
  /** In the namespace of the only overlay network that the machine has. */
  const inside = (host: Host, ...words: readonly string[]): readonly string[] => {
    const [path = ''] = host.overlayPaths();
    return host
      .run('nsenter', `--net=${path}`, ...words)
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  };
  const blocks = async (host: Host): Promise<readonly string[]> =>
    inside(host, 'ip', 'route', 'show', 'dev', 'vxlan0').map((line) => line.split(' ')[0] ?? '');

  before(async () => {
    cluster = await openCluster('docker', true);
    ({ A: a, B: b, C: c } = cluster.hosts);
    await formSwarm(a, b, c);
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  test('what is no length of a block, or does not fit the subnet, is refused, and nothing stays', async () => {
    for (const [words, stderr] of [
      [
        ['-o', 'linkspan.host-prefix=31'],
        /failed to parse linkspan\.host-prefix value: 31 \(it must be a prefix length of 1 to 30\)/,
      ],
      [['-o', 'linkspan.host-prefix=x'], /failed to parse linkspan\.host-prefix value: x/],
      [
        ['-o', 'linkspan.host-prefix=24'],
        /a block of 256 addresses must be smaller than the subnet 10\.0\.9\.0\/24/,
      ],
    ] as const)
      await a.cli(['network', 'create', '-d', 'overlay', '--subnet', '10.0.9.0/24', ...words, 'blocks'], {
        exitCode: 1,
        stderr,
      });
    assert.doesNotMatch(await say(a, 'network', 'ls', '--format', '{{.Name}}'), /blocks/);
  });

  test('each machine has a block; names lead across, by one route a block and no entry for a container', async () => {
    await say(
      a,
      ...['network', 'create', '-d', 'overlay', '--subnet', '10.0.9.0/24'],
      ...['-o', 'linkspan.host-prefix=26', 'blocks'],
    );
    assert.ok(
      await eventually(async () => (await say(c, 'network', 'ls', '-q', '-f', 'name=blocks')) !== '', 2000),
    );
    for (const [host, name] of [
      [a, 'a1'],
      [b, 'b1'],
      [c, 'c1'],
      [b, 'b2'],
      [b, 'b3'],
    ] as const)
      await run(host, name);
    assert.deepEqual(
      [
        await addressIn(a, 'a1'),
        await addressIn(b, 'b1'),
        await addressIn(c, 'c1'),
        await addressIn(b, 'b3'),
      ],
      ['10.0.9.2', '10.0.9.65', '10.0.9.129', '10.0.9.67'],
    );
    for (const [host, name, target] of [
      [a, 'a1', 'b3'],
      [b, 'b1', 'c1'],
      [c, 'c1', 'a1'],
      [b, 'b1', 'b2'],
    ] as const)
      assert.ok(await reaches(host, name, target), `${name} to ${target}`);
    assert.deepEqual(await blocks(a), ['10.0.9.64/26', '10.0.9.128/26']);
    assert.deepEqual(await blocks(b), ['10.0.9.0/26', '10.0.9.128/26']);
    const entries = ['ip', 'neigh', 'show', 'nud', 'permanent', 'dev', 'vxlan0'];
    assert.equal(inside(a, ...entries).length, 2);
    assert.equal(inside(a, 'bridge', 'fdb', 'show', 'dev', 'vxlan0').length, 2);
    // As ever for who looks at it.
    const peers = '{{range .Peers}}{{.Name}} {{end}}';
    assert.equal((await say(c, 'network', 'inspect', '-f', peers, 'blocks')).trim().split(' ').length, 3);
    const { stdout: held } = await c.cli(['network', 'inspect', '--verbose', 'blocks']);
    assert.deepEqual(JSON.parse(held)[0].Status['linkspan.blocks'], {
      ...{ '10.0.9.0/26': 'host-A', '10.0.9.64/26': 'host-B', '10.0.9.128/26': 'host-C' },
    });
    const { stdout } = await a.cli(['exec', 'a1', 'ip', 'route', 'show', 'dev', 'eth0']);
    assert.match(stdout, /^10\.0\.9\.0\/24 .*src 10\.0\.9\.2$/);
  });

  test('--ip is of an own block or of nobody’s; another machine’s is named', async () => {
    const attempt = ['run', '--rm', '--network', 'blocks'];
    for (const [ip, stderr] of [
      [
        '10.0.9.70',
        /10\.0\.9\.70 is in the block 10\.0\.9\.64\/26 of node \S*B\S*, from which only containers there/,
      ],
      ['10.0.9.2', /Address already in use/],
      ['10.0.9.64', /the first of a block, which no container gets/],
    ] as const)
      await a.cli([...attempt, '--ip', ip, 'busybox', 'true'], { exitCode: 125, stderr });
    await run(a, 'a2', '--ip', '10.0.9.40');
    await run(a, 'a3', '--ip', '10.0.9.200');
    assert.equal(await addressIn(a, 'a3'), '10.0.9.200');
    assert.ok(await reaches(c, 'c1', 'a3'));
    assert.deepEqual(await blocks(c), ['10.0.9.0/26', '10.0.9.64/26', '10.0.9.192/26']);
  });

  test('a machine without managers starts containers, its daemon’s restart included; names lead there afterwards', async () => {
    await cutOff('B', true);
    await run(b, 'lonely');
    assert.ok(await reaches(b, 'b1', 'lonely'));
    await b.kill('SIGKILL');
    await b.start();
    assert.ok(await reaches(b, 'b1', 'b2'), 'what ran runs on');
    await run(b, 'lonely2');
    assert.ok(await reaches(b, 'lonely', 'lonely2'));
    const [one, two] = [await addressIn(b, 'lonely'), await addressIn(b, 'lonely2')];
    assert.deepEqual([one, two], ['10.0.9.68', '10.0.9.69']);
    assert.equal(await reaches(a, 'a1', 'lonely', 500), false);
    await cutOff('B', false);
    for (const name of ['lonely', 'lonely2'])
      assert.ok(await reaches(a, 'a1', name, 30_000), `${name}: ${b.tail()}`);
    assert.ok(await reaches(b, 'lonely2', 'c1'));
  });

  test('nothing of a container’s end stays, and the blocks of a machine that is removed go to others', async () => {
    await b.cli(['rm', '-f', 'b1', 'b2', 'b3', 'lonely', 'lonely2']);
    assert.ok(await eventually(() => b.overlays().length === 0, 3000));
    await c.cli(['rm', '-f', 'c1']);
    // Kept for a while: the next container has it.
    await run(c, 'c2');
    assert.match(await addressIn(c, 'c2'), /^10\.0\.9\.13\d$/);
    await b.cli(['swarm', 'leave']);
    const down = (): Promise<boolean> =>
      eventually(
        async () => (await a.cli(['node', 'rm', 'host-B'], { exitCode: undefined })).exitCode === 0,
        30_000,
      );
    assert.ok(await down());
    assert.ok(await eventually(async () => !(await blocks(c)).includes('10.0.9.64/26'), 3000));
    await run(c, 'c3', '--ip', '10.0.9.70');
    assert.ok(await reaches(a, 'a1', 'c3'));
    await a.cli(['rm', '-f', 'a1', 'a2', 'a3']);
    await c.cli(['rm', '-f', 'c2', 'c3']);
    await a.cli(['network', 'rm', 'blocks']);
    assert.ok(await eventually(() => c.overlays().length === 0, 3000));
  });
});
