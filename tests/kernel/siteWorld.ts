/*
 * Sites with nodes behind NATs, each node with the carrier of encrypted networks of a daemon, and a swarm that tells all
 * of them of each other as managers do. Runs inside scripts/lane, whose namespace is the internet.
 *
 *   [a]  203.0.113.1, a manager
 *    |
 *   internet -- [rb] 203.0.113.10, NAT -- 10.1.0.0/24 -- [b1] .1  [b2] .2
 *            -- [rc] 203.0.113.20, NAT -- 10.1.0.0/24 -- [c1] .1
 *   [w-a], [w-b1], …: where their tunnels are, 100.64.0.1, .2, …
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam } from '../../src/base/seam.ts';
import type { NodeTunnel, SwarmNode, TunnelOffer } from '../../src/cluster/swarmNetworks.ts';
import type { TunnelPath } from '../../src/engine/engine.ts';
import { EncryptedCarrier } from '../../src/engine/overlay/encryptedCarrier.ts';
import { FakeSwarm } from '../../src/engine/overlay/fakeSwarm.ts';
import { TunnelKeys } from '../../src/engine/overlay/tunnelKeys.ts';
import { MemoryStore } from '../../src/engine/containers/fakes.ts';
import type { TunnelGuard } from '../../src/firewall/tunnelGuard.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { createTunnels, tunnelNameOf } from '../../src/tunnels/createTunnels.ts';
import { run } from './bridgeWorld.ts';
import { type Distance, netemWords } from './netem.ts';
import { ip, openKernelIn } from './overlayWorld.ts';

export const nodeNames = ['a', 'b1', 'b2', 'c1'] as const;
export type NodeName = (typeof nodeNames)[number];

const addresses: Readonly<Record<NodeName, string>> = {
  a: '203.0.113.1',
  b1: '10.1.0.1',
  b2: '10.1.0.2',
  c1: '10.1.0.1',
};
const seenAs: Readonly<Partial<Record<NodeName, string>>> = {
  b1: '203.0.113.10',
  b2: '203.0.113.10',
  c1: '203.0.113.20',
};
/** All nodes are on it. */
const networkId = 'net';
const port = 51_851;

export const insideOf = (name: NodeName): string => `100.64.0.${nodeNames.indexOf(name) + 1}`;

/** `preserving`: the same port outside, to everybody. `symmetric`: another one to each. */
export type NatKind = 'preserving' | 'symmetric';

/** What managers know, told to all nodes at once. */
class Book {
  /** Of every site but the manager's. */
  delayMs = 0;
  readonly swarms: Map<NodeName, FakeSwarm> = new Map();
  readonly #tunnels = new Map<NodeName, NodeTunnel>();

  join(name: NodeName): FakeSwarm {
    const swarm = new FakeSwarm(true);
    swarm.dataPath = { nodeId: name, address: addresses[name], port: 4789 };
    swarm.networks = [
      {
        ...{ id: networkId, name: networkId, isInternal: false, isAttachable: true, isIngress: false },
        ...{ hasIpv4: true, hasIpv6: false, pools: [], vnis: [4097], labels: {}, createdAt: '' },
        options: { encrypted: '' },
      },
    ];
    swarm.offerTunnel = (offer) => {
      if (offer !== undefined) this.#take(name, offer);
    };
    const [known] = this.swarms.values();
    for (const [id, node] of known?.nodesById ?? []) swarm.nodesById.set(id, node);
    this.swarms.set(name, swarm);
    return swarm;
  }

  #take(name: NodeName, offer: TunnelOffer): void {
    const seen = seenAs[name];
    const number = nodeNames.indexOf(name) + 1;
    this.#tunnels.set(name, { ...offer, number, ...(seen === undefined ? {} : { seenAs: seen }) });
    for (const [own, swarm] of this.swarms)
      setTimeout(() => this.#tell(swarm, name), 5 + this.#awayMs(name) + this.#awayMs(own));
  }

  /** From the manager, whose news takes as long as anything else. */
  #awayMs(name: NodeName): number {
    return name === 'a' ? 0 : this.delayMs;
  }

  #tell(swarm: FakeSwarm, name: NodeName): void {
    const tunnel = this.#tunnels.get(name);
    const node: SwarmNode = {
      ...{ id: name, hostname: name, vtep: addresses[name], isDown: false },
      ...(tunnel === undefined ? {} : { tunnel }),
      ...(name === 'a' ? { isRelay: true } : {}),
    };
    swarm.nodesById.set(name, node);
    swarm.events.emit('nodes', { changed: [name] });
  }

  /** A container of the node is on the network. */
  attach(name: NodeName): void {
    const row = {
      ...{ endpointId: name, networkId, containerId: name, containerName: name, mac: '02:00:00:00:00:01' },
      ...{ dnsNames: [], isUp: true, nodeId: name, revision: 1 },
    };
    for (const [own, swarm] of this.swarms) {
      if (own === name) continue;
      swarm.rows.set(name, row);
      swarm.events.emit('peers', { networkId, isSnapshot: false, added: [row], removed: [] });
    }
  }
}

export interface SiteNode {
  readonly kernel: Kernel;
  carrier: EncryptedCarrier;
  /** With a container on the network from now on. */
  attach(): Promise<void>;
  /** Another daemon takes over from the one of before. */
  restart(): Promise<void>;
  pathTo(other: NodeName): Promise<TunnelPath>;
}

const wanEnds = [
  ['rb', 'wan'],
  ['rc', 'wan'],
  ['host', 'p-rb'],
  ['host', 'p-rc'],
] as const;

export interface SiteWorld extends AsyncDisposable {
  readonly nodes: Readonly<Record<NodeName, SiteNode>>;
  /** From the internet, each way, of every site but the manager's; in place of what was set before. */
  setDistance(distance: Distance): void;
}

function wire(name: string, router: string, address: string, gateway: string): void {
  run('host', 'ip', 'netns', 'add', name);
  run('host', 'ip', '-n', name, 'link', 'add', 'eth0', 'type', 'veth', 'peer', `p-${name}`, 'netns', router);
  run('host', 'ip', '-n', router, 'link', 'set', `p-${name}`, 'master', 'lan', 'up');
  for (const words of [
    ['link', 'set', 'lo', 'up'],
    ['link', 'set', 'eth0', 'up'],
    ['address', 'add', `${address}/24`, 'dev', 'eth0'],
    ['route', 'add', 'default', 'via', gateway],
  ])
    run('host', 'ip', '-n', name, ...words);
}

function makeRouter(name: string, address: string, kind: NatKind): void {
  run('host', 'ip', 'netns', 'add', name);
  run(
    'host',
    'ip',
    'link',
    'add',
    `p-${name}`,
    'master',
    'inet',
    'type',
    'veth',
    'peer',
    'wan',
    'netns',
    name,
  );
  run('host', 'ip', 'link', 'set', `p-${name}`, 'up');
  for (const words of [
    ['link', 'add', 'lan', 'type', 'bridge'],
    ['link', 'set', 'lan', 'up'],
    ['link', 'set', 'wan', 'up'],
    ['address', 'add', `${address}/24`, 'dev', 'wan'],
    ['address', 'add', '10.1.0.254/24', 'dev', 'lan'],
  ])
    run('host', 'ip', '-n', name, ...words);
  run(name, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  setNat(name, kind);
}

/** What nobody inside asked for is dropped. */
function setNat(name: string, kind: NatKind): void {
  const how = kind === 'preserving' ? 'masquerade' : 'masquerade fully-random';
  const commands = `flush ruleset
add table ip nat
add chain ip nat post { type nat hook postrouting priority 100; }
add rule ip nat post oifname wan ${how}
add chain ip nat through { type filter hook forward priority 0; }
add rule ip nat through iifname wan ct state new drop
add chain ip nat in { type filter hook input priority 0; }
add rule ip nat in iifname wan ct state new drop`;
  run(name, 'sh', '-c', `printf '%s\\n' "${commands}" | nft -f -`);
}

async function openNode(name: NodeName, book: Book): Promise<SiteNode & AsyncDisposable> {
  const seam = openSeam();
  const kernel = await openKernelIn(`/run/netns/${name}`, seam);
  const store = new MemoryStore();
  const namespace = `/run/netns/w-${name}`;
  const swarm = book.join(name);
  const open = (): EncryptedCarrier => {
    const shared = { kernel, clock: systemClock, logger: silentLogger };
    return new EncryptedCarrier({
      ...{ ...shared, swarm, namespace, port, name: tunnelNameOf(name), alias: `test ${name}` },
      tunnels: createTunnels({
        ...{ ...shared, seam, folder: `/run/tunnels-${name}` },
        wireguardGo: ['nsenter', `--net=/run/netns/${name}`, '--', 'wireguard-go'],
      }),
      keys: new TunnelKeys(store, systemClock),
      guard: { rewrite: () => Promise.resolve() } as TunnelGuard,
      underlay: () => ({ address: ip(addresses[name]), mtuBytes: 1500, port: 4789 }),
      addresses: () => [ip(addresses[name])],
      makeFolder: (path) => Promise.resolve(mkdirSync(path, { recursive: true })),
      repairs: { record: () => {} },
    });
  };
  const node = {
    kernel,
    carrier: open(),
    attach: async () => {
      await node.carrier.hold(networkId);
      book.attach(name);
    },
    restart: async () => {
      node.carrier[Symbol.dispose]();
      node.carrier = open();
      node.carrier.start(() => true);
      await node.carrier.hold(networkId);
    },
    pathTo: async (other: NodeName) => {
      const found = (await node.carrier.paths()).find(({ nodeId }) => nodeId === other);
      assert.ok(found);
      return found;
    },
    [Symbol.asyncDispose]: async () => {
      node.carrier[Symbol.dispose]();
      const tunnels = createTunnels({
        ...{ kernel, seam, clock: systemClock, logger: silentLogger, folder: `/run/tunnels-${name}` },
      });
      await tunnels.remove(tunnelNameOf(name), namespace);
      await kernel.removeNamespace(namespace);
      await kernel[Symbol.asyncDispose]();
    },
  };
  await node.carrier.check();
  node.carrier.start(() => true);
  return node;
}

export async function openSites(kinds: { readonly b: NatKind; readonly c: NatKind }): Promise<SiteWorld> {
  assert.equal(process.env['LINKSPAN_LANE'], '1', 'run this inside scripts/lane');
  await using made = new AsyncDisposableStack();
  made.defer(() => {
    const there = run('host', 'ip', 'netns');
    for (const name of [...nodeNames, 'rb', 'rc'])
      if (new RegExp(`^${name}\\b`, 'm').test(there)) run('host', 'ip', 'netns', 'del', name);
    run('host', 'ip', 'link', 'del', 'inet');
  });
  run('host', 'ip', 'link', 'add', 'inet', 'type', 'bridge');
  run('host', 'ip', 'link', 'set', 'inet', 'up');
  makeRouter('rb', '203.0.113.10', kinds.b);
  makeRouter('rc', '203.0.113.20', kinds.c);
  for (const [name, router] of [
    ['b1', 'rb'],
    ['b2', 'rb'],
    ['c1', 'rc'],
  ] as const)
    wire(name, router, addresses[name], '10.1.0.254');
  run('host', 'ip', 'netns', 'add', 'a');
  run('host', 'ip', 'link', 'add', 'p-a', 'master', 'inet', 'type', 'veth', 'peer', 'eth0', 'netns', 'a');
  run('host', 'ip', 'link', 'set', 'p-a', 'up');
  for (const words of [
    ['link', 'set', 'lo', 'up'],
    ['link', 'set', 'eth0', 'up'],
    ['address', 'add', '203.0.113.1/24', 'dev', 'eth0'],
  ])
    run('host', 'ip', '-n', 'a', ...words);
  const book = new Book();
  const nodes = {} as Record<NodeName, SiteNode>;
  for (const name of nodeNames) nodes[name] = made.use(await openNode(name, book));
  const opened = made.move();
  return {
    nodes,
    setDistance: (distance) => {
      book.delayMs = distance.delayMs;
      for (const [where, link] of wanEnds) run(where, ...netemWords(link, distance));
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
