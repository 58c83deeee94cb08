/*
 * Encrypted networks between sites: one with the manager, that can be reached at two ports, and three behind NATs, of
 * which two keep ports and one does not. Everything on the wires is recorded, and nothing of it is in clear.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { Capture, marker } from './capture.ts';
import { commandLines, formSwarm, type Host } from './hosts.ts';
import { openSites, type Sites } from './sites.ts';

const [[, program] = ['', '']] = commandLines;
const names = ['A1', 'B1', 'B2', 'C1', 'D1'] as const;
type Name = (typeof names)[number];

let sites: Sites;
let capture: Capture;
const at = (name: Name): Host => sites.host(name);

interface Path {
  readonly Hostname: string;
  readonly State: string;
  readonly Relay: string;
  readonly Endpoint: string;
  readonly Why: string;
  readonly ReceivedBytes: number;
}

function pathOf(from: Name, to: Name): Path {
  const host = at(from);
  const words = ['curl', '-sf', '--unix-socket', host.socket, 'http://linkspan/linkspan/v1/tunnels'];
  const { Paths } = JSON.parse(host.run(...words)) as { readonly Paths: readonly Path[] };
  return Paths.find(({ Hostname }) => Hostname === to) ?? assert.fail(`${from} does not know ${to}`);
}

/** Within 25 seconds: a way through NATs takes a few. */
async function becomes(from: Name, to: Name, isIt: (path: Path) => boolean): Promise<void> {
  const isSo = await eventually(() => Promise.resolve(isIt(pathOf(from, to))), 25_000);
  assert.ok(isSo, `${from} to ${to}: ${JSON.stringify(pathOf(from, to))}\n${at(from).tail()}`);
}

async function asks(from: Name, to: Name): Promise<boolean> {
  const words = ['exec', `on-${from}`, 'wget', '-qO-', '-Y', 'off', `http://on-${to}/${marker}`];
  const { stdout, exitCode } = await at(from).cli(words, { exitCode: undefined });
  return exitCode === 0 && stdout.includes(marker);
}

before(async () => {
  sites = await openSites(program, ['A=1', 'B=2', 'C=1', 'D=1'], ['B', 'C', 'D=symmetric'], true);
  capture = await Capture.open('sites');
  // Two ports of the manager are all that nodes behind NAT need.
  const rules = [
    'add table inet door',
    'add chain inet door input { type filter hook input priority 0; }',
    'add rule inet door input iifname eth0 ct state new tcp dport != 2377 drop',
    'add rule inet door input iifname eth0 ct state new udp dport != 51851 drop',
    'add rule inet door input iifname eth0 ct state new meta l4proto icmp drop',
  ];
  at('A1').run('sh', '-c', `printf '%s\\n' '${rules.join("' '")}' | nft -f -`);
  await formSwarm(at('A1'), at('B1'), at('B2'), at('C1'), at('D1'));
  await at('A1').cli(['network', 'create', '-d', 'overlay', '--opt', 'encrypted', 'sec']);
  const script = `mkdir /w && echo ${marker} > /w/${marker} && exec httpd -f -p 80 -h /w`;
  await Promise.all(
    names.map((name) => {
      const words = ['run', '-d', '--name', `on-${name}`, '--network', 'sec'];
      return at(name).cli([...words, 'busybox', 'sh', '-c', script]);
    }),
  );
});
after(async () => {
  await capture[Symbol.asyncDispose]();
  await sites[Symbol.asyncDispose]();
});

test('containers of all sites reach each other by name, whichever NATs are between', async () => {
  const pairs = names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to] as const));
  for (const [from, to] of pairs)
    assert.ok(await eventually(() => asks(from, to), 15_000), `${from} to ${to}: ${at(from).tail()}`);
});

test('neighbours behind one NAT talk by their own addresses', async () => {
  const { address } = at('B2');
  await becomes(
    'B1',
    'B2',
    ({ State, Endpoint }) => State === 'direct' && Endpoint.startsWith(`${address}:`),
  );
});

test('two NATs that keep ports are punched, and the relay carries nothing then', async () => {
  const isThrough = ({ State, Endpoint }: Path): boolean =>
    State === 'direct' && Endpoint.startsWith(sites.outsideOf('C'));
  await becomes('B1', 'C1', isThrough);
  await becomes('C1', 'B1', ({ State }) => State === 'direct');
  const before = pathOf('A1', 'B1').ReceivedBytes;
  await at('B1').cli(['exec', 'on-B1', 'ping', '-c', '20', '-i', '0.01', '-q', 'on-C1'], {
    stdout: /20 packets received/,
  });
  assert.ok(pathOf('A1', 'B1').ReceivedBytes - before < 1000);
});

test('a NAT with another port for each leaves the relay, as node paths says', async () => {
  await becomes('B1', 'D1', ({ State, Relay }) => State === 'relay' && Relay === 'A1');
  const { stdout } = await at('D1').cli(['exec', 'on-D1', 'ping', '-c', '20', '-i', '0.01', '-q', 'on-C1']);
  assert.match(stdout, /20 packets received/);
});

test('another key of a node behind NAT changes no path', async () => {
  const { socket } = at('B1');
  const post = ['curl', '-sf', '-X', 'POST', '--unix-socket', socket];
  at('B1').run(...post, 'http://linkspan/linkspan/v1/tunnels/key');
  for (const [from, to] of [
    ['A1', 'B1'],
    ['B1', 'A1'],
    ['B2', 'B1'],
    ['C1', 'B1'],
    ['B1', 'D1'],
  ] as const)
    assert.ok(await eventually(() => asks(from, to), 5000), `${from} to ${to}: ${at(from).tail()}`);
  await becomes('A1', 'B1', ({ State }) => State === 'direct');
  await becomes('B1', 'D1', ({ State }) => State === 'relay');
});

test('a daemon that comes back leaves its paths as they are', async () => {
  const { Endpoint } = pathOf('C1', 'B1');
  await at('C1').kill('SIGKILL');
  await at('C1').start();
  assert.ok(await eventually(() => asks('C1', 'B1'), 5000), at('C1').tail());
  const after = pathOf('C1', 'B1');
  assert.deepEqual([after.State, after.Endpoint], ['direct', Endpoint]);
});

test('nothing of all that was on a wire in clear', async () => {
  const { markers, bytes } = await capture.end();
  assert.equal(markers, 0);
  assert.ok(bytes > 10_000);
});
