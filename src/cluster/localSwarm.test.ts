/*
 * Swarms of nodes in one process: real TLS on loopback, a real store each. What Docker refuses is refused, and leaves
 * nothing behind.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openSeam } from '../base/seam.ts';
import { hasCode, LinkspanError } from '../errors/linkspanError.ts';
import { openSqliteStore } from '../store/sqliteStore.ts';
import type { Store } from '../store/store.ts';
import { requestCertificate } from './identity/authority.ts';
import { parseJoinToken } from './identity/joinToken.ts';
import type { LocalSwarm } from './localSwarm.ts';
import { path } from './membership/protocol.ts';
import type { JoinRequest } from './swarm.ts';
import { description, freeAddress, initRequest, openNode, spec } from './swarmStand.ts';
import type { EndpointClaim, SwarmNetworkSpec } from './swarmNetworks.ts';
import type { SwarmStores } from './swarmRecords.ts';

/** A machine: what is on its disk outlives the swarm that is open. */
class Machine implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'linkspan-swarm-'));
  readonly name: string;
  store!: Store;
  swarm!: LocalSwarm;
  own: readonly EndpointClaim[] = [];
  /** Where records of its swarms go, if not into `store`. */
  elsewhere: SwarmStores | undefined;

  constructor(name: string) {
    this.name = name;
  }

  async open(): Promise<this> {
    this.store = await openSqliteStore(join(this.folder, 'state.db'), openSeam());
    this.swarm = await openNode(this.name, this.store, {
      ...(this.elsewhere === undefined ? {} : { elsewhere: this.elsewhere }),
      ownEndpoints: () => this.own,
    });
    this.swarm.start();
    return this;
  }

  async close(): Promise<void> {
    await this.swarm[Symbol.asyncDispose]();
    await this.store[Symbol.asyncDispose]();
  }

  /** Keys of what is stored of a swarm. */
  async records(): Promise<readonly string[]> {
    const all = [
      ...(await this.store.list('swarm/')).entries,
      ...(await this.store.list('cluster/')).entries,
    ];
    return all.map(({ key }) => key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    rmSync(this.folder, { recursive: true });
  }
}

const open = (name: string): Promise<Machine> => new Machine(name).open();

const joinRequest = (token: string, ...remotes: readonly string[]): JoinRequest => ({
  ...{ listen: '127.0.0.1:2377', advertise: '127.0.0.1', dataPath: '', availability: 'active' },
  ...{ remotes, token },
});

interface Pair extends AsyncDisposable {
  readonly manager: Machine;
  readonly worker: Machine;
  readonly address: string;
}

/** A manager, and a machine that is in no swarm. */
async function openPair(): Promise<Pair> {
  const [manager, worker] = [await open('m1'), await open('w1')];
  const address = await freeAddress();
  await manager.swarm.init(initRequest(address));
  return {
    ...{ manager, worker, address },
    [Symbol.asyncDispose]: async () => {
      await worker[Symbol.asyncDispose]();
      await manager[Symbol.asyncDispose]();
    },
  };
}

async function until(what: string, isIt: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i += 1) {
    if (isIt()) return;
    await sleep(10);
  }
  assert.fail(`never: ${what}`);
}

const stateOf = (machine: Machine, hostname: string): string | undefined =>
  machine.swarm.nodes().find((node) => node.hostname === hostname)?.state;

test('init makes a swarm of one manager, once', async () => {
  await using one = await open('m1');
  const address = await freeAddress();
  assert.equal(one.swarm.status().state, 'inactive');
  const id = await one.swarm.init(initRequest(address));
  assert.match(id, /^[0-9a-z]{25}$/);
  const { state, nodeId, isManager, managers, nodeCount, managerCount } = one.swarm.status();
  assert.deepEqual(
    { state, nodeId, isManager, managers, nodeCount, managerCount },
    {
      ...{ state: 'active', nodeId: id, isManager: true, nodeCount: 1, managerCount: 1 },
      managers: [{ nodeId: id, address }],
    },
  );
  const [node] = one.swarm.nodes();
  assert.deepEqual([node?.state, node?.manager], ['ready', { isLeader: true, isReachable: true, address }]);
  const { tokens, dataPathPort, subnetLength, addressPools } = one.swarm.cluster();
  assert.deepEqual([dataPathPort, subnetLength, addressPools], [4789, 24, ['10.0.0.0/8']]);
  assert.notEqual(tokens.worker, tokens.manager);
  await assert.rejects(one.swarm.init(initRequest(address)), { code: 'swarmActive' });
  await assert.rejects(one.swarm.join(joinRequest(tokens.worker, address)), { code: 'swarmActive' });
});

test('a port that is taken, or an address that is none: no swarm, and nothing of it', async () => {
  await using one = await open('m1');
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const taken = `127.0.0.1:${(holder.address() as AddressInfo).port}`;
  await assert.rejects(one.swarm.init(initRequest(taken)), {
    code: 'requestInvalid',
    message: `manager stopped: failed to listen on remote API address: listen tcp ${taken}: bind: address already in use`,
  });
  await assert.rejects(one.swarm.init(initRequest('no such link')), { code: 'requestInvalid' });
  assert.deepEqual(await one.records(), []);
  assert.equal(one.swarm.status().state, 'inactive');
  holder.close();
});

test('a worker joins, is ready, and knows that managers decide', async () => {
  await using pair = await openPair();
  const { manager, worker, address } = pair;
  await worker.swarm.join(joinRequest(manager.swarm.cluster().tokens.worker, address));
  assert.equal(stateOf(manager, 'w1'), 'ready');
  const { state, isManager, managers } = worker.swarm.status();
  assert.deepEqual([state, isManager, managers.map((one) => one.address)], ['active', false, [address]]);
  const { id, engineLabels, spec: own } = manager.swarm.node('w1');
  assert.deepEqual([engineLabels, own.role, id], [{ rack: '7' }, 'worker', worker.swarm.status().nodeId]);
  for (const ref of [id, id.slice(0, 5)]) assert.equal(manager.swarm.node(ref).hostname, 'w1');
  assert.throws(() => worker.swarm.nodes(), { code: 'notManager', message: /Worker nodes can't be used/ });
  assert.throws(() => worker.swarm.cluster(), { code: 'notManager' });
});

test('a token that is wrong lets nobody in, and leaves nothing', async () => {
  await using pair = await openPair();
  const { manager, worker, address } = pair;
  await using other = await openPair();
  const { worker: token } = manager.swarm.cluster().tokens;
  const refused = async (text: string, message: RegExp): Promise<void> => {
    await assert.rejects(worker.swarm.join(joinRequest(text, address)), { code: 'joinRefused', message });
  };
  await refused('rubbish', /^invalid join token$/);
  await refused(token.slice(0, -1), /^invalid join token$/);
  const mistyped = `${token.slice(0, -1)}${token.endsWith('a') ? 'b' : 'a'}`;
  await refused(mistyped, /A valid join token is necessary/);
  await refused(
    other.manager.swarm.cluster().tokens.worker,
    /^remote CA does not match fingerprint\. Expected: [0-9a-f]{64}$/,
  );
  const { version } = manager.swarm.cluster();
  await manager.swarm.update(version, spec, { workerToken: true, managerToken: false, unlockKey: false });
  await refused(token, /A valid join token is necessary/);
  assert.deepEqual(await worker.records(), []);
  assert.equal(manager.swarm.nodes().length, 1);
  await worker.swarm.join(joinRequest(manager.swarm.cluster().tokens.worker, address));
  assert.equal(stateOf(manager, 'w1'), 'ready');
});

test('a manager that cannot come to share a store says why, and is a worker meanwhile', async () => {
  await using pair = await openPair();
  const { manager, worker, address } = pair;
  const { manager: token } = manager.swarm.cluster().tokens;
  await assert.rejects(worker.swarm.join(joinRequest(token, address)), {
    code: 'notImplemented',
    message: 'this daemon cannot run a store',
  });
  const { state, isManager } = worker.swarm.status();
  assert.deepEqual([state, isManager], ['active', false]);
  assert.equal(manager.swarm.nodes().length, 2);
  await worker.swarm.leave(false);
  assert.deepEqual(await worker.records(), []);
});

test('where nobody answers, join says so and leaves nothing; a second address is tried', async () => {
  await using pair = await openPair();
  const { manager, worker, address } = pair;
  const { worker: token } = manager.swarm.cluster().tokens;
  const silent = await freeAddress();
  await assert.rejects(worker.swarm.join(joinRequest(token, silent)), { code: 'joinTimeout' });
  assert.deepEqual(await worker.records(), []);
  await worker.swarm.join(joinRequest(token, silent, address));
  assert.equal(stateOf(manager, 'w1'), 'ready');
});

test('daemons that start again find each other, and the session counts on', async () => {
  await using pair = await openPair();
  const { manager, worker, address } = pair;
  await worker.swarm.join(joinRequest(manager.swarm.cluster().tokens.worker, address));
  const { tokens } = manager.swarm.cluster();
  await worker.close();
  await until('the manager sees it gone', () => stateOf(manager, 'w1') === 'disconnected');
  await worker.open();
  await until('the worker is back', () => stateOf(manager, 'w1') === 'ready');
  await manager.close();
  await manager.open();
  assert.deepEqual(manager.swarm.cluster().tokens, tokens);
  await until('the worker has found the manager', () => stateOf(manager, 'w1') === 'ready');
});

test('leave: a worker is down and can be removed; the last manager only by force', async () => {
  await using pair = await openPair();
  const { manager, worker, address } = pair;
  await worker.swarm.join(joinRequest(manager.swarm.cluster().tokens.worker, address));
  await assert.rejects(manager.swarm.removeNode('w1', false), {
    code: 'nodeInUse',
    message: /is not down and can't be removed$/,
  });
  await assert.rejects(manager.swarm.removeNode('m1', true), {
    code: 'nodeInUse',
    message: /must be demoted/,
  });
  await worker.swarm.leave(false);
  assert.deepEqual([worker.swarm.status().state, await worker.records()], ['inactive', []]);
  await until('it is down', () => stateOf(manager, 'w1') === 'down');
  await manager.swarm.removeNode('w1', false);
  assert.equal(manager.swarm.nodes().length, 1);
  await assert.rejects(worker.swarm.leave(false), { code: 'noSwarmHere' });
  await assert.rejects(manager.swarm.leave(false), {
    code: 'lastManager',
    message: /Removing the last manager/,
  });
  await manager.swarm.leave(true);
  assert.deepEqual([manager.swarm.status().state, await manager.records()], ['inactive', []]);
  await manager.swarm.init(initRequest(address));
});

test('a node that is removed by force loses its session and does not come back', async () => {
  await using pair = await openPair();
  const { manager, worker, address } = pair;
  await worker.swarm.join(joinRequest(manager.swarm.cluster().tokens.worker, address));
  await manager.swarm.removeNode('w1', true);
  await until('it knows', () => worker.swarm.status().state === 'error');
  await worker.close();
  await worker.open();
  await until('it is told again', () => worker.swarm.status().state === 'error');
  assert.equal(manager.swarm.nodes().length, 1);
  await worker.swarm.leave(false);
  await worker.swarm.join(joinRequest(manager.swarm.cluster().tokens.worker, address));
  assert.equal(stateOf(manager, 'w1'), 'ready');
});

test('nodes are changed by version; the last manager stays one', async () => {
  await using pair = await openPair();
  const { manager, worker, address } = pair;
  await worker.swarm.join(joinRequest(manager.swarm.cluster().tokens.worker, address));
  const node = manager.swarm.node('w1');
  const next = { ...node.spec, labels: { zone: 'a' }, availability: 'drain' } as const;
  await manager.swarm.updateNode('w1', node.version, next);
  assert.deepEqual(manager.swarm.node('w1').spec, next);
  await assert.rejects(manager.swarm.updateNode('w1', node.version, next), { code: 'outOfSequence' });
  const own = manager.swarm.node('self');
  await assert.rejects(manager.swarm.updateNode('self', own.version, { ...own.spec, role: 'worker' }), {
    code: 'demotionRefused',
    message: 'rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm',
  });
  assert.throws(() => manager.swarm.node('nobody'), { code: 'nodeNotFound' });
});

/** One request to the port of managers, without a certificate. */
function post(address: string, body: string): Promise<number> {
  const [host = '', port = ''] = address.split(':');
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const options = {
      host,
      port: Number(port),
      path: path.join,
      method: 'POST',
      headers,
      rejectUnauthorized: false,
    };
    const sent = request(options, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

test('the same request to join, sent twice, makes one node', async () => {
  await using pair = await openPair();
  const { manager, address } = pair;
  const { secret } = parseJoinToken(manager.swarm.cluster().tokens.worker) ?? { secret: '' };
  const { requestPem } = await requestCertificate();
  const node = { description: description('w9'), address: '127.0.0.1', availability: 'active' };
  const body = JSON.stringify({ secret, request: requestPem, ...node });
  assert.deepEqual([await post(address, body), await post(address, body)], [200, 200]);
  assert.equal(manager.swarm.nodes().length, 2);
  assert.equal(stateOf(manager, 'w9'), 'down');
});

test('the port takes garbage, floods and half requests without harm', async () => {
  await using pair = await openPair();
  const { manager, worker, address } = pair;
  const [host = '', port = ''] = address.split(':');
  const bodies = ['', '{', '[]', '{"secret":1}', 'null', JSON.stringify({ secret: 'x'.repeat(100_000) })];
  for (const body of bodies) assert.ok((await post(address, body)) >= 400, body.slice(0, 20));
  for (const text of ['GET / HTTP/1.1\r\n\r\n', '\0'.repeat(5000), '\x16\x03\x01\x02\x00\x01garbage']) {
    const socket = connect(Number(port), host, () => socket.end(text));
    socket.on('error', () => {});
    socket.resume();
    await once(socket, 'close');
  }
  await Promise.all(Array.from({ length: 50 }, () => post(address, '{}').catch(() => 0)));
  await worker.swarm.join(joinRequest(manager.swarm.cluster().tokens.worker, address));
  assert.equal(stateOf(manager, 'w1'), 'ready');
});

const overlay = (name: string, n: number): SwarmNetworkSpec => ({
  ...{ name, isInternal: false, isAttachable: true, isIngress: false, hasIpv4: true, hasIpv6: false },
  pools: [{ subnet: `10.0.${n}.0/24`, gateway: `10.0.${n}.1`, auxAddresses: {} }],
  ...{ vnis: [4096 + n], options: {}, labels: {} },
});

const claimOf = (networkId: string, endpointId: string): EndpointClaim => ({
  ...{ networkId, endpointId, containerId: `c-${endpointId}`, containerName: endpointId, isUp: true },
  ...{ mac: '02:00:00:00:00:01', dnsNames: [endpointId] },
});

test('without a swarm there are no networks, and what needs one says so', async () => {
  await using one = await open('m1');
  const { networks } = one.swarm;
  assert.deepEqual([networks.networks, networks.dataPath], [[], undefined]);
  await networks.follow('none');
  assert.deepEqual([networks.peers('none'), await networks.endpoints('none')], [[], []]);
  const message = /Use "docker swarm init" or "docker swarm join"/;
  await assert.rejects(
    networks.createNetwork(() => overlay('a', 1)),
    { code: 'noSwarm', message },
  );
  await assert.rejects(networks.claim(claimOf('none', 'e1')), { code: 'noSwarm', message });
  await networks.release([claimOf('none', 'e1')]);
});

test('networks and endpoints reach the other node, outlive its daemon, and go with its membership', async () => {
  await using pair = await openPair();
  const { manager, worker, address } = pair;
  await worker.swarm.join(joinRequest(manager.swarm.cluster().tokens.worker, address));
  const { networks: here } = manager.swarm;
  const { networks: there } = worker.swarm;
  assert.deepEqual(
    here.networks.map(({ name, vnis, pools }) => [name, vnis, pools[0]?.subnet]),
    [['ingress', [4096], '10.0.0.0/24']],
  );
  const message = /Worker nodes can't be used to view or modify cluster state/;
  await assert.rejects(
    there.createNetwork(() => overlay('a', 1)),
    { code: 'notManager', message },
  );
  const { id } = await here.createNetwork(({ networks, addressPools, subnetLength }) => {
    assert.deepEqual([networks.length, addressPools, subnetLength], [1, ['10.0.0.0/8'], 24]);
    return overlay('a', 1);
  });
  await until('the worker knows it', () => there.networks.some((one) => one.id === id));
  await Promise.all([here.follow(id), there.follow(id)]);
  const row = await there.claim(claimOf(id, 'e1'));
  assert.deepEqual([row.ipv4, row.nodeId], ['10.0.1.2', worker.swarm.status().nodeId]);
  worker.own = [{ ...claimOf(id, 'e1'), ipv4: '10.0.1.2' }];
  await until('the manager sees it', () => here.peers(id)[0]?.ipv4 === '10.0.1.2');
  assert.deepEqual([here.findNode(row.nodeId)?.hostname, there.peers(id)], ['w1', []]);
  assert.equal((await here.claim(claimOf(id, 'e2'))).ipv4, '10.0.1.3');
  manager.own = [{ ...claimOf(id, 'e2'), ipv4: '10.0.1.3' }];
  await until('the worker sees that', () => there.peers(id)[0]?.endpointId === 'e2');
  await assert.rejects(here.removeNetwork(id), { code: 'swarmNetworkInUse' });

  await worker.close();
  await manager.close();
  await worker.open();
  const cached = worker.swarm.networks;
  assert.deepEqual(cached.networks.map(({ name }) => name).sort(), ['a', 'ingress']);
  assert.equal(cached.dataPath?.port, 4789);
  await cached.follow(id);
  assert.deepEqual(
    cached.peers(id).map(({ endpointId }) => endpointId),
    ['e2'],
  );
  await manager.open();
  await until('the worker is back', () => stateOf(manager, 'w1') === 'ready');
  assert.deepEqual(
    (await manager.swarm.networks.endpoints(id)).map(({ endpointId }) => endpointId),
    ['e1', 'e2'],
  );

  const gone: string[] = [];
  cached.events.on('networks', ({ removed }) => gone.push(...removed.map(({ name }) => name)));
  await worker.swarm.leave(false);
  assert.deepEqual([gone.sort(), cached.networks, await worker.records()], [['a', 'ingress'], [], []]);
  await until('it is down', () => manager.swarm.networks.findNode(row.nodeId)?.isDown === true);
  await manager.swarm.removeNode('w1', false);
  await manager.swarm.networks.release(manager.own);
  manager.own = [];
  await until('its endpoints are free', () => manager.swarm.networks.findNode(row.nodeId) === undefined);
  await manager.swarm.networks.removeNetwork(id);
});

/** A store that several swarms share, and that may be away. */
class SharedStore implements SwarmStores {
  readonly store: Store;
  isAway = false;

  constructor(store: Store) {
    this.store = store;
  }

  of(swarmId: string): Store {
    const answer = <T>(work: () => Promise<T>): Promise<T> =>
      this.isAway ? Promise.reject(new LinkspanError('storeUnavailable', 'nobody there')) : work();
    const at = (key: string): string => `${swarmId}/${key}`;
    const { store } = this;
    return {
      get: (key) =>
        answer(async () => {
          const entry = await store.get(at(key));
          return entry === undefined ? undefined : { ...entry, key };
        }),
      sync: () => answer(() => store.sync()),
      list: (prefix) =>
        answer(async () => {
          const { revision, entries } = await store.list(at(prefix));
          return { revision, entries: entries.map((one) => ({ ...one, key: one.key.slice(at('').length) })) };
        }),
      txn: ({ compare = [], write }) =>
        answer(() =>
          store.txn({
            compare: compare.map((one) => ({ ...one, key: at(one.key) })),
            write: write.map((one) => ({ ...one, key: at(one.key) })),
          }),
        ),
      watch: (prefix, hear) =>
        store.watch(at(prefix), ({ put, del, ...rest }) =>
          hear({
            ...rest,
            put: put.map((one) => ({ ...one, key: one.key.slice(at('').length) })),
            del: del.map((key) => key.slice(at('').length)),
          }),
        ),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  async count(): Promise<number> {
    return (await this.store.list('')).entries.length;
  }
}

test('a swarm’s records elsewhere: made there, taken up when it answers, and gone with the last manager', async () => {
  await using disk = await open('etcd');
  const shared = new SharedStore(disk.store);
  await using machine = new Machine('m1');
  machine.elsewhere = shared;
  await machine.open();
  const address = await freeAddress();
  const left = async (): Promise<readonly string[]> => [
    ...(await machine.records()),
    ...(await machine.store.list('swarm-elsewhere/')).entries.map(({ key }) => key),
  ];
  const rejects = (work: Promise<unknown>) => assert.rejects(work, (e) => hasCode(e, 'storeUnavailable'));

  shared.isAway = true;
  await rejects(machine.swarm.init(initRequest(address)));
  assert.equal(machine.swarm.status().state, 'inactive');
  shared.isAway = false;
  const nodeId = await machine.swarm.init(initRequest(address));
  assert.deepEqual(await machine.records(), ['swarm/self']);
  assert.ok((await shared.count()) > 3);
  const { id } = machine.swarm.cluster();

  shared.isAway = true;
  const { spec, version } = machine.swarm.cluster();
  const rotation = { workerToken: true, managerToken: false, unlockKey: false };
  await rejects(machine.swarm.update(version, spec, rotation));
  assert.equal(machine.swarm.nodes().length, 1, 'reads go on');
  await machine.close();
  await machine.open();
  const { state, error } = machine.swarm.status();
  assert.deepEqual([state, error], ['error', 'nobody there']);
  shared.isAway = false;
  await until('taken up', () => machine.swarm.status().state === 'active');
  assert.equal(machine.swarm.status().nodeId, nodeId);
  assert.equal(machine.swarm.cluster().id, id);

  await machine.close();
  machine.elsewhere = undefined;
  await machine.open();
  assert.match(machine.swarm.status().error, /are in etcd: start the daemon with --store/);
  await machine.close();
  machine.elsewhere = shared;
  await machine.open();

  shared.isAway = true;
  await machine.swarm.leave(true);
  assert.equal(machine.swarm.status().state, 'inactive');
  assert.deepEqual(await left(), [`swarm-elsewhere/${id}`]);
  shared.isAway = false;
  // Another swarm begins before the records of the last one are gone.
  await machine.swarm.init(initRequest(address));
  for (let i = 0; i < 500 && (await left()).includes(`swarm-elsewhere/${id}`); i += 1) await sleep(10);
  assert.deepEqual((await left()).length, 2);
  const { entries } = await shared.store.list('');
  assert.ok(entries.every(({ key }) => key.startsWith(`${machine.swarm.cluster().id}/`)));
  await machine.swarm.leave(true);
  assert.deepEqual(await left(), []);
  assert.equal(await shared.count(), 0);
});
