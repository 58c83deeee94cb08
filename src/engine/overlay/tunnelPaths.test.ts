/*
 * Which way nodes of all kinds are reached from each other, what people are told of it, and when it is a condition.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandClock } from '../../base/handClock.ts';
import { silentLogger } from '../../base/logger.ts';
import type { NodeTunnel, SwarmNode } from '../../cluster/swarmNetworks.ts';
import type { WireguardPeerState } from '../../codec/wireguard/device.ts';
import { makeKey, parsePublicKey, publicKeyOf } from '../../codec/wireguard/key.ts';
import { parseHostPort } from '../../net/hostPort.ts';
import { type PeerStates, TunnelPaths } from './tunnelPaths.ts';
import { isTunnelled, reachOf, standpointOf, witnessesOf } from './tunnelReach.ts';

let number = 0;
function nodeOf(id: string, address: string, tunnel: Partial<NodeTunnel> = {}, isRelay = false): SwarmNode {
  number += 1;
  const publicKey = publicKeyOf(makeKey());
  return {
    ...{ id, hostname: `host-${id}`, vtep: address, isDown: false },
    tunnel: { publicKey, number, mtuBytes: 1500, endpoints: [`${address}:1`], ...tunnel },
    ...(isRelay ? { isRelay } : {}),
  };
}

const [east, west] = [{ seenAs: '203.0.113.10' }, { seenAs: '203.0.113.20' }];
const manager = nodeOf('m', '203.0.113.1', { sees: { e2: '203.0.113.10:7', w1: '203.0.113.20:9' } }, true);
const other = nodeOf('o', '203.0.113.2', { endpoints: ['203.0.113.2:1', '192.168.0.1:1'] });
const east1 = nodeOf('e1', '10.0.0.1', { ...east, endpoints: ['10.0.0.1:1', '172.17.0.1:1'] });
const east2 = nodeOf('e2', '10.0.0.2', { ...east, endpoints: ['10.0.0.2:1', '172.17.0.1:1'] });
const west1 = nodeOf('w1', '10.0.0.1', west);
const all = [manager, other, east1, east2, west1];

function reach(from: SwarmNode, to: SwarmNode, nodes: readonly SwarmNode[] = all) {
  assert.ok(isTunnelled(to));
  const { way, endpoints, relay = '-' } = reachOf(standpointOf(from.id, nodes), to);
  return [way, ...endpoints, relay].join(' ');
}

test('who begins, where, and by which relay', () => {
  const rows: readonly (readonly [SwarmNode, SwarmNode, string])[] = [
    [manager, other, 'call 203.0.113.2:1 192.168.0.1:1 -'],
    [east1, other, 'call 203.0.113.2:1 192.168.0.1:1 -'],
    [other, east2, 'wait 203.0.113.10:7 -'],
    [other, east1, 'wait -'],
    // On one LAN, but for the address that both have.
    [east1, east2, 'meet 10.0.0.2:1 203.0.113.10:7 m'],
    [east2, east1, 'meet 10.0.0.1:1 m'],
    [east1, west1, 'meet 203.0.113.20:9 m'],
  ];
  for (const [from, to, wanted] of rows) assert.equal(reach(from, to), wanted, `${from.id} to ${to.id}`);
});

test('what a relay sees from within a node’s own network is no place for others: one outside is to see it', () => {
  const own = { ...east, endpoints: ['10.0.0.5:1'] };
  const inner = nodeOf('a', '203.0.113.10', { sees: { e3: '10.0.0.5:1', w1: '203.0.113.20:9' } }, true);
  const east3 = nodeOf('e3', '10.0.0.5', own);
  const outer = nodeOf('b', '203.0.113.1', { sees: { e3: '203.0.113.10:40' } }, true);
  const last = nodeOf('c', '203.0.113.2', {}, true);
  const nodes = [inner, east1, east3, west1];
  assert.equal(reach(west1, east3, nodes), 'meet a');
  assert.equal(reach(east1, east3, nodes), 'meet 10.0.0.5:1 a');
  const around = [...nodes, outer, last];
  assert.match(reach(west1, east3, around), /^meet 203\.0\.113\.10:40 [abc]$/);
  const kept = (from: SwarmNode, all: readonly SwarmNode[]): string =>
    witnessesOf(standpointOf(from.id, all)).join(' ');
  assert.equal(kept(east3, nodes), 'a');
  assert.equal(kept(east3, around), 'a b');
  assert.equal(kept(west1, around), 'a');
  assert.equal(kept(east1, around), 'a');
});

test('a relay is a manager or a node that was told to be one, is up, and can be reached', () => {
  const without = all.filter((node) => node !== manager);
  const relayOf = (...more: readonly SwarmNode[]): string =>
    reach(east1, west1, [...without, ...more])
      .split(' ')
      .at(-1) ?? '';
  assert.equal(relayOf(), '-');
  assert.equal(relayOf({ ...manager, isDown: true }), '-');
  assert.equal(relayOf(nodeOf('m', '10.0.0.9', east, true)), '-');
  assert.equal(relayOf(nodeOf('r', '203.0.113.3', {}, true)), 'r');
});

test('both ends of a pair choose the same relay, pairs share them, and those that are left keep theirs', () => {
  const relays = ['r1', 'r2', 'r3'].map((id, i) => nodeOf(id, `203.0.113.${100 + i}`, {}, true));
  const hidden = Array.from({ length: 12 }, (_, i) =>
    nodeOf(`n${i}`, `10.0.0.${i}`, { seenAs: `198.51.100.${i}` }),
  );
  const choose = (nodes: readonly SwarmNode[], a: SwarmNode, b: SwarmNode): string =>
    reach(a, b, nodes).split(' ').at(-1) ?? '';
  const [first] = hidden;
  assert.ok(first);
  const chosen = hidden.slice(1).map((one) => choose([...relays, ...hidden], first, one));
  assert.ok(new Set(chosen).size > 1);
  for (const [i, one] of hidden.slice(1).entries()) {
    assert.equal(choose([...relays, ...hidden].toReversed(), one, first), chosen[i]);
    const later = choose([...relays.slice(1), ...hidden], first, one);
    if (chosen[i] !== 'r1') assert.equal(later, chosen[i]);
    else assert.notEqual(later, 'r1');
  }
});

test('where one end does not reach the relay of both, both choose the next that sees both of them', () => {
  const hidden = [
    nodeOf('x', '10.0.0.1', { seenAs: '198.51.100.1' }),
    nodeOf('y', '10.0.0.2', { seenAs: '198.51.100.2' }),
  ];
  const [x, y] = hidden;
  assert.ok(x && y);
  const ids = ['r1', 'r2', 'r3'];
  const choose = (seeing: Readonly<Record<string, readonly string[]>>): readonly (string | undefined)[] => {
    const relays = ids.map((id, i) => {
      const sees = Object.fromEntries((seeing[id] ?? []).map((one) => [one, '198.51.100.9:7']));
      return nodeOf(id, `203.0.113.${100 + i}`, { sees }, true);
    });
    const nodes = [...relays, ...hidden];
    assert.ok(isTunnelled(x) && isTunnelled(y));
    const [one, two] = [reachOf(standpointOf('x', nodes), y), reachOf(standpointOf('y', nodes), x)];
    assert.deepEqual([one.relay, one.kept], [two.relay, two.kept]);
    return [one.relay, ...one.kept];
  };
  // Nobody has seen anybody: all are to.
  const [first, ...order] = choose({});
  assert.equal(first, order[0]);
  assert.equal(order.length, 3);
  const [a = '', b = '', c = ''] = order;
  assert.deepEqual(choose({ [a]: ['x'], [b]: ['y'], [c]: [] }), [a, a, b, c]);
  assert.deepEqual(choose({ [a]: ['x'], [b]: ['x', 'y'], [c]: ['x', 'y'] }), [b, a, b]);
  assert.deepEqual(choose({ [a]: ['x', 'y'], [b]: ['x', 'y'] }), [a, a]);
});

function open(own: SwarmNode, nodes: readonly SwarmNode[] = all) {
  const clock = new HandClock();
  const paths = new TunnelPaths({ clock, logger: silentLogger });
  const needed = new Set(nodes.map(({ id }) => id));
  const states = new Map<string, WireguardPeerState>();
  /** `handshake`: at that second of the clock. */
  const hear = (node: SwarmNode, handshake: number | undefined, bytes: number, endpoint?: string): void => {
    const publicKey = parsePublicKey(node.tunnel?.publicKey ?? '') ?? assert.fail();
    states.set(publicKey, {
      ...{ publicKey, hasPresharedKey: false, keepaliveSeconds: 0, allowedIps: [] },
      endpoint: parseHostPort(endpoint ?? ''),
      lastHandshakeMs: handshake === undefined ? undefined : handshake * 1000,
      ...{ receivedBytes: bytes, sentBytes: bytes },
    });
  };
  for (const node of nodes) if (node !== own) hear(node, undefined, 0);
  const step = (around = nodes): void =>
    paths.step({ nodeId: own.id, nodes: around, needed }, new Map(states) satisfies PeerStates);
  const show = (node: SwarmNode): string => {
    const path = paths.pathTo(node, states.get(node.tunnel?.publicKey ?? ''));
    return [path.state, ...(path.relay ?? []).toString().split(',').filter(Boolean), path.why].join(': ');
  };
  return { clock, paths, hear, step, show };
}

test('behind NAT: by the relay until there is a way through, and by it again when that is lost', async () => {
  const { clock, paths, hear, step, show } = open(east1);
  step();
  assert.equal(paths.routeTo('w1').relay, 'm');
  assert.equal(paths.routeTo('m').keepaliveSeconds, 25);
  hear(manager, 0, 100);
  step();
  assert.equal(show(west1), 'relay: host-m: both are behind NAT; a way through is being tried');
  hear(west1, 0, 100, '203.0.113.20:9');
  await clock.advance(1000);
  step();
  assert.equal(show(west1), 'direct: through the NATs of both');
  assert.equal(paths.routeTo('w1').relay, undefined);
  await clock.advance(99_000);
  hear(manager, 99, 200);
  step();
  assert.equal(paths.routeTo('w1').relay, 'm');
  assert.deepEqual(paths.conditions, []);
});

test('both ends change from the relay to the hole at one time, whenever they look', async () => {
  const ends = [open(east1), open(west1)] as const;
  const [east, west] = ends;
  for (const { hear, step } of ends) {
    hear(manager, 0, 100);
    step();
  }
  // Each sees the handshake when it looks, and what comes later is another one of the same session.
  const relays = async (atMs: number): Promise<readonly unknown[]> => {
    for (const { clock } of ends) await clock.advance(atMs - clock.nowMs());
    return [east.paths.routeTo('w1').relay, west.paths.routeTo('e1').relay];
  };
  await relays(5010);
  east.hear(west1, 5, 100, '203.0.113.20:9');
  east.step();
  assert.equal(east.paths.untilHandoverMs, 990);
  assert.equal(west.paths.untilHandoverMs, undefined);
  await relays(5240);
  west.hear(east1, 5, 100, '203.0.113.10:7');
  west.step();
  assert.deepEqual(await relays(5999), ['m', 'm']);
  assert.equal(west.paths.untilHandoverMs, 1);
  assert.match(west.show(east1), /^relay: host-m/);
  assert.deepEqual(await relays(6000), [undefined, undefined]);
  for (const { paths } of ends) assert.equal(paths.untilHandoverMs, undefined);
  await relays(120_000);
  for (const { hear } of ends) hear(manager, 119, 200);
  east.hear(west1, 120, 200, '203.0.113.20:9');
  east.step();
  assert.equal(east.paths.routeTo('w1').relay, undefined);
});

test('without a relay that works there is nothing to wait for', () => {
  const { paths, hear, step } = open(east1);
  hear(west1, 0, 100, '203.0.113.20:9');
  step();
  assert.equal(paths.routeTo('w1').relay, undefined);
  assert.equal(paths.untilHandoverMs, undefined);
});

test('a node that was reached through both NATs is not sent to by the relay while it begins with another key', async () => {
  const { clock, paths, hear, step } = open(east1);
  hear(manager, 0, 100);
  hear(west1, 0, 100, '203.0.113.20:9');
  await clock.advance(1000);
  step();
  const rekeyed = nodeOf('w1', '10.0.0.1', west);
  const around = [...all.filter((node) => node !== west1), rekeyed];
  step(around);
  assert.equal(paths.routeTo('w1').relay, undefined);
  await clock.advance(2000);
  hear(rekeyed, 3, 50, '203.0.113.20:9');
  step(around);
  assert.equal(paths.routeTo('w1').relay, undefined);
  // A third one, with which nothing comes of it.
  const lost = nodeOf('w1', '10.0.0.1', west);
  const others = [...all.filter((node) => node !== west1), lost];
  step(others);
  await clock.advance(16_000);
  step(others);
  assert.equal(paths.routeTo('w1').relay, 'm');
});

test('a relay tells where nodes behind NAT come from', () => {
  const { paths, hear, step } = open(manager);
  hear(east2, 0, 100, '203.0.113.10:7');
  hear(other, 0, 100, '203.0.113.2:1');
  step();
  assert.deepEqual(paths.seen(all), { e2: '203.0.113.10:7' });
});

test('a relay that has not looked since its daemon began says nothing of whom it sees', () => {
  const { paths, hear, step } = open(manager);
  assert.equal(paths.seen(all), undefined);
  hear(other, 0, 100, '203.0.113.2:1');
  step();
  assert.deepEqual(paths.seen(all), {});
});

test('a node whose WireGuard is gone is a condition that says so, while it shares a network', () => {
  const { paths, step } = open(manager);
  const gone = nodeOf('other', '203.0.113.2', { lacks: 'it is too old' });
  step([manager, gone]);
  assert.deepEqual(paths.conditions, []);
  const sharing = open(manager, [manager, gone]);
  sharing.step();
  assert.deepEqual(
    sharing.paths.conditions.map(({ id, text }) => `${id}: ${text}`),
    [
      'tunnel.noPath:other: host-m has no path to host-other through the encrypted tunnels: it has no WireGuard any more: it is too old',
    ],
  );
  assert.match(sharing.show(gone), /^none: it has no WireGuard any more/);
  sharing.step([manager, { ...gone, isDown: true }]);
  assert.deepEqual(sharing.paths.conditions, []);
});

test('a node that no path leads to is a condition that names both, until one does or it is down', async () => {
  const { clock, paths, hear, step, show } = open(east1, [other, east1, west1]);
  const titles = (): readonly string[] => paths.conditions.map(({ id, text }) => `${id} ${text}`);
  step([other, east1, west1]);
  await clock.advance(40_000);
  step();
  assert.match(
    String(titles()),
    /^tunnel\.noPath:w1 host-e1 has no path to host-w1 .*no node may be their relay$/,
  );
  assert.match(show(west1), /^none: both are behind NAT/);
  hear(other, undefined, 148);
  step();
  await clock.advance(16_000);
  hear(other, undefined, 296);
  step();
  await clock.advance(100);
  step();
  assert.match(String(titles()), /tunnel\.noPath:o host-e1 has no path to host-o .*203\.0\.113\.2:1 or 192/);
  hear(other, 56, 400);
  step([other, east1, { ...west1, isDown: true }]);
  assert.deepEqual(titles(), []);
  assert.equal(show({ ...west1, isDown: true }), 'idle: the node is down');
});

test('who was heard from is looked for there with another device too', () => {
  const { paths, hear, step } = open(other);
  hear(east1, 0, 100, '203.0.113.10:77');
  step();
  assert.equal(paths.routeTo('e1').endpoint, undefined);
  paths.renew();
  hear(east1, undefined, 0);
  step();
  assert.equal(paths.routeTo('e1').endpoint, '203.0.113.10:77');
});
