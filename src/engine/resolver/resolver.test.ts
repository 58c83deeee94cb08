import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { systemClock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import { silentLogger } from '../../base/logger.ts';
import { RepairLog } from '../../base/repairLog.ts';
import type { NamedEndpoint } from '../../dns/names.ts';
import type { DnsEvents } from '../../dns/openDns.ts';
import type { OpenRequest, ResolverPorts } from '../../dns/protocol.ts';
import { planRedirect } from '../../dns/redirect.ts';
import { KernelError } from '../../kernel/kernel.ts';
import { MemoryStore } from '../containers/fakes.ts';
import type { Container, Endpoint, Network } from '../model.ts';
import type { SandboxState } from '../networks/follower.ts';
import { NetworkTable } from '../networks/networkTable.ts';
import { feedNames } from './nameFeed.ts';
import { ResolverFollower } from './resolver.ts';

const none = { dns: [], dnsSearch: [], dnsOptions: [] };

function endpoint(id: string, change: Partial<Endpoint> = {}): Endpoint {
  return {
    ...{ id, networkId: 'n1', containerId: `c-${id}`, containerName: id, state: 'attached' },
    ...{ interfaceName: 'eth0', hostInterfaceName: `veth${id}`, ipv4: '10.0.0.2/24' },
    ...{ defaultRoutes: [4], dnsNames: [id, 'alias'], request: { links: ['db:store', 'F'] } },
    ...change,
  } as unknown as Endpoint;
}

const network = { id: 'n1', name: 'net', driver: 'bridge', pools: [] } as unknown as Network;

function stateOf(change: Partial<Endpoint> = {}, spec: object = {}): SandboxState {
  const container = {
    ...{ id: 'c1', name: 'web', sandbox: { id: 's1', path: '/run/s1' } },
    spec: { ...none, ...spec },
  } as unknown as Container;
  return {
    container,
    sandbox: container.sandbox,
    attachments: [{ endpoint: endpoint('e1', change), network }],
  };
}

/** A follower over fakes; `log` is what it asked of them. `table` = what a listing of the redirect says. */
function newFollower(table?: string): {
  readonly follower: ResolverFollower;
  readonly log: string[];
  readonly opened: OpenRequest[];
  readonly repairs: RepairLog;
  readonly lose: () => void;
  failNft: boolean;
  isServing: boolean;
} {
  const log: string[] = [];
  const opened: OpenRequest[] = [];
  const repairs = new RepairLog(systemClock);
  const lose = (): void => dns.events.emit('lost', { cause: 'of old age' });
  const stand = { log, opened, repairs, lose, failNft: false, isServing: true };
  const dns = {
    events: new Events<DnsEvents>(),
    check: (): Promise<boolean> => Promise.resolve(stand.isServing),
    open: (request: OpenRequest): Promise<ResolverPorts> => {
      opened.push(request);
      log.push(`open ${request.id}`);
      return Promise.resolve(request.wanted ?? { udp: 1001, tcp: 1002 });
    },
    close: (id: string): Promise<void> => {
      log.push(`close ${id}`);
      return Promise.resolve();
    },
  };
  const kernel = {
    nft: (commands: string): Promise<string> => {
      log.push(`nft ${commands.split('\n')[0]}`);
      if (stand.failNft) return Promise.reject(new KernelError('nft', 'EPERM'));
      if (!commands.startsWith('list')) return Promise.resolve('');
      return table === undefined ? Promise.reject(new KernelError('nft', 'ENOENT')) : Promise.resolve(table);
    },
  };
  const logger = silentLogger;
  const deps = { dns, kernel, logger, repairs, defaults: none, resolvConfPath: '/nonexistent' };
  return Object.assign(stand, { follower: new ResolverFollower(deps) });
}

test('a sandbox gets its resolver once, and only on a network with names', async () => {
  const stand = newFollower();
  await stand.follower.apply(stateOf({ dnsNames: [] }));
  assert.deepEqual(stand.log, []);
  await stand.follower.apply(stateOf());
  assert.deepEqual(stand.log, ['open c1', 'nft table ip linkspan-dns {']);
  await stand.follower.apply(stateOf());
  assert.deepEqual(stand.log.slice(2), ['open c1']);
  // It stays when the last such network goes: the container's file names it.
  await stand.follower.apply(stateOf({ dnsNames: [] }));
  assert.deepEqual(stand.opened.at(-1)?.view.networks, []);
  await stand.follower.release(stateOf().container);
  await stand.follower.release(stateOf().container);
  assert.deepEqual(stand.log.slice(4), ['close c1']);
});

test('what a container sees: its networks, its links, its servers', async () => {
  const stand = newFollower();
  await stand.follower.apply(stateOf({}, { dns: ['1.1.1.1'], dnsOptions: ['ndots:2'] }));
  await stand.follower.apply(stateOf({ defaultRoutes: [] }));
  const [first, second] = stand.opened.map(({ view }) => view);
  assert.deepEqual(first, {
    networks: [{ id: 'n1', links: { store: 'db', f: 'f' } }],
    ...{ servers: ['1.1.1.1'], canAskHost: true, hasNdots: true },
  });
  assert.deepEqual([second?.servers, second?.canAskHost, second?.hasNdots], [[], false, false]);
});

test('a redirect that cannot be made leaves nothing open', async () => {
  const stand = newFollower();
  stand.failNft = true;
  await assert.rejects(stand.follower.apply(stateOf()), { code: 'EPERM' });
  assert.equal(stand.log.at(-1), 'close c1');
  stand.failNft = false;
  await stand.follower.apply(stateOf());
  assert.equal(stand.log.at(-1), 'nft table ip linkspan-dns {');
});

test('a new daemon takes the ports of the last one, and makes a redirect where it is missing or strange', async () => {
  const same = newFollower(planRedirect({ udp: 7, tcp: 8 }, false));
  await same.follower.adopt([stateOf()]);
  assert.deepEqual(same.log, ['nft list table ip linkspan-dns', 'open c1']);
  assert.deepEqual(same.opened[0]?.wanted, { udp: 7, tcp: 8 });
  const missing = newFollower();
  await missing.follower.adopt([stateOf(), { ...stateOf(), sandbox: undefined }]);
  assert.deepEqual(missing.log.slice(1), ['open c1', 'nft table ip linkspan-dns {']);
  const strange = newFollower('table ip linkspan-dns {\n}');
  await strange.follower.adopt([stateOf({ dnsNames: [] })]);
  assert.deepEqual(strange.log.slice(1), ['open c1', 'nft delete table ip linkspan-dns']);
  const failing = newFollower();
  failing.failNft = true;
  await failing.follower.adopt([stateOf()]);
});

test('the resolvers of a worker that died are opened again on their ports, and that is a repair', async () => {
  const stand = newFollower();
  await stand.follower.apply(stateOf());
  stand.lose();
  await nextTurn();
  assert.deepEqual(stand.opened.at(-1), { ...stand.opened[0], wanted: { udp: 1001, tcp: 1002 } });
  assert.deepEqual(stand.log.slice(2), ['open c1'], 'the redirect is right');
  assert.deepEqual(stand.repairs.counts, { resolver: 1 });
  await stand.follower.release(stateOf().container);
  stand.lose();
  await nextTurn();
  assert.equal(stand.repairs.recent.length, 1, 'there was nothing to open');
});

for (const [name, listing, change, extent, expected] of [
  ['a sound one', planRedirect({ udp: 1001, tcp: 1002 }, false), {}, 'all', [[], ['nft list']]],
  ['a table that is gone', undefined, {}, 'all', [[/was gone/], ['nft list', 'open c1', 'nft table']]],
  [
    'a chain that was flushed',
    planRedirect({ udp: 1001, tcp: 1002 }, false).replaceAll(/.*sport.*\n/g, ''),
    {},
    'all',
    [[/was changed/], ['nft list', 'open c1', 'nft delete']],
  ],
  [
    'a socket that was taken away',
    planRedirect({ udp: 1001, tcp: 1002 }, false),
    { isServing: false },
    'outside',
    [[/sockets/], ['close c1', 'nft list', 'open c1']],
  ],
  ['a table that a container may have deleted itself', undefined, {}, 'outside', [[], []]],
] as const)
  test(`a compare finds ${name}`, async () => {
    const stand = newFollower(listing);
    await stand.follower.apply(stateOf());
    stand.log.length = 0;
    Object.assign(stand, change);
    const causes = await stand.follower.repair(stateOf(), extent);
    const [wanted, log] = expected;
    assert.equal(causes.length, wanted.length, causes.join());
    for (const [i, one] of wanted.entries()) assert.match(causes[i] ?? '', one);
    assert.deepEqual(
      stand.log.map((line) => line.split(' ').slice(0, 2).join(' ')),
      log,
    );
  });

test('the index is told of attached endpoints with names, and of each change', async () => {
  const table = new NetworkTable(new MemoryStore());
  await table.putNetwork(network);
  await table.putEndpoints([endpoint('e1'), endpoint('e2', { state: 'reserved' })]);
  const told: unknown[] = [];
  const dns = {
    events: new Events<DnsEvents>(),
    put: (endpoints: readonly NamedEndpoint[]): unknown =>
      told.push(
        ...endpoints.map(({ id, networkName, names, addresses }) => [id, networkName, names, addresses]),
      ),
    del: (id: string): unknown => told.push(id),
  };
  const feed = feedNames(table, dns);
  assert.deepEqual(told, [['e1', 'net', ['e1', 'alias'], ['10.0.0.2']]]);
  await table.putEndpoints([endpoint('e2', { ipv6: 'fd00::2/64' }), endpoint('e3', { dnsNames: [] })]);
  await table.putEndpoints([endpoint('e1', { state: 'reserved' })]);
  await table.delEndpoints([endpoint('e2', {})]);
  assert.deepEqual(told.slice(1), [['e2', 'net', ['e2', 'alias'], ['10.0.0.2', 'fd00::2']], 'e1', 'e2']);
  await table.putEndpoints([endpoint('e5')]);
  dns.events.emit('lost', { cause: '' });
  assert.deepEqual(told.slice(4), [told[4], told[4]], 'all that has names is told again');
  feed[Symbol.dispose]();
  await table.putEndpoints([endpoint('e4')]);
  dns.events.emit('lost', { cause: '' });
  assert.equal(told.length, 6);
});
