/*
 * A site whose manager is behind the site's NAT itself: the router passes on two ports to it, which is all that others need.
 * The node beside it looks to the manager as if nothing were between, and is behind NAT for everybody else. The router
 * gives that node one port outside for all destinations (RFC 4787 REQ-1), which a relay elsewhere can tell others.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { commandLines, type Host } from './hosts.ts';
import { openSites, type Sites } from './sites.ts';
import { asks, becomes, pathOf, serveOn } from './tunnelPath.ts';

const [[, program] = ['', '']] = commandLines;
/** B1 is the manager. */
const names = ['A1', 'B1', 'B2', 'C1'] as const;
type Name = (typeof names)[number];

let sites: Sites;
const at = (name: Name): Host => sites.host(name);

async function join(host: Host, manager: string): Promise<void> {
  const { stdout: token } = await at('B1').cli(['swarm', 'join-token', '-q', 'worker']);
  await host.cli(['swarm', 'join', '--token', token, `${manager}:2377`]);
}

before(async () => {
  sites = await openSites(program, ['A=1', 'B=2', 'C=1', 'D=1'], ['B', 'C', 'D=symmetric'], true);
  const outside = sites.outsideOf('B');
  const rules = [
    'add chain ip nat-site coming { type nat hook prerouting priority dstnat; }',
    `add rule ip nat-site coming iifname wan tcp dport 2377 dnat to ${at('B1').address}`,
    `add rule ip nat-site coming iifname wan udp dport 51851 dnat to ${at('B1').address}`,
    'insert rule ip nat-site forward ct status dnat accept',
    `insert rule ip nat-site leaving ip saddr ${at('B2').address} udp sport 51851 snat to ${outside}:40000`,
  ];
  sites.onRouter('B', 'sh', '-c', `printf '%s\\n' '${rules.join("' '")}' | nft -f -`);
  const own = ['--advertise-addr', outside, '--listen-addr', `${at('B1').address}:2377`];
  await at('B1').cli(['swarm', 'init', ...own]);
  await join(at('B2'), at('B1').address);
  for (const name of ['A1', 'C1'] as const) await join(at(name), outside);
  await at('B1').cli(['network', 'create', '-d', 'overlay', '--opt', 'encrypted', 'sec']);
  await serveOn(names.map(at));
});
after(() => sites[Symbol.asyncDispose]());

async function allReachAll(): Promise<void> {
  const pairs = names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to] as const));
  for (const [from, to] of pairs)
    assert.ok(
      await eventually(() => asks(at(from), to), 15_000),
      `${from} to ${to}: ${JSON.stringify(pathOf(at(from), to))} ${at(from).tail()}`,
    );
}

test('containers of all nodes reach each other: directly, or by the manager where both are behind NAT', async () => {
  await allReachAll();
  await becomes(at('A1'), 'B2', ({ State, Endpoint }) => {
    return State === 'direct' && Endpoint === `${sites.outsideOf('B')}:40000`;
  });
  await becomes(at('C1'), 'B2', ({ State, Relay }) => State === 'relay' && Relay === 'B1');
  await becomes(at('B2'), 'B1', ({ State, Endpoint }) => {
    return State === 'direct' && Endpoint === `${at('B1').address}:51851`;
  });
});

test('with a relay that sees both from outside, the two NATs are punched', async () => {
  await at('B1').cli(['node', 'update', '--label-add', 'linkspan.relay=true', 'A1']);
  await becomes(at('C1'), 'B2', ({ State, Endpoint }) => {
    return State === 'direct' && Endpoint === `${sites.outsideOf('B')}:40000`;
  });
  await becomes(at('B2'), 'C1', ({ State }) => State === 'direct');
});

test('a node finds the manager beside it again, which it cannot reach by the address that others have', async () => {
  await at('B2').kill('SIGKILL');
  await at('B2').start();
  await at('B1').cli(['network', 'create', '-d', 'overlay', '--opt', 'encrypted', 'later']);
  const isTold = async (): Promise<boolean> => {
    const { stdout } = await at('B2').cli(['network', 'ls', '--format', '{{.Name}}']);
    return stdout.split('\n').includes('later');
  };
  assert.ok(await eventually(isTold, 15_000), at('B2').tail());
  await allReachAll();
});

test('a node that reaches one of two relays alone is reached by that one, whichever other nodes would choose', async () => {
  const d1 = sites.host('D1');
  sites.onRouter(
    'D',
    'nft',
    `insert rule ip nat-site forward ip daddr ${at('A1').address} udp dport 51851 drop`,
  );
  await join(d1, sites.outsideOf('B'));
  await serveOn([d1]);
  for (const other of ['B2', 'C1'] as const) {
    await becomes(d1, other, ({ State, Relay }) => State === 'relay' && Relay === 'B1');
    await becomes(at(other), 'D1', ({ State, Relay }) => State === 'relay' && Relay === 'B1');
    assert.ok(await eventually(() => asks(d1, other), 15_000), d1.tail());
    assert.ok(await eventually(() => asks(at(other), 'D1'), 15_000), at(other).tail());
  }
});
