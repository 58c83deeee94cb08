/*
 * Changes of a swarm's root: from record to record, and whether both sides of a TLS session believe each other at each
 * step of it.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { connect, createServer } from 'node:tls';
import { systemClock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import { silentLogger } from '../../base/logger.ts';
import type { NodeRecord, NodeTls, SwarmRecord } from '../membership/records.ts';
import type { Roster, RosterEvents } from '../membership/roster.ts';
import type { SwarmBook, SwarmBookEvents } from '../membership/swarmBook.ts';
import type { NodeRole } from '../swarm.ts';
import { Authority, type KeyPair, requestCertificate } from './authority.ts';
import { finishRotation, rotateRoot } from './rootRotation.ts';
import { TrustKeeper } from './trustKeeper.ts';
import { bundleOf, isConverged, isIssuedBy, issuerAmong, type Trust, trustOf, trustsOf } from './trust.ts';

const clock = systemClock;
const nodeId = 'n'.repeat(25);
const swarmId = 's'.repeat(25);
const none: KeyPair = { certificatePem: '', keyPem: '' };
const now = '2026-01-01T00:00:00Z';

async function newSwarm(): Promise<SwarmRecord> {
  const { keys } = await Authority.create(clock);
  return {
    ...{ id: swarmId, version: 1, createdAt: now, updatedAt: now, root: keys },
    spec: {
      ...{ name: 'default', labels: {}, taskHistoryLimit: 5, snapshotInterval: 10_000, maxSnapshots: 0 },
      ...{ heartbeatMs: 5000, certificateLifeMs: 7_776_000_000, isAutolocked: false },
    },
    secrets: { worker: 'w', manager: 'm' },
    ...{ dataPathPort: 4789, addressPools: [], subnetLength: 24 },
  };
}

const rotated = async (swarm: SwarmRecord, own: KeyPair = none): Promise<SwarmRecord> => ({
  ...swarm,
  ...(await rotateRoot(clock, swarm, { isForced: true, own })),
});

/** What a node has that was certified as the record says. */
async function certified(swarm: SwarmRecord, role: NodeRole): Promise<KeyPair> {
  const { issuer, crossPem } = trustOf(swarm);
  const authority = await Authority.open(clock, issuer, crossPem);
  const { requestPem, keyPem } = await requestCertificate();
  return { certificatePem: await authority.issue(requestPem, { nodeId, swarmId, role }), keyPem };
}

interface Side {
  readonly keys: KeyPair;
  readonly trust: Pick<Trust, 'roots'>;
}

/** True if each believes the other. */
async function meet(server: Side, client: Side): Promise<boolean> {
  const options = ({ keys, trust }: Side) => ({
    ...{ key: keys.keyPem, cert: keys.certificatePem, ca: bundleOf(trust.roots) },
    minVersion: 'TLSv1.3' as const,
  });
  const listening = createServer(
    { ...options(server), requestCert: true, rejectUnauthorized: false },
    (socket) => {
      socket.on('error', () => {});
      socket.end(socket.authorized ? 'welcome' : 'stranger');
    },
  );
  listening.setSecureContext(options(server));
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const { port } = listening.address() as AddressInfo;
  const socket = connect({ host: '127.0.0.1', port, servername: 'swarm-manager', ...options(client) });
  try {
    let heard = '';
    socket.setEncoding('utf8').on('data', (text: string) => (heard += text));
    await once(socket, 'end');
    return heard === 'welcome';
  } catch {
    return false;
  } finally {
    socket.destroy();
    listening.close();
  }
}

test('whoever is at whichever step of a change believes the others; after its end the old root counts no more', async () => {
  const before = await newSwarm();
  const during = await rotated(before);
  const ended = finishRotation(during);
  const steps = { before, during, ended };
  const sides = {} as Record<keyof typeof steps, { manager: Side; worker: Side }>;
  for (const [name, swarm] of Object.entries(steps) as [keyof typeof steps, SwarmRecord][]) {
    const trust = trustOf(swarm);
    sides[name] = {
      manager: { keys: await certified(swarm, 'manager'), trust },
      worker: { keys: await certified(swarm, 'worker'), trust },
    };
  }
  for (const [manager, worker, isGood] of [
    ['before', 'before', true],
    ['before', 'during', true],
    ['during', 'before', true],
    ['during', 'during', true],
    ['during', 'ended', true],
    ['ended', 'during', true],
    ['ended', 'ended', true],
    ['ended', 'before', false],
    ['before', 'ended', false],
  ] as const)
    assert.equal(
      await meet(sides[manager].manager, sides[worker].worker),
      isGood,
      `manager ${manager}, worker ${worker}`,
    );
});

test('a change begins with a new root and ends with it alone, and with other tokens', async () => {
  const before = await newSwarm();
  const during = await rotated(before);
  assert.deepEqual([during.root, during.secrets, during.rootCount], [before.root, before.secrets, 2]);
  const next = during.rotation?.root.certificatePem ?? '';
  assert.match(new X509Certificate(next).subject, /^CN=swarm-ca g2$/);
  assert.equal(isIssuedBy(during.rotation?.crossPem ?? '', before.root.certificatePem), true);
  const ended = finishRotation(during);
  assert.deepEqual([ended.root, ended.rotation], [during.rotation?.root, undefined]);
  assert.notEqual(ended.secrets.worker, before.secrets.worker);
  assert.equal(finishRotation(ended), ended);
  assert.equal(await rotateRoot(clock, ended, { isForced: false, own: none }), ended);
});

test('a change within a change begins anew from the root that counts', async () => {
  const before = await newSwarm();
  const first = await rotated(before);
  const second = await rotated(first);
  assert.equal(second.root, before.root);
  assert.match(new X509Certificate(second.rotation?.root.certificatePem ?? '').subject, /g3$/);
  const [old, dropped, latest] = [before, first, second].map((swarm) => ({ swarm, trust: trustOf(swarm) }));
  assert.ok(old !== undefined && dropped !== undefined && latest !== undefined);
  const worker = { keys: await certified(dropped.swarm, 'worker'), trust: dropped.trust };
  const manager = { keys: await certified(latest.swarm, 'manager'), trust: latest.trust };
  assert.equal(await meet(manager, worker), true, 'one of the root that was dropped');
  assert.equal(issuerAmong(latest.trust.roots, worker.keys.certificatePem), '');
});

test('it ends when each node shows the new root and trusts both', async () => {
  const during = await rotated(await newSwarm());
  const trust = trustOf(during);
  const node = (tls?: NodeRecord['tls']): NodeRecord => ({ ...(tls && { tls }) }) as NodeRecord;
  const good = node({ issuer: trust.wanted.issuer, trusts: trustsOf(bundleOf(trust.roots)) });
  assert.equal(isConverged([good, good], trust), true);
  assert.equal(isConverged([good, node()], trust), false);
  assert.equal(isConverged([good, node({ ...trust.wanted, issuer: '' })], trust), false);
  const onlyOld = { ...trust.wanted, trusts: trustsOf(during.root.certificatePem) };
  assert.equal(isConverged([good, node(onlyOld)], trust), false);
});

test('a root of the user’s own is taken; the one of before takes it back; others are refused', async () => {
  const swarm = await newSwarm();
  const own = (await Authority.create(clock, 77)).keys;
  const during = await rotated(swarm, own);
  assert.deepEqual([during.rotation?.root.certificatePem, during.rootCount], [own.certificatePem, 2]);
  assert.equal((await rotateRoot(clock, during, { isForced: false, own: swarm.root })).rotation, undefined);
  assert.equal(await rotateRoot(clock, during, { isForced: false, own }), during);
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const other = (await Authority.create(clock, 78)).keys;
  const leaf = await certified(swarm, 'manager');
  for (const [wish, code, message] of [
    [{ ...own, certificatePem: '' }, 'requestInvalid', /the signing CA cert must also be provided/],
    [{ ...own, keyPem: '' }, 'requestInvalid', /at least one valid, reachable external CA/],
    [{ ...own, keyPem: other.keyPem }, 'requestInvalid', /do not match/],
    [{ ...own, keyPem: 'rubbish' }, 'requestInvalid', /could not parse/],
    [{ ...own, keyPem: rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }) }, 'requestInvalid', /match/],
    [
      { ...own, certificatePem: bundleOf([own.certificatePem, other.certificatePem]) },
      'requestInvalid',
      /multiple/,
    ],
    [leaf, 'requestInvalid', /not one of a certificate authority/],
    [(await Authority.create(clock, 1)).keys, 'requestInvalid', /another subject/],
  ] as const)
    await assert.rejects(rotateRoot(clock, swarm, { isForced: false, own: wish }), { code, message });
});

test('a manager that cannot store its new certificate tries again, and ends nothing before', async () => {
  const before = await newSwarm();
  const during = await rotated(before);
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const record = {
    swarm: before,
    events: new Events<SwarmBookEvents>(),
    change: (change: (swarm: SwarmRecord) => SwarmRecord) =>
      Promise.resolve().then(() => {
        record.swarm = change(record.swarm);
        end();
        return record.swarm;
      }),
  };
  const node = { id: nodeId } as NodeRecord;
  const roster = {
    nodes: [node],
    events: new Events<RosterEvents>(),
    find: () => roster.nodes[0],
    noteTls: (_id: string, tls: NodeTls) => {
      roster.nodes = [{ ...node, tls }];
      roster.events.emit('changed', { before: undefined, after: node });
      return Promise.resolve();
    },
  };
  const saved: string[] = [];
  let failures = 2;
  let told = 0;
  using keeper = await TrustKeeper.open(
    {
      ...{ record: record as unknown as SwarmBook, roster: roster as unknown as Roster },
      clock: { ...systemClock, sleep: () => Promise.resolve() },
      ...{ logger: silentLogger, nodeId },
      certify: async () => await certified(during, 'manager'),
      show: () => {},
      save: ({ keys }) => {
        assert.equal(record.swarm, during, 'the old root counts as long as it is needed');
        if (failures-- > 0) return Promise.reject(new Error('the disk is full'));
        saved.push(keys.certificatePem);
        return Promise.resolve();
      },
      tell: () => (told += 1),
    },
    { keys: await certified(before, 'manager'), rootPem: before.root.certificatePem },
  );
  keeper.start();
  record.swarm = during;
  record.events.emit('changed', { before, after: during });
  await ended;
  assert.deepEqual(record.swarm.root, during.rotation?.root);
  assert.deepEqual([saved.length, told], [1, 1], 'nodes are told once');
  assert.equal(isIssuedBy(saved[0] ?? '', record.swarm.root.certificatePem), true);
});
