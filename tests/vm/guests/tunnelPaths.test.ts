/*
 * Encrypted tunnels between sites behind NATs of both kinds: who is reached directly, by which address, and by a relay
 * where there is no other way. Not of a lane of its own: the vm lane runs it in its machine (tests/vm/wireguard.test.ts),
 * as tests/cluster/sites.test.ts has the same with wireguard-go and daemons.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { tunnelNameOf } from '../../../src/tunnels/createTunnels.ts';
import { eventually } from '../../compat/command.ts';
import { expectOpen, reaches, run, until } from '../../kernel/bridgeWorld.ts';
import { insideOf, type NodeName, nodeNames, openSites, type SiteWorld } from '../../kernel/siteWorld.ts';
import { processesOf } from '../../kernel/tunnelWorld.ts';

async function untilPath(
  { nodes }: SiteWorld,
  [from, to]: readonly [NodeName, NodeName],
  state: string,
  endpoint = /./,
): Promise<void> {
  let last: unknown;
  const isSo = async (): Promise<boolean> => {
    const path = await nodes[from].pathTo(to);
    last = path;
    return path.state === state && endpoint.test(path.endpoint ?? '-');
  };
  await until(`${from} to ${to}`, isSo).catch((error: unknown) =>
    assert.fail(`${String(error)}: ${JSON.stringify(last)}`),
  );
}

const untilOpen = (from: NodeName, to: NodeName): Promise<void> =>
  until(`${from} reaches ${to}`, () => reaches(`w-${from}`, insideOf(to)));

/** Outer bytes that the relay had of a node. */
async function relayed({ nodes }: SiteWorld, of: NodeName): Promise<number> {
  return (await nodes.a.pathTo(of)).receivedBytes;
}

const pings = (from: NodeName, to: NodeName): string =>
  run(`w-${from}`, 'busybox', 'ping', '-c', '20', '-i', '0.01', '-W', '1', '-q', insideOf(to));

test('NATs that keep ports: neighbours talk directly, sites by a relay and then through a hole', async () => {
  await using world = await openSites({ b: 'preserving', c: 'preserving' });
  const { nodes } = world;
  for (const name of nodeNames) await nodes[name].attach();
  await untilOpen('a', 'b1');
  await untilOpen('c1', 'a');
  await untilOpen('b1', 'c1');
  await untilPath(world, ['b1', 'b2'], 'direct', /^10\.1\.0\.2:/);
  for (const name of ['b1', 'b2'] as const) {
    await untilPath(world, [name, 'c1'], 'direct', /^203\.0\.113\.20:/);
    await untilPath(world, ['c1', name], 'direct', /^203\.0\.113\.10:/);
  }
  const before = await relayed(world, 'b1');
  assert.match(pings('b1', 'c1'), / 20 packets received/);
  assert.ok((await relayed(world, 'b1')) - before < 500);

  // The next daemon leaves what there is, though managers know other places for it.
  const place = (await nodes.b1.pathTo('c1')).lastHandshakeMs;
  await nodes.b1.restart();
  assert.match(pings('b1', 'c1'), / 20 packets received/);
  assert.equal((await nodes.b1.pathTo('c1')).lastHandshakeMs, place);

  // A device that dies is found again by all, from wherever they are.
  const died = processesOf('b1');
  for (const pid of died) process.kill(pid, 'SIGKILL');
  // The kernel's does not die by itself.
  if (died.length === 0) run('w-b1', 'ip', 'link', 'del', tunnelNameOf('b1'));
  await until('it is made again', () =>
    died.length === 0
      ? run('w-b1', 'ip', 'link').includes(tunnelNameOf('b1'))
      : processesOf('b1').some((pid) => !died.includes(pid)),
  );
  await untilOpen('a', 'b1');
  await untilOpen('c1', 'b1');
  await untilOpen('b2', 'b1');
  await expectOpen(['w-b1', insideOf('a')], ['w-b1', insideOf('b2')], ['w-b1', insideOf('c1')]);

  // What a NAT does not let through any more goes by the relay again, once that is noticed.
  await untilPath(world, ['b2', 'c1'], 'direct');
  run('rb', 'nft', 'insert', 'rule', 'ip', 'nat', 'through', 'ip', 'saddr', '203.0.113.20', 'drop');
  run('rb', 'nft', 'insert', 'rule', 'ip', 'nat', 'through', 'ip', 'daddr', '203.0.113.20', 'drop');
  const isRelayed = async (): Promise<boolean> =>
    (await nodes.b2.pathTo('c1')).state === 'relay' && (await nodes.c1.pathTo('b2')).state === 'relay';
  assert.ok(await eventually(isRelayed, 60_000), JSON.stringify(await nodes.b2.pathTo('c1')));
  await expectOpen(['w-b2', insideOf('c1')], ['w-c1', insideOf('b2')]);
});

test('a NAT with another port for each: a relay carries what no hole lets through', async () => {
  await using world = await openSites({ b: 'preserving', c: 'symmetric' });
  const { nodes } = world;
  for (const name of nodeNames) await nodes[name].attach();
  await untilOpen('b1', 'c1');
  await untilPath(world, ['b1', 'b2'], 'direct', /^10\.1\.0\.2:/);
  await untilPath(world, ['b1', 'c1'], 'relay');
  await untilPath(world, ['c1', 'b2'], 'relay');
  await expectOpen(['w-c1', insideOf('b1')], ['w-c1', insideOf('b2')], ['w-c1', insideOf('a')]);
  const before = await relayed(world, 'b1');
  assert.match(pings('b1', 'c1'), / 20 packets received/);
  assert.ok((await relayed(world, 'b1')) - before > 20 * 100);
  // A whole packet of the network's MTU passes the relay.
  run('w-b1', 'busybox', 'ping', '-c', '1', '-W', '2', '-s', String(1420 - 28), insideOf('c1'));
  // The relay sends nobody elsewhere.
  assert.equal(run('w-a', 'cat', '/proc/sys/net/ipv4/conf/all/send_redirects').trim(), '0');
  // Who is no relay passes nothing on.
  assert.equal(run('w-b1', 'cat', '/proc/sys/net/ipv4/ip_forward').trim(), '0');
});

/** Answers that did not come, of `count` questions at 20 a second. */
async function lostOf(from: NodeName, to: NodeName, count: number): Promise<number> {
  const words = ['ping', '-c', String(count), '-i', '0.05', '-W', '5', '-q', insideOf(to)];
  const said = await new Promise<string>((resolve, reject) => {
    execFile('ip', ['netns', 'exec', `w-${from}`, 'busybox', ...words], (error, stdout) => {
      if (stdout.includes('packets received')) resolve(stdout);
      else reject(error ?? new Error(stdout));
    });
  });
  return count - Number(/(\d+) packets received/.exec(said)?.[1]);
}

test('far sites: paths are found through delay and loss, and another key loses no packet', async () => {
  await using world = await openSites({ b: 'preserving', c: 'symmetric' });
  const { nodes } = world;
  world.setDistance({ delayMs: 20, lossPercent: 2 });
  for (const name of nodeNames) await nodes[name].attach();
  await untilOpen('b1', 'a');
  await untilOpen('c1', 'b2');
  await untilPath(world, ['b1', 'b2'], 'direct', /^10\.1\.0\.2:/);
  await untilPath(world, ['b1', 'c1'], 'relay');
  // Through one site's way to the internet and the other's, there and back.
  assert.match(pings('b1', 'c1'), /min\/avg\/max = (8\d|9\d|[1-9]\d\d)\./);
  assert.ok((await lostOf('c1', 'b1', 100)) < 50);

  world.setDistance({ delayMs: 20, lossPercent: 0 });
  for (const [from, to] of [
    ['b1', 'a'],
    ['a', 'b1'],
    ['b1', 'c1'],
  ] as const) {
    await untilOpen(from, to);
    const lost = lostOf(from, to, 100);
    await sleep(1000);
    await nodes.b1.carrier.rotateKey();
    assert.equal(await lost, 0, `${from} to ${to}`);
  }

  // A site that is cut off is found again, though not every packet arrives.
  world.setDistance({ delayMs: 20, lossPercent: 100 });
  await until('b is cut off', async () => !(await reaches('w-b1', insideOf('a'))));
  assert.ok(await reaches('w-b1', insideOf('b2')));
  world.setDistance({ delayMs: 40, lossPercent: 5 });
  await untilOpen('b1', 'a');
  await untilOpen('c1', 'b1');
});
