import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Events } from '../../base/events.ts';
import { HandClock } from '../../base/handClock.ts';
import { silentLogger } from '../../base/logger.ts';
import type { SwarmNode } from '../../cluster/swarmNetworks.ts';
import { makeKey, publicKeyOf, type SecretKey } from '../../codec/wireguard/key.ts';
import type { TunnelGuard } from '../../firewall/tunnelGuard.ts';
import { formatIp, type Ip, parseIp } from '../../net/ip.ts';
import type {
  EngineChoice,
  Tunnel,
  TunnelEvents,
  TunnelPeer,
  TunnelSpec,
  Tunnels,
} from '../../tunnels/tunnel.ts';
import { MemoryStore } from '../containers/fakes.ts';
import { EncryptedCarrier } from './encryptedCarrier.ts';
import { FakeSwarm } from './fakeSwarm.ts';
import { TunnelKeys } from './tunnelKeys.ts';

/** Devices of a machine, and what they were told. */
class FakeTunnels implements Tunnels {
  choice: EngineChoice = { engine: 'kernel' };
  readonly specs: TunnelSpec[] = [];
  readonly told: string[] = [];
  peers: readonly TunnelPeer[] = [];
  lose: (cause: string) => void = () => {};

  findEngine(): Promise<EngineChoice> {
    return Promise.resolve(this.choice);
  }

  open(spec: TunnelSpec): Promise<Tunnel> {
    this.specs.push(spec);
    const { told } = this;
    const events = new Events<TunnelEvents>();
    this.lose = (cause) => events.emit('lost', { cause });
    const note = (text: string): Promise<void> => {
      told.push(text);
      return Promise.resolve();
    };
    return Promise.resolve({
      ...{ engine: 'kernel', name: spec.name, events },
      setPeers: (peers) => {
        this.peers = peers;
        return note(`set ${peers.length}`);
      },
      changePeers: ({ put = [], remove = [] }) => note(`put ${put.length}, remove ${remove.length}`),
      wake: (peers) => note(`wake ${peers.length}`),
      setPrivateKey: () => note('private key'),
      peers: () => Promise.resolve([]),
      close: () => note('close'),
      [Symbol.dispose]: () => {},
    });
  }

  [Symbol.dispose](): void {}

  remove(): Promise<void> {
    this.told.push('remove');
    return Promise.resolve();
  }
}

const address = (text: string): Ip => {
  const ip = parseIp(text);
  if (ip === undefined) throw new TypeError(text);
  return ip;
};

function nodeOf(id: string, number: number, mtuBytes = 1500, key: SecretKey = makeKey()): SwarmNode {
  const endpoints = [`192.0.2.${number}:51851`];
  return {
    ...{ id, hostname: id, vtep: `192.0.2.${number}`, isDown: false },
    tunnel: { number, mtuBytes, endpoints, publicKey: publicKeyOf(key) },
  };
}

function open(secret?: Uint8Array, store = new MemoryStore()) {
  const [clock, tunnels, swarm] = [new HandClock(), new FakeTunnels(), new FakeSwarm(true)] as const;
  const namespaces = new Set<string>();
  const sysctls = new Map<string, string>();
  const routes = new Map<string, number | undefined>();
  const repairs: string[] = [];
  const carrier = new EncryptedCarrier({
    ...{
      tunnels,
      swarm,
      clock,
      logger: silentLogger,
      guard: { rewrite: () => Promise.resolve() } as TunnelGuard,
    },
    ...{ namespace: '/dev/null/netns', name: 'wg', alias: 'mark', port: 51_851 },
    ...(secret === undefined ? {} : { secret }),
    keys: new TunnelKeys(store, clock),
    kernel: {
      hasNamespace: (path) => Promise.resolve(namespaces.has(path)),
      createNamespace: (path) => Promise.resolve(void namespaces.add(path)),
      removeNamespace: (path) => Promise.resolve(void namespaces.delete(path)),
      setSysctl: (key, value) => Promise.resolve(void sysctls.set(key, value)),
      changeRoutes: ({ replace, del }) => {
        for (const { base } of del) routes.delete(formatIp(base));
        for (const { gateway, mtuBytes } of replace) routes.set(formatIp(gateway), mtuBytes);
        return Promise.resolve();
      },
    },
    makeFolder: () => Promise.resolve(),
    addresses: () => ['192.0.2.1', '10.0.0.1'].map(address),
    underlay: () => ({ address: address('192.0.2.1'), mtuBytes: 1500, port: 4789 }),
    repairs: { record: ({ object, cause }) => void repairs.push(`${object}: ${cause}`) },
  });
  /** As a manager answers an offer: with this node's number. */
  const tell = async (...nodes: readonly SwarmNode[]): Promise<void> => {
    for (const node of nodes) swarm.nodesById.set(node.id, node);
    swarm.events.emit('nodes', { changed: nodes.map(({ id }) => id) });
    for (let i = 0; i < 10; i++) await nextTurn();
  };
  const own = async (): Promise<SwarmNode> => {
    await carrier.check();
    carrier.start(() => true);
    for (let i = 0; i < 10; i++) await nextTurn();
    const { offer } = swarm;
    assert.ok(offer);
    return { ...nodeOf('self', 7), tunnel: { ...offer, number: 7 } };
  };
  return { carrier, clock, tunnels, swarm, store, namespaces, sysctls, routes, repairs, tell, own };
}

test('a node tells its key as soon as it is in a swarm, and has a device while a network needs it', async () => {
  const { carrier, tunnels, swarm, namespaces, tell, own } = open();
  await tell(await own(), nodeOf('other', 9));
  assert.deepEqual(swarm.offer?.endpoints, ['192.0.2.1:51851', '10.0.0.1:51851']);
  assert.equal(tunnels.specs.length, 0);
  await carrier.hold('one');
  await carrier.hold('two');
  const [spec] = tunnels.specs;
  assert.equal(tunnels.specs.length, 1);
  assert.equal(spec?.mtuBytes, 1420);
  assert.equal(spec && publicKeyOf(spec.privateKey), swarm.offer?.publicKey);
  assert.deepEqual(
    spec?.addresses.map(({ ip, length }) => `${formatIp(ip)}/${length}`),
    ['100.64.0.7/10'],
  );
  const [peer] = tunnels.peers;
  assert.equal(tunnels.peers.length, 1);
  assert.equal(peer && formatIp(peer.allowedIps[0]?.base ?? address('0.0.0.0')), '100.64.0.9');
  assert.equal(peer?.presharedKey, undefined);
  assert.equal(namespaces.size, 1);
  await carrier.release('one');
  assert.ok(!tunnels.told.includes('close'));
  await carrier.release('two');
  assert.ok(tunnels.told.includes('close'));
  assert.equal(namespaces.size, 0);
});

test('the least underlay of all nodes counts', async () => {
  const { carrier, tell, own } = open();
  await tell(await own(), nodeOf('other', 9, 1400), nodeOf('third', 10, 9000));
  assert.equal(carrier.underlay().mtuBytes, 1400);
  assert.equal(formatIp(carrier.underlay().address), '100.64.0.7');
});

test('packets to a node with smaller links are to fit there, and as long as it has those', async () => {
  const { carrier, routes, tell, own } = open();
  await tell(await own(), nodeOf('other', 9, 1400), nodeOf('third', 10, 9000), nodeOf('fourth', 11));
  await carrier.hold('one');
  assert.deepEqual([...routes], [['100.64.0.9', 1320]]);
  await tell(nodeOf('other', 9, 1492));
  assert.deepEqual([...routes], [['100.64.0.9', 1412]]);
  await tell(nodeOf('other', 9), nodeOf('third', 10, 1300));
  assert.deepEqual([...routes], [['100.64.0.10', 1220]]);
});

test('a machine without WireGuard refuses with the reason, and tells no key', async () => {
  const { carrier, tunnels, swarm } = open();
  tunnels.choice = { engine: undefined, reason: 'it is too old' };
  carrier.start(() => true);
  await nextTurn();
  await assert.rejects(carrier.hold('one'), { code: 'tunnelUnavailable', message: /it is too old/ });
  assert.equal(swarm.offer, undefined);
  assert.equal(tunnels.specs.length, 0);
});

test('a node whose WireGuard went away between two daemons says so of the key that it told, until it is back', async () => {
  const first = open();
  const self = await first.own();
  await first.tell(self, nodeOf('other', 9));
  const { carrier, tunnels, swarm, tell } = open(undefined, first.store);
  tunnels.choice = { engine: undefined, reason: 'wireguard-go is not there' };
  swarm.nodesById.set(self.id, self);
  carrier.start(() => true);
  await tell();
  assert.deepEqual(swarm.offer, { ...first.swarm.offer, lacks: 'wireguard-go is not there' });
  tunnels.choice = { engine: 'kernel' };
  await carrier.hold('one');
  assert.deepEqual(swarm.offer, first.swarm.offer);
});

test('without a manager that takes the key there is no device', async () => {
  const { carrier, clock, tunnels } = open();
  const holding = carrier.hold('one');
  const failed = assert.rejects(holding, { code: 'managerUnreachable' });
  for (let i = 0; i < 10; i++) await nextTurn();
  await clock.advance(5000);
  await failed;
  assert.equal(tunnels.specs.length, 0);
});

test('a new node is one more peer; one with another key is woken, and its old key goes later; one that is gone goes at once', async () => {
  const { carrier, clock, tunnels, swarm, tell, own } = open();
  await tell(await own(), nodeOf('other', 9));
  await carrier.hold('one');
  tunnels.told.length = 0;
  await tell(nodeOf('third', 10));
  await tell(nodeOf('other', 9));
  assert.deepEqual(tunnels.told, ['put 1, remove 0', 'put 1, remove 0', 'wake 1']);
  await clock.advance(3000);
  for (let i = 0; i < 10; i++) await nextTurn();
  swarm.nodesById.delete('third');
  await tell();
  assert.deepEqual(tunnels.told.slice(3), ['put 0, remove 1', 'put 0, remove 1']);
});

test('another key of this node: the device first, then the others', async () => {
  const { carrier, clock, swarm, tunnels, tell, own } = open();
  await assert.rejects(
    (async () => {
      swarm.isInTouch = false;
      await carrier.rotateKey();
    })(),
    { code: 'managerUnreachable' },
  );
  swarm.isInTouch = true;
  await tell(await own(), nodeOf('other', 9));
  await carrier.hold('one');
  const before = swarm.offer?.publicKey;
  tunnels.told.length = 0;
  const rotating = carrier.rotateKey();
  for (let i = 0; i < 10; i++) await nextTurn();
  assert.equal(tunnels.told[0], 'private key');
  assert.equal(swarm.offer?.publicKey, before, 'what was sent with the old key has time to arrive');
  await clock.advance(100);
  assert.notEqual(swarm.offer?.publicKey, before);
  const { offer } = swarm;
  assert.ok(offer);
  await tell({ ...nodeOf('self', 7), tunnel: { ...offer, number: 7 } });
  await rotating;
});

test('a key that no manager takes is given up again', async () => {
  const { carrier, clock, swarm, tunnels, tell, own } = open();
  await tell(await own(), nodeOf('other', 9));
  await carrier.hold('one');
  const before = swarm.offer?.publicKey;
  tunnels.told.length = 0;
  const refused = assert.rejects(carrier.rotateKey(), { code: 'managerUnreachable' });
  for (let i = 0; i < 10; i++) await nextTurn();
  await clock.advance(100);
  await clock.advance(5000);
  await refused;
  assert.deepEqual(tunnels.told, ['private key', 'private key']);
  assert.equal(swarm.offer?.publicKey, before);
});

test('networks that are up keep their MTU when a node with a smaller one comes', async () => {
  const { carrier, tell, own } = open();
  await tell(await own(), nodeOf('other', 9));
  await carrier.hold('one');
  await tell(nodeOf('third', 10, 1400));
  assert.equal(carrier.underlay().mtuBytes, 1500);
  await carrier.release('one');
  assert.equal(carrier.underlay().mtuBytes, 1400);
});

test('a daemon that nobody tells of nodes knows its number, and leaves the peers that there are', async () => {
  const first = open();
  await first.tell(await first.own(), nodeOf('other', 9));
  await first.carrier.hold('one');
  const second = open(undefined, first.store);
  await second.carrier.hold('one');
  assert.deepEqual(
    second.tunnels.specs[0]?.addresses.map(({ ip }) => formatIp(ip)),
    ['100.64.0.7'],
  );
  assert.deepEqual(second.tunnels.told, []);
});

test('another number, from a store that was set back: the device is made anew', async () => {
  const { carrier, tunnels, swarm, tell, own } = open();
  await tell(await own(), nodeOf('other', 9));
  await carrier.hold('one');
  const { offer } = swarm;
  assert.ok(offer);
  await tell({ ...nodeOf('self', 8), tunnel: { ...offer, number: 8 } });
  assert.equal(tunnels.specs.length, 2);
  assert.equal(formatIp(carrier.underlay().address), '100.64.0.8');
});

test('a relay has its device without a container of its own, and forwards in it, while two nodes need that', async () => {
  const { carrier, tunnels, swarm, sysctls, namespaces, tell, own } = open();
  const self = { ...(await own()), isRelay: true as const };
  const hidden = (id: string, number: number): SwarmNode => {
    const node = nodeOf(id, number);
    return node.tunnel === undefined ? node : { ...node, tunnel: { ...node.tunnel, seenAs: '203.0.113.1' } };
  };
  await tell(self, hidden('one', 8), hidden('two', 9));
  assert.equal(tunnels.specs.length, 0);
  const network = await swarm.createNetwork(() => ({
    ...{
      name: 'sec',
      isInternal: false,
      isAttachable: true,
      isIngress: false,
      hasIpv4: true,
      hasIpv6: false,
    },
    ...{ pools: [], vnis: [4097], options: { encrypted: '' }, labels: {} },
  }));
  await tell();
  assert.equal(tunnels.specs.length, 1);
  assert.equal(sysctls.get('net/ipv4/ip_forward'), '1');
  assert.equal(sysctls.get('net/ipv4/conf/wg/send_redirects'), '0');
  await carrier.hold(network.id);
  await carrier.release(network.id);
  assert.equal(namespaces.size, 1);
  tunnels.told.length = 0;
  await carrier.sweep();
  assert.deepEqual(tunnels.told, []);
  await tell(nodeOf('two', 9));
  assert.equal(namespaces.size, 0);
});

test('a device that is lost is made again, with all its peers', async () => {
  const { carrier, tunnels, repairs, tell, own } = open();
  await tell(await own(), nodeOf('other', 9));
  await carrier.hold('one');
  tunnels.told.length = 0;
  tunnels.lose('it died');
  for (let i = 0; i < 20; i++) await nextTurn();
  assert.deepEqual(tunnels.told, ['set 1']);
  assert.deepEqual(repairs, ['wg: it died: made again']);
});

test('a pair has the same preshared key, if the nodes have a secret', async () => {
  const { carrier, tunnels, tell, own } = open(Buffer.from('a secret of all nodes'));
  await tell(await own(), nodeOf('other', 9));
  await carrier.hold('one');
  assert.notEqual(tunnels.peers[0]?.presharedKey, undefined);
});

test('out of the swarm the key is forgotten', async () => {
  const { carrier, swarm, store, namespaces, tell, own } = open();
  await tell(await own());
  await carrier.hold('one');
  swarm.dataPath = undefined;
  await tell();
  assert.equal(await store.get('tunnel/key'), undefined);
  assert.equal(namespaces.size, 0);
});
