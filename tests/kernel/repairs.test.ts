/*
 * Self-repair on the real kernel: an operator takes away or changes what is ours, one thing after the other, and it is
 * put back because the kernel said so, not because the slow compare came by. What is not ours stays as it is.
 *
 *   [a] eth0 ─┐
 *   [b] eth0 ─┴─ br-n1 10.71.0.1/24 fd00:71::1/64
 */
import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { bridgeLabels as label } from '../../src/drivers/bridge/options.ts';
import { reaches, run, until } from './bridgeWorld.ts';
import { addParent, delParent, macvlan, openRepairWorld, type RepairWorld } from './repairWorld.ts';

const dualStack = {
  ipv6: true,
  pools: [{ subnet: '10.71.0.0/24' }, { subnet: 'fd00:71::/64' }],
  options: { [label.name]: 'br-n1' },
};

const ip = (...words: readonly string[]): string => run('host', 'ip', ...words);

/** True if a descriptor of this process is a kernel parameter of that link. */
function isSysctlOf(fd: string, link: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).includes(`/conf/${link}/`);
  } catch {
    return false;
  }
}

/** Two sandboxes on a network with both families; they reach each other and the bridge. */
async function openPair(): Promise<RepairWorld & { readonly hostEnds: readonly string[] }> {
  const world = await openRepairWorld();
  await world.createNetwork('n1', dualStack);
  const hostEnds: string[] = [];
  for (const name of ['a', 'b'])
    hostEnds.push((await world.attach(name, ['n1'])).endpoints[0]?.hostInterfaceName ?? '');
  await world.reconciler.compare();
  assert.deepEqual(
    world.repairs.recent.map(({ cause }) => cause),
    [],
    'nothing was wrong before',
  );
  return { ...world, hostEnds };
}

const paths = [
  ['a', '10.71.0.3'],
  ['b', '10.71.0.1'],
  ['host', '10.71.0.2'],
  ['a', 'fd00:71::3'],
  ['b', 'fd00:71::1'],
  ['host', 'fd00:71::2'],
] as const;

async function everythingWorks(): Promise<void> {
  await until('every path answers', async () =>
    (await Promise.all(paths.map(([from, to]) => reaches(from, to)))).every(Boolean),
  );
}

/** Links, routes and addresses of the bridge and in both sandboxes, without what a repair may change: numbers. */
function shown(): readonly string[] {
  const script =
    'ip -o link show $0; ip -4 route show dev $0; ip -6 route show default; ip -o address show dev $0 scope global; ip -6 route show table local dev $0 to ::1';
  const places = [['host', 'br-n1'] as const, ...['a', 'b'].map((name) => [name, 'eth0'] as const)];
  return places.flatMap(([where, device]) =>
    run(where, 'sh', '-c', script, device)
      .split('\n')
      .map((line) =>
        line.replaceAll(/^\d+:|@\S+|LOWER_UP|NO-CARRIER|linkdown|state \w+|link-netns\S* \S+|[,\\]/g, ''),
      )
      .map((line) => line.replaceAll(/\s+/g, ' ').trim()),
  );
}

for (const { what, break: breakIt, cause } of [
  {
    what: 'a bridge is deleted',
    break: () => ip('link', 'del', 'br-n1'),
    cause: /^br-n1 was gone/,
  },
  {
    what: 'a bridge is set down',
    break: () => ip('link', 'set', 'br-n1', 'down'),
    cause: /^br-n1 was down/,
  },
  {
    what: 'a bridge gets another name',
    break: () => run('host', 'sh', '-c', 'ip link set br-n1 down; ip link set br-n1 name mine'),
    cause: /^br-n1 was gone|^br-n1 was down/,
  },
  {
    what: 'a bridge loses its address',
    break: () => ip('address', 'del', '10.71.0.1/24', 'dev', 'br-n1'),
    cause: /^address 10\.71\.0\.1\/24 of br-n1/,
  },
  {
    what: 'a bridge loses its IPv6 address',
    break: () => ip('address', 'del', 'fd00:71::1/64', 'dev', 'br-n1'),
    cause: /^address fd00:71::1\/64 of br-n1/,
  },
  {
    what: 'IPv6 is switched off on a bridge',
    break: () => run('host', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/br-n1/disable_ipv6'),
    cause: /disable_ipv6 was 1/,
  },
  {
    what: 'routing of loopback addresses is switched off on a bridge',
    break: () => run('host', 'sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/br-n1/route_localnet'),
    cause: /route_localnet was 0/,
  },
  {
    what: 'a bridge is to take router advertisements',
    break: () => run('host', 'sysctl', '-qw', 'net.ipv6.conf.br-n1.accept_ra=2'),
    cause: /accept_ra was 2/,
  },
  {
    what: 'a bridge loses its route',
    break: () => ip('route', 'del', '10.71.0.0/24', 'dev', 'br-n1'),
    cause: /^the route to the subnet of 10\.71\.0\.1\/24 by br-n1/,
  },
  {
    what: 'a host end is deleted',
    break: (ends: readonly string[]) => ip('link', 'del', ends[0] ?? ''),
    cause: /the host's end of eth0, was gone/,
  },
  {
    what: 'a host end is taken out of its bridge',
    break: (ends: readonly string[]) => ip('link', 'set', ends[1] ?? '', 'nomaster'),
    cause: /was not in br-n1/,
  },
  {
    what: 'a host end is set down',
    break: (ends: readonly string[]) => ip('link', 'set', ends[0] ?? '', 'down'),
    cause: /^veth\w+ was down/,
  },
  {
    what: 'a host end gets another name',
    break: (ends: readonly string[]) =>
      run('host', 'sh', '-c', `ip link set ${ends[0]} down; ip link set ${ends[0]} name mine`),
    cause: /was gone: made the pair again|^veth\w+ was down/,
  },
  {
    what: 'a pair is deleted from inside',
    break: () => run('a', 'ip', 'link', 'del', 'eth0'),
    cause: /the host's end of eth0, was gone/,
  },
  {
    what: 'an interface in a sandbox is set down',
    break: () => run('b', 'ip', 'link', 'set', 'eth0', 'down'),
    cause: /^eth0 in the container was down/,
  },
  {
    what: 'an interface in a sandbox loses its address',
    break: () => run('a', 'ip', 'address', 'del', '10.71.0.2/24', 'dev', 'eth0'),
    cause: /^address 10\.71\.0\.2\/24 of eth0/,
  },
  {
    what: 'a sandbox loses its default route',
    break: () => run('a', 'ip', 'route', 'del', 'default'),
    cause: /^the default route by 10\.71\.0\.1/,
  },
] as const) {
  test(`${what}: it is as before, with traffic, and the log says why`, async () => {
    await using world = await openPair();
    const before = shown();
    breakIt(world.hostEnds);
    const { object } = await world.repaired(cause);
    assert.match(object, /^(network n1|container [ab])$/);
    await everythingWorks();
    await until('everything is as before', () => JSON.stringify(shown()) === JSON.stringify(before)).catch(
      () => assert.deepEqual(shown(), before),
    );
    assert.deepEqual(world.reconciler.conditions, []);
    // Nothing is left to do: the repair itself is no reason for another.
    const count = world.repairs.recent.length;
    await world.reconciler.compare();
    assert.deepEqual(world.repairs.recent.slice(count), []);
  });
}

test('the route by which the host’s ::1 is answered is put back, and each network has one', async () => {
  await using world = await openPair();
  const before = shown();
  assert.match(before.join('\n'), /^local ::1 /m);
  ip('-6', 'route', 'del', 'local', '::1', 'dev', 'br-n1', 'table', 'local');
  await world.repaired(/^the local route to ::1 by br-n1 was missing: added$/);
  assert.deepEqual(shown(), before);
  // A second network has a route of its own.
  await world.createNetwork('n2', { ipv6: true, options: { [label.name]: 'br-n2' } });
  const routes = ip('-6', 'route', 'show', 'table', 'local', 'to', '::1').matchAll(/^local ::1 dev (\S+)/gm);
  assert.deepEqual([...routes].map(([, device = '']) => device).toSorted(), ['br-n1', 'br-n2', 'lo']);
});

test('the firewall’s table is flushed or deleted, forwarding switched off: logged and counted with the rest', async () => {
  await using world = await openPair();
  for (const [words, cause] of [
    [['nft', 'flush', 'ruleset'], /./],
    [['nft', 'delete', 'table', 'inet', 'linkspan'], /./],
  ] as const) {
    const since = world.repairs.recent.length;
    const counted = world.repairs.counts.firewall ?? 0;
    run('host', ...words);
    const repair = await world.repaired(cause, since);
    assert.equal(repair.kind, 'firewall');
    assert.ok((world.repairs.counts.firewall ?? 0) > counted);
  }
  for (const [path, family] of [
    ['net/ipv4/ip_forward', 4],
    ['net/ipv6/conf/all/forwarding', 6],
  ] as const) {
    run('host', 'sh', '-c', `echo 0 > /proc/sys/${path}`);
    const repair = await world.repaired(/^it was off/, world.repairs.recent.at(-1)?.id);
    assert.equal(repair.object, `IPv${family} forwarding`);
    assert.equal(run('host', 'cat', `/proc/sys/${path}`).trim(), '1');
  }
  await everythingWorks();
});

test('parameters of a bridge are watched again when it was made again, and no more when its network is gone', async () => {
  await using world = await openRepairWorld();
  await world.createNetwork('n1', dualStack);
  const path = '/proc/sys/net/ipv4/conf/br-n1/route_localnet';
  ip('link', 'del', 'br-n1');
  await world.repaired(/^br-n1 was gone/);
  // Whoever looks at all of /proc/sys makes the kernel give up entries that nobody holds.
  run('host', 'sh', '-c', 'ls -R /proc/sys > /dev/null');
  for (const value of ['0', '0', '2']) {
    const since = world.repairs.recent.at(-1)?.id;
    run('host', 'sh', '-c', `echo ${value} > ${path}`);
    await world.repaired(new RegExp(`route_localnet was ${value}`), since);
    assert.equal(run('host', 'cat', path), '1\n');
  }
  const count = world.repairs.recent.length;
  // What it is already is no reason for a look.
  run('host', 'sh', '-c', `echo 1 > ${path}`);
  const watched = (): number => readdirSync('/proc/self/fd').filter((fd) => isSysctlOf(fd, 'br-n1')).length;
  assert.equal(watched(), 3);
  await world.networks.remove('n1');
  await until('nothing is held', () => watched() === 0);
  assert.equal(world.repairs.recent.length, count);
});

test('a container that may change its network does so; what is outside of it is repaired all the same', async () => {
  await using world = await openPair();
  const { endpoints } = await world.attach('c', ['n1'], true);
  run('c', 'ip', 'route', 'del', 'default');
  run('c', 'ip', 'address', 'del', '10.71.0.4/24', 'dev', 'eth0');
  run('host', 'ip', 'link', 'set', endpoints[0]?.hostInterfaceName ?? '', 'nomaster');
  await world.repaired(/was not in br-n1/);
  await world.reconciler.compare();
  assert.equal(run('c', 'ip', 'route', 'show', 'default'), '');
  assert.doesNotMatch(run('c', 'ip', 'address', 'show', 'dev', 'eth0'), /10\.71\.0\.4/);
});

test('what others made is left alone, also on what is ours', async () => {
  await using world = await openPair();
  ip('link', 'add', 'theirs', 'type', 'bridge');
  ip('address', 'add', '10.99.0.1/24', 'dev', 'br-n1');
  ip('route', 'add', '10.98.0.0/24', 'via', '10.99.0.2', 'dev', 'br-n1');
  ip('link', 'set', 'br-n1', 'down');
  await world.repaired(/^br-n1 was down/);
  await everythingWorks();
  assert.match(ip('address', 'show', 'dev', 'br-n1'), /10\.99\.0\.1\/24/);
  ip('link', 'del', 'theirs');
  assert.ok(world.repairs.recent.every(({ object }) => object === 'network n1'));
});

test('a bridge of the user’s is not made again: a condition says so until the user did', async () => {
  await using world = await openRepairWorld();
  ip('link', 'add', 'mybr', 'type', 'bridge');
  await world.createNetwork('n1', { pools: [{ subnet: '10.71.0.0/24' }], options: { [label.name]: 'mybr' } });
  await world.attach('a', ['n1']);
  ip('link', 'del', 'mybr');
  await until('a condition', () =>
    world.reconciler.conditions.some(({ text }) => text.includes('make it again')),
  );
  ip('link', 'add', 'mybr', 'type', 'bridge');
  await until('the sandbox reaches it', () => reaches('a', '10.71.0.1'));
  await until('no condition', () => world.reconciler.conditions.length === 0);
  await world.detach('a');
  ip('link', 'del', 'mybr');
});

test('ends of containers and removals of networks are no harm', async () => {
  await using world = await openPair();
  for (const name of ['a', 'b']) await world.detach(name);
  await world.networks.remove('n1');
  await world.reconciler.compare();
  assert.deepEqual(world.repairs.recent, []);
  assert.doesNotMatch(ip('-o', 'link'), /br-n1|veth/);
});

test('somebody who undoes a repair again and again is answered more slowly, and a condition says so', async () => {
  await using world = await openPair();
  for (let i = 0; i < 6; i++) {
    ip('address', 'del', '10.71.0.1/24', 'dev', 'br-n1');
    await world.repaired(/^address 10\.71\.0\.1/, i);
  }
  await until('a condition', () =>
    world.reconciler.conditions.some(({ id }) => id.startsWith('repair.contested')),
  );
});

/** Links, addresses and routes of sandbox m, on a parent of the host. */
function shownOnParent(): string {
  const script = 'ip -o link show eth0; ip -o -4 address show dev eth0; ip route';
  return run('m', 'sh', '-c', script).replaceAll(/^\d+:|@\S+|link-netns\S* \S+/gm, '');
}

for (const [what, words, cause] of [
  ['deleted', ['ip', 'link', 'del', 'eth0'], /^eth0 in the container was gone: made again/],
  ['set down', ['ip', 'link', 'set', 'eth0', 'down'], /^eth0 in the container was down/],
  ['given another name', ['sh', '-c', 'ip link set eth0 down; ip link set eth0 name x'], /had another name/],
  [
    'moved elsewhere',
    ['ip', 'link', 'set', 'eth0', 'netns', '1'],
    /^eth0 in the container was gone: made again/,
  ],
  ['robbed of its address', ['ip', 'addr', 'del', '10.71.9.1/24', 'dev', 'eth0'], /^address 10\.71\.9\.1/],
  ['robbed of its default route', ['ip', 'route', 'del', 'default'], /^the default route by 10\.71\.9\.254/],
] as const)
  test(`an interface on a parent is ${what}: it is as before, because the kernel said so`, async () => {
    await using world = await openRepairWorld();
    addParent();
    await world.createNetwork('m1', macvlan);
    await world.attach('m', ['m1']);
    const before = shownOnParent();
    run('m', ...words);
    const { object } = await world.repaired(cause);
    assert.equal(object, 'container m');
    await until('everything is as before', () => shownOnParent() === before);
    assert.deepEqual(world.reconciler.conditions, []);
    delParent();
  });

test('the parent goes, and with it what is on it: a condition says so, and once it is back all is as before', async () => {
  await using world = await openRepairWorld();
  addParent();
  await world.createNetwork('m1', macvlan);
  await world.attach('m', ['m1']);
  const before = shownOnParent();
  await world.reconciler.compare();
  delParent();
  await until('conditions', () => {
    const texts = world.reconciler.conditions.map(({ text }) => text).join('\n');
    return /network m1.*is gone/.test(texts) && /interface eth0 of container m,.*is gone/.test(texts);
  });
  // Long enough for retries to be far between.
  await world.reconciler.compare();
  await world.reconciler.compare();
  addParent();
  await world.repaired(/^eth0 in the container was gone: made again/);
  await until('everything is as before', () => shownOnParent() === before);
  await until('no condition', () => world.reconciler.conditions.length === 0);
  delParent();
});

test('what was attached before the daemon’s restart is watched after it, on bridges and on parents', async () => {
  await using world = await openRepairWorld();
  addParent();
  await world.createNetwork('m1', macvlan);
  await world.createNetwork('n1', dualStack);
  await world.attach('m', ['m1']);
  await world.attach('a', ['n1']);
  await world.restartReconciler();
  run('m', 'ip', 'link', 'del', 'eth0');
  await world.repaired(/^eth0 in the container was gone: made again/);
  run('a', 'ip', 'link', 'set', 'eth0', 'down');
  await world.repaired(/^eth0 in the container was down/);
  delParent();
});
