/*
 * What an operator breaks in the namespace of an overlay network is put back at once: nothing of it is in the host's own
 * namespace, so that only notices from the other one tell. And which networks are in use, whichever node asks.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { addressOf, type Cluster, commandLines, type Host, openCluster } from './hosts.ts';

describe('overlay upkeep', () => {
  let cluster: Cluster;
  let [a, b] = [] as unknown as [Host, Host];
  let path = '';

  const inside = (...words: readonly string[]): string => a.run('nsenter', `--net=${path}`, ...words);
  const reaches = async (): Promise<boolean> =>
    (await a.cli(['exec', 'near', 'ping', '-c', '1', '-W', '1', 'far'], { exitCode: undefined })).exitCode ===
    0;
  /** The end of the container's pair. */
  const port = (): string => /ep-\w+/.exec(inside('ip', '-o', 'link', 'show', 'type', 'veth'))?.[0] ?? '';
  /** Well before the slow compare, which looks once a minute. */
  const isBack = async (): Promise<void> => {
    assert.ok(await eventually(reaches, 10_000));
  };

  const join = async (host: Host): Promise<void> => {
    const token = (await a.cli(['swarm', 'join-token', '-q', 'worker'])).stdout;
    await host.cli(['swarm', 'join', '--token', token, `${addressOf('A')}:2377`]);
  };

  before(async () => {
    cluster = await openCluster(commandLines[1]?.[1] ?? '', true);
    ({ A: a, B: b } = cluster.hosts);
    await a.cli(['swarm', 'init', '--advertise-addr', addressOf('A')]);
    await join(b);
    await a.cli(['network', 'create', '-d', 'overlay', '--attachable', 'mended']);
    await a.cli(['run', '-d', '--name', 'near', '--network', 'mended', 'busybox', 'sleep', '600']);
    await b.cli(['run', '-d', '--name', 'far', '--network', 'mended', 'busybox', 'sleep', '600']);
    assert.ok(await eventually(reaches, 2000));
    path = a.overlayPaths()[0] ?? '';
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  test('the VXLAN device deleted, set down, and its bridge deleted', async () => {
    inside('ip', 'link', 'del', 'vxlan0');
    await isBack();
    inside('ip', 'link', 'set', 'vxlan0', 'down');
    await isBack();
    inside('ip', 'link', 'del', 'br0');
    await isBack();
  });

  test('a container’s port deleted, and set down', async () => {
    const before = port();
    inside('ip', 'link', 'del', before);
    await isBack();
    assert.equal(port(), before);
    inside('ip', 'link', 'set', before, 'down');
    await isBack();
  });

  test('the table of what its containers may send as, and what it keeps them from', async () => {
    const listed = (): string => inside('nft', 'list', 'ruleset');
    const before = listed();
    inside('nft', 'flush', 'ruleset');
    assert.ok(await eventually(() => Promise.resolve(listed() === before), 10_000));
    await a.cli([
      'run',
      '-d',
      '--name',
      'thief',
      '--network',
      'mended',
      '--cap-add',
      'NET_ADMIN',
      'busybox',
      'sleep',
      '600',
    ]);
    const asks = async (ip: string): Promise<boolean> => {
      const words = ['exec', 'thief', 'ping', '-c', '1', '-W', '1', '-I', ip, 'far'];
      return (await a.cli(words, { exitCode: undefined })).exitCode === 0;
    };
    const shown = '{{(index .NetworkSettings.Networks "mended").IPAddress}}';
    const own = (await a.cli(['inspect', '-f', shown, 'thief'])).stdout;
    const another = own.replace(/\d+$/, '77');
    await a.cli(['exec', 'thief', 'ip', 'address', 'add', `${another}/24`, 'dev', 'eth0']);
    const counted = b.run(
      'nft',
      `add table inet count
      add chain inet count input { type filter hook input priority 0; }
      add rule inet count input udp dport 4789 counter`,
    );
    assert.equal(counted, '');
    const packets = (): number =>
      Number(/counter packets (\d+)/.exec(b.run('nft', 'list', 'table', 'inet', 'count'))?.[1]);
    assert.equal(await asks(own), true);
    const honest = packets();
    assert.ok(honest > 0);
    assert.equal(await asks(another), false);
    assert.equal(packets(), honest, 'nothing of it left the host');
    b.run('nft', 'delete', 'table', 'inet', 'count');
    await a.cli(['rm', '-f', 'thief']);
    assert.equal(listed(), before);
  });

  test('the namespace itself, and what is broken in the one that comes after it', async () => {
    a.run('umount', path);
    await isBack();
    inside('ip', 'link', 'del', 'vxlan0');
    await isBack();
  });

  test('a stopped container stays on its network when its node leaves the swarm, and is back with it', async () => {
    await a.cli(['network', 'create', '-d', 'overlay', '--attachable', 'brief']);
    await b.cli(['run', '-d', '--name', 'waits', '--network', 'brief', 'busybox', 'sleep', '600']);
    await b.cli(['stop', '-t', '0', 'waits']);
    await b.cli(['swarm', 'leave']);
    const refused = await b.cli(['start', 'waits'], { exitCode: 1 });
    assert.match(refused.stderr, /network brief not found/);
    await join(b);
    const known = async (): Promise<boolean> =>
      (await b.cli(['network', 'inspect', 'brief'], { exitCode: undefined })).exitCode === 0;
    assert.ok(await eventually(known, 2000));
    await b.cli(['start', 'waits']);
    const networks = await b.cli(['inspect', '-f', '{{json .NetworkSettings.Networks}}', 'waits']);
    assert.match(networks.stdout, /"brief"/);
    await b.cli(['rm', '-f', 'waits']);
  });

  test('prune removes what no node uses, and neither the swarm’s ingress network nor one in use elsewhere', async () => {
    await a.cli(['network', 'create', '-d', 'overlay', '--attachable', 'elsewhere']);
    await b.cli(['run', '-d', '--name', 'user', '--network', 'elsewhere', 'busybox', 'sleep', '600']);
    const names = async (host: Host): Promise<readonly string[]> =>
      (await host.cli(['network', 'ls', '--filter', 'scope=swarm', '--format', '{{.Name}}'])).stdout.split(
        '\n',
      );
    assert.ok((await names(a)).includes('brief'));
    const onWorker = await b.cli(['network', 'prune', '-f']);
    assert.equal(`${onWorker.stdout}${onWorker.stderr}`, '');
    const pruned = await a.cli(['network', 'prune', '-f']);
    assert.deepEqual([pruned.stdout, pruned.stderr], ['Deleted Networks:\nbrief', '']);
    assert.deepEqual((await names(a)).toSorted(), ['elsewhere', 'ingress', 'mended']);
    await b.cli(['rm', '-f', 'user']);
  });
});
