/*
 * A network that is not encrypted between sites: one with the manager, that can be reached, and two behind NATs, of which
 * one has another port for each destination. Neighbours talk straight, all others through the tunnels, which no encrypted
 * network asks for.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { commandLines, formSwarm, type Host } from './hosts.ts';
import { openSites, type Sites } from './sites.ts';
import { pathOf } from './tunnelPath.ts';

const [, [, program]] = commandLines as readonly [unknown, readonly [string, string]];
const names = ['A1', 'A2', 'B1', 'B2', 'D1'] as const;
type Name = (typeof names)[number];
/** Same site: same letter. */
const isNear = (a: Name, b: Name): boolean => a[0] === b[0];
const pairs = names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to] as const));
const megabytes = 10;
const patienceMs = 40_000;

let sites: Sites;
const at = (name: Name): Host => sites.host(name);

async function exec(name: Name, command: string): Promise<string> {
  const words = ['exec', `on-${name}`, 'sh', '-c', command];
  return (await at(name).cli(words, { exitCode: undefined })).stdout.trim();
}

const asks = async (from: Name, to: Name): Promise<boolean> =>
  (await exec(from, `timeout 2 wget -qO- -Y off http://on-${to}/name`)) === to;

/** What it says of nodes that are not reached. */
async function warnings(name: Name): Promise<readonly string[]> {
  const { stdout } = await at(name).cli(['info', '--format', '{{json .Warnings}}']);
  const all = (JSON.parse(stdout) ?? []) as readonly string[];
  return all.filter((text) => /reach each other|has no path/.test(text)).toSorted();
}

async function becomes(what: string, isIt: () => Promise<boolean>, context: () => unknown): Promise<void> {
  assert.ok(await eventually(isIt, patienceMs), `${what}: ${JSON.stringify(await context())}`);
}

const insideOf = (name: Name, ...words: readonly string[]): string =>
  at(name).run('nsenter', `--net=${at(name).overlayPaths()[0] ?? ''}`, ...words);

interface Device {
  readonly ifname: string;
  readonly ifindex: number;
}

/** Of the network. */
function devices(name: Name): readonly Device[] {
  const found = JSON.parse(insideOf(name, 'ip', '-j', 'link', 'show', 'type', 'vxlan')) as Device[];
  return found.toSorted((a, b) => (a.ifname < b.ifname ? -1 : 1));
}

const deviceNames = (name: Name): string =>
  devices(name)
    .map(({ ifname }) => ifname)
    .join(' ');

async function serve(name: Name): Promise<void> {
  const script = `mkdir /w && echo ${name} >/w/name && head -c ${megabytes}000000 /dev/urandom >/w/big && exec httpd -f -p 80 -h /w`;
  const words = ['run', '-d', '--name', `on-${name}`, '--network', 'open'];
  await at(name).cli([...words, 'busybox', 'sh', '-c', script]);
}

/** The manager's port of the tunnels. */
function shut(isShut: boolean): void {
  const rules = isShut
    ? [
        'add table inet door',
        'add chain inet door input { type filter hook input priority 0; }',
        'add rule inet door input iifname eth0 udp dport 51851 drop',
      ]
    : ['delete table inet door'];
  at('A1').run('sh', '-c', `printf '%s\\n' '${rules.join("' '")}' | nft -f -`);
}

before(async () => {
  sites = await openSites(program, ['A=2', 'B=2', 'D=1'], ['B', 'D=symmetric'], true);
  at('D1').run('ip', 'link', 'set', 'eth0', 'mtu', '1400');
  shut(true);
  await formSwarm(at('A1'), at('A2'), at('B1'), at('B2'), at('D1'));
  await at('A1').cli(['network', 'create', '-d', 'overlay', 'open']);
  await Promise.all(names.map(serve));
});
after(async () => {
  await sites[Symbol.asyncDispose]();
});

test('a pair that the tunnels do not reach either is said with both names and the reason, until they do', {
  timeout: 120_000,
}, async () => {
  const isSaid = async (): Promise<boolean> =>
    (await warnings('B1')).some((text) =>
      /on network open on B1 and A1 do not reach each other: B1 is behind NAT, and the encrypted tunnels do not lead there: it does not answer at .*:51851/.test(
        text,
      ),
    );
  await becomes('the condition', isSaid, () => warnings('B1'));
  shut(false);
  for (const name of names)
    await becomes(
      `no condition on ${name}`,
      async () => (await warnings(name)).length === 0,
      () => warnings(name),
    );
});

test('containers of all sites reach each other by name, and nobody complains', async () => {
  for (const [from, to] of pairs)
    assert.ok(await eventually(() => asks(from, to), 15_000), `${from} to ${to}: ${at(from).tail()}`);
  for (const name of names) assert.deepEqual(await warnings(name), []);
  assert.doesNotMatch((await at('B1').cli(['doctor'], { exitCode: undefined })).stdout, /noPath/);
});

for (const [from, to] of [
  ['A1', 'A2'],
  ['A2', 'B1'],
  ['B1', 'A2'],
  ['D1', 'B1'],
] as const)
  test(`10 MB get from ${to} to ${from} by TCP, though the network keeps its MTU`, async () => {
    const sum = await exec(to, 'md5sum </w/big');
    assert.equal(await exec(from, `wget -qO- -Y off http://on-${to}/big | md5sum`), sum);
    assert.match(await exec(from, 'ip link show eth0'), from === 'D1' ? /mtu 1350/ : /mtu 1450/);
  });

test('neighbours send nothing through the tunnels; what two behind NATs say goes by the relay', async () => {
  for (const [from, to] of pairs.filter((pair) => isNear(...pair))) {
    const { State, ReceivedBytes, SentBytes } = pathOf(at(from), to);
    assert.deepEqual([State, ReceivedBytes, SentBytes], ['idle', 0, 0], `${from} to ${to}`);
  }
  for (const name of ['B1', 'B2'] as const) {
    const { State, Relay } = pathOf(at(name), 'D1');
    assert.deepEqual([State, Relay], ['relay', 'A1']);
    assert.equal(pathOf(at(name), 'A2').State, 'direct');
  }
});

test('datagrams of every length arrive, but for the first one with DF that only straight ways take', async () => {
  const ping = (bytes: number, to: Name): Promise<string> =>
    exec('A2', `ping -c 3 -i 0.1 -s ${bytes} -q on-${to}`);
  // The least of the pair's links, of 1500 and 1400 bytes, less WireGuard's 80 and VXLAN's 50; IP and ICMP have 28.
  for (const [to, mtuBytes] of [
    ['B2', 1370],
    ['D1', 1270],
  ] as const) {
    assert.match(await ping(mtuBytes - 28, to), /3 packets received/, to);
    assert.match(await ping(mtuBytes - 27, to), /2 packets received/, to);
    for (const bytes of [mtuBytes - 27, 3000]) assert.match(await ping(bytes, to), /3 packets received/, to);
  }
});

test('the tunnels go on while a daemon is dead, and it takes them over', async () => {
  const before = devices('B1');
  await at('B1').kill('SIGKILL');
  assert.ok(await asks('A2', 'B1'));
  await at('B1').start();
  for (const to of ['A1', 'B2', 'D1'] as const)
    assert.ok(await eventually(() => asks('B1', to), 10_000), `${to}: ${at('B1').tail()}`);
  assert.deepEqual(devices('B1'), before);
});

test('a second device that somebody deletes is back', async () => {
  insideOf('B2', 'ip', 'link', 'del', 'vxlan0-wg');
  assert.ok(await eventually(() => asks('B2', 'A1'), 10_000), at('B2').tail());
  assert.equal(deviceNames('B2'), 'vxlan0 vxlan0-wg');
});

test('a container that starts later is reached from all sites at once', async () => {
  await at('D1').cli(['rm', '-f', 'on-D1']);
  await serve('D1');
  for (const from of ['A1', 'B2'] as const)
    assert.ok(await eventually(() => asks(from, 'D1'), 10_000), `${from}: ${at(from).tail()}`);
});

test('what the tunnels took goes with the last pair that needs them', async () => {
  for (const name of ['B1', 'B2', 'D1'] as const) await at(name).cli(['rm', '-f', `on-${name}`]);
  for (const name of ['A1', 'A2'] as const)
    await becomes(
      `one device on ${name}`,
      () => Promise.resolve(deviceNames(name) === 'vxlan0'),
      () => deviceNames(name),
    );
  assert.ok(await asks('A1', 'A2'));
  // The manager may still be a relay for those behind NAT.
  assert.equal(at('A2').run('busybox', 'sh', '-c', 'pidof wireguard-go || true').trim(), '');
  assert.equal(pathOf(at('A2'), 'A1').State, 'none');
});
