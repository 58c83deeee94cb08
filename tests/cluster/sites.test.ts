/*
 * Encrypted networks between sites: one with the manager, that can be reached at two ports, and three behind NATs, of
 * which two keep ports and one does not. Everything on the wires is recorded, and nothing of it is in clear.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { Capture } from './capture.ts';
import { commandLines, formSwarm, type Host } from './hosts.ts';
import { openSites, type Sites } from './sites.ts';
import { asks, becomes, pathOf, serveOn, type TunnelPath } from './tunnelPath.ts';

const [[, program] = ['', '']] = commandLines;
const names = ['A1', 'B1', 'B2', 'C1', 'D1'] as const;
type Name = (typeof names)[number];

let sites: Sites;
let capture: Capture;
const at = (name: Name): Host => sites.host(name);

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
  await serveOn(names.map(at));
});
after(async () => {
  await capture[Symbol.asyncDispose]();
  await sites[Symbol.asyncDispose]();
});

test('containers of all sites reach each other by name, whichever NATs are between', async () => {
  const pairs = names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to] as const));
  for (const [from, to] of pairs)
    assert.ok(await eventually(() => asks(at(from), to), 15_000), `${from} to ${to}: ${at(from).tail()}`);
});

test('neighbours behind one NAT talk by their own addresses', async () => {
  const { address } = at('B2');
  await becomes(
    at('B1'),
    'B2',
    ({ State, Endpoint }) => State === 'direct' && Endpoint.startsWith(`${address}:`),
  );
});

test('two NATs that keep ports are punched, and the relay carries nothing then', async () => {
  const isThrough = ({ State, Endpoint }: TunnelPath): boolean =>
    State === 'direct' && Endpoint.startsWith(sites.outsideOf('C'));
  await becomes(at('B1'), 'C1', isThrough);
  await becomes(at('C1'), 'B1', ({ State }) => State === 'direct');
  const before = pathOf(at('A1'), 'B1').ReceivedBytes;
  // 40 KB, of which none, beside a probe of the way to the relay that may come at any time (1.4 KB each).
  await at('B1').cli(['exec', 'on-B1', 'ping', '-c', '40', '-s', '1000', '-i', '0.01', '-q', 'on-C1'], {
    stdout: /40 packets received/,
  });
  assert.ok(pathOf(at('A1'), 'B1').ReceivedBytes - before < 10_000);
});

test('a NAT with another port for each leaves the relay, as node paths says', async () => {
  await becomes(at('B1'), 'D1', ({ State, Relay }) => State === 'relay' && Relay === 'A1');
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
    assert.ok(await eventually(() => asks(at(from), to), 5000), `${from} to ${to}: ${at(from).tail()}`);
  await becomes(at('A1'), 'B1', ({ State }) => State === 'direct');
  await becomes(at('B1'), 'D1', ({ State }) => State === 'relay');
});

test('a daemon that comes back leaves its paths as they are', async () => {
  const { Endpoint } = pathOf(at('C1'), 'B1');
  await at('C1').kill('SIGKILL');
  await at('C1').start();
  assert.ok(await eventually(() => asks(at('C1'), 'B1'), 5000), at('C1').tail());
  const after = pathOf(at('C1'), 'B1');
  assert.deepEqual([after.State, after.Endpoint], ['direct', Endpoint]);
});

test('a relay whose daemon comes back takes nothing from who talks past it or by it', async () => {
  const pings = ['C1', 'D1'].map((to) =>
    at('B1').cli(['exec', 'on-B1', 'ping', '-c', '120', '-i', '0.1', '-q', `on-${to}`]),
  );
  await at('A1').kill('SIGKILL');
  await at('A1').start();
  for (const { stdout } of await Promise.all(pings)) assert.match(stdout, / 120 packets received/);
  await becomes(at('B1'), 'C1', ({ State }) => State === 'direct');
  await becomes(at('B1'), 'D1', ({ State }) => State === 'relay');
});

test('nothing of all that was on a wire in clear', async () => {
  const { markers, bytes } = await capture.end();
  assert.equal(markers, 0);
  assert.ok(bytes > 10_000);
});
