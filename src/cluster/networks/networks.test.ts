/*
 * A swarm's networks between a manager and its nodes, in one process over a real store. Who holds an address is read from
 * the store, not from what is believed in memory.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeKey, publicKeyOf } from '../../codec/wireguard/key.ts';
import type { NodeSpec } from '../swarm.ts';
import type { EndpointClaim, SwarmEndpoint } from '../swarmNetworks.ts';
import { EndpointBook } from './endpointBook.ts';
import { type Link, localLink } from './link.ts';
import { always, claimOf, ids, openBook, signed, spec, tiny, turn, World } from './networksWorld.ts';
import type { ChangesPush, SnapshotPart } from './wire.ts';

test('two books on one store: claims at once give each address once, and explicit ones once', async () => {
  await using world = await World.open();
  const { store, clock } = world;
  const id = await world.create('n', 1);
  const other = await openBook(store, clock);
  const books = [new EndpointBook(world.book), new EndpointBook(other)];
  const rows = await Promise.all(
    Array.from({ length: 40 }, (_, i) => books[i % 2]!.claim('a', claimOf(id, `e${i}`), always)),
  );
  assert.equal(new Set(rows.map(({ ipv4 }) => ipv4)).size, 40);
  const wanted = { ipv4: '10.0.1.200' };
  const outcomes = await Promise.allSettled(
    books.map((book, i) => book.claim('a', claimOf(id, `x${i}`, wanted), always)),
  );
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  assert.equal((await world.holders(id)).length, 41);
});

test('two books on one store: networks at once never share a name, a VNI or a subnet', async () => {
  await using world = await World.open();
  const { store, clock } = world;
  const other = await openBook(store, clock);
  const next =
    (name: string) => (around: { readonly networks: readonly { readonly vnis: readonly number[] }[] }) =>
      spec(name, Math.max(...around.networks.flatMap(({ vnis }) => vnis)) - 4095);
  const made = await Promise.allSettled(
    [world.book, other].flatMap((book) => ['a', 'b', 'c'].map((name) => book.create(next(name)))),
  );
  const failures = made.flatMap((one) =>
    one.status === 'rejected' ? (one.reason as { code: string }).code : [],
  );
  assert.deepEqual(failures, ['networkNameTaken', 'networkNameTaken', 'networkNameTaken']);
  const fresh = await openBook(store, clock);
  assert.deepEqual(fresh.networks.map(({ pools }) => pools[0]?.subnet ?? '').sort(), [
    ...['10.0.0.0/24', '10.0.1.0/24', '10.0.2.0/24', '10.0.3.0/24'],
  ]);
  await assert.rejects(
    world.book.create(() => spec('d', 4, { vnis: [4097] })),
    { code: 'networkConflict' },
  );
  await assert.rejects(
    world.book.create(() => spec('d', 3, { vnis: [5000] })),
    { code: 'poolOverlap' },
  );
});

test('a network with endpoints stays; a claim and a removal at once never leave an endpoint without a network', async () => {
  await using world = await World.open();
  const { store, clock } = world;
  for (let i = 1; i <= 5; i += 1) {
    const id = await world.create(`n${i}`, i);
    const other = new EndpointBook(await openBook(store, clock));
    const [claimed, removed] = await Promise.allSettled([
      other.claim('a', claimOf(id, 'e1'), always),
      world.book.remove(id),
    ]);
    assert.ok(
      claimed.status !== removed.status || claimed.status === 'rejected',
      `${claimed.status} ${removed.status}`,
    );
    const { entries } = await store.list(`cluster/networks/${id}`);
    assert.equal(entries.length, removed.status === 'fulfilled' ? 0 : 1);
    assert.equal((await world.holders(id)).length, claimed.status === 'fulfilled' ? 1 : 0);
  }
  const id = await world.create('last', 9);
  await new EndpointBook(world.book).claim('a', claimOf(id, 'e1'), always);
  await assert.rejects(world.book.remove(id), {
    code: 'swarmNetworkInUse',
    message: `rpc error: code = FailedPrecondition desc = network ${id} is in use by task c-e1`,
  });
});

test('an address rests for a minute, by name it may be taken at once, and the longest rested goes first', async () => {
  await using world = await World.open();
  await world.addNode('a');
  const id = await world.create('n', 1, tiny(1));
  const book = new EndpointBook(world.book);
  const claim = async (endpointId: string, more?: Partial<EndpointClaim>): Promise<string | undefined> =>
    (await book.claim('a', claimOf(id, endpointId, more), always)).ipv4;
  const release = (endpointId: string): Promise<void> =>
    book.release('a', [{ networkId: id, endpointId }], always);
  assert.deepEqual([await claim('e1'), await claim('e2')], ['10.0.1.3', '10.0.1.4']);
  await release('e1');
  assert.equal(await claim('e3'), '10.0.1.5');
  await release('e3');
  assert.equal(await claim('e4', { ipv4: '10.0.1.5' }), '10.0.1.5');
  assert.equal(await claim('e5'), '10.0.1.6');
  await world.clock.advance(1000);
  await release('e5');
  await world.openManager();
  const again = new EndpointBook(world.book);
  assert.equal((await again.claim('a', claimOf(id, 'e6'), always)).ipv4, '10.0.1.3');
  assert.equal((await again.claim('a', claimOf(id, 'e7'), always)).ipv4, '10.0.1.6');
  await assert.rejects(again.claim('a', claimOf(id, 'e8'), always), { code: 'addressesExhausted' });
  await again.release('a', [{ networkId: id, endpointId: 'e2' }], always);
  await world.clock.advance(61_000);
  assert.equal((await again.claim('a', claimOf(id, 'e9'), always)).ipv4, '10.0.1.4');
  assert.equal((await world.store.list(`cluster/freed/${id}/`)).entries.length, 0);
});

for (const [ipv4, code] of [
  ['10.0.1.1', 'addressTaken'],
  ['10.0.1.2', 'addressTaken'],
  ['10.0.1.0', 'addressInvalid'],
  ['10.0.1.7', 'addressInvalid'],
  ['10.9.9.9', 'addressInvalid'],
] as const)
  test(`${ipv4} is not given in 10.0.1.0/29: ${code}`, async () => {
    await using world = await World.open();
    const id = await world.create('n', 1, tiny(1));
    await assert.rejects(new EndpointBook(world.book).claim('a', claimOf(id, 'e1', { ipv4 }), always), {
      code,
    });
    assert.deepEqual(await world.holders(id), []);
  });

test('both families or none; the same endpoint again has one effect and keeps its addresses', async () => {
  await using world = await World.open();
  const four = { subnet: '10.0.1.0/24', gateway: '10.0.1.1', ipRange: '10.0.1.128/25', auxAddresses: {} };
  const six = { subnet: 'fd00:1::/126', gateway: 'fd00:1::1', auxAddresses: {} };
  const id = await world.create('n', 1, { hasIpv6: true, pools: [four, six] });
  const book = new EndpointBook(world.book);
  const first = await book.claim('a', claimOf(id, 'e1'), always);
  assert.deepEqual([first.ipv4, first.ipv6], ['10.0.1.128', 'fd00:1::2']);
  assert.deepEqual(await book.claim('a', claimOf(id, 'e1'), always), first);
  const changed = await book.claim('a', claimOf(id, 'e1', { isUp: false, ipv4: '10.0.1.9' }), always);
  assert.deepEqual(
    [changed.ipv4, changed.isUp, changed.revision > first.revision],
    ['10.0.1.128', false, true],
  );
  await book.claim('a', claimOf(id, 'e2'), always);
  await assert.rejects(book.claim('a', claimOf(id, 'e3'), always), { code: 'addressesExhausted' });
  assert.equal((await world.holders(id)).length, 4);
});

test('a node touches its own endpoints alone', async () => {
  await using world = await World.open();
  const [a, b] = [await world.addNode('a'), await world.addNode('b')];
  const id = await world.create('n', 1);
  await a.networks.claim(claimOf(id, 'e1'));
  await assert.rejects(b.networks.claim(claimOf(id, 'e1')), { code: 'nodeRefused' });
  const book = new EndpointBook(world.book);
  await assert.rejects(book.release('b', [claimOf(id, 'e1')], always), { code: 'nodeRefused' });
  assert.deepEqual((await book.amend('b', [claimOf(id, 'e1', { ipv4: '10.0.1.2' })], always)).length, 1);
  assert.deepEqual(await world.holders(id), ['10.0.1.2 e1']);
});

test('a session tells what the node has: the manager drops what it has not, writes what is missing, refuses what is taken', async () => {
  await using world = await World.open();
  const [a, b] = [await world.addNode('a'), await world.addNode('b')];
  const id = await world.create('n', 1);
  await a.networks.claim(claimOf(id, 'old'));
  a.own = [{ ...claimOf(id, 'old'), ipv4: '10.0.1.2' }];
  await world.connect(a);
  await b.networks.claim(claimOf(id, 'theirs', { ipv4: '10.0.1.50' }));
  a.own = [claimOf(id, 'kept', { ipv4: '10.0.1.9' }), claimOf(id, 'late', { ipv4: '10.0.1.50' })];
  await world.connect(a);
  assert.deepEqual(await world.holders(id), ['10.0.1.50 theirs', '10.0.1.9 kept']);
  assert.deepEqual(a.refused, ['late']);
  // What the engine has not written down yet is had all the same, until it is let go of.
  await a.networks.claim(claimOf(id, 'fresh'));
  await world.connect(a);
  assert.deepEqual((await world.holders(id)).length, 3);
  await a.networks.release([claimOf(id, 'fresh')]);
  assert.deepEqual((await world.holders(id)).length, 2);
});

test('a container that starts again while the session is a new one is up for the swarm', async () => {
  await using world = await World.open();
  const a = await world.addNode('a');
  const id = await world.create('n', 1);
  const isUp = (): boolean | undefined => world.book.states.get(id)?.feed.rows.get('e1')?.isUp;
  await a.networks.claim(claimOf(id, 'e1'));
  a.own = [claimOf(id, 'e1', { isUp: false, ipv4: '10.0.1.2' })];
  await world.connect(a);
  assert.equal(isUp(), true, 'claimed in this life, and not yet written down');
  await a.networks.amend(a.own);
  assert.equal(isUp(), false);
  await world.connect(a);
  assert.equal(isUp(), false);

  // A sync that begins while the claim is on its way has read an older record.
  const claiming = a.networks.claim(claimOf(id, 'e1', { ipv4: '10.0.1.2' }));
  const connecting = world.connect(a);
  await Promise.all([claiming, connecting]);
  assert.equal(isUp(), true);
  await world.connect(a);
  assert.equal(isUp(), true);
});

test('an endpoint that has other addresses than its row gets those that it has', async () => {
  await using world = await World.open();
  const a = await world.addNode('a');
  const id = await world.create('n', 1);
  await a.networks.claim(claimOf(id, 'e1'));
  a.own = [claimOf(id, 'e1', { ipv4: '10.0.1.77' })];
  await world.connect(a);
  assert.deepEqual([await world.holders(id), a.refused], [['10.0.1.77 e1'], []]);
});

test('followers have the table of the store, whatever they missed, and hear of each change once', async () => {
  await using world = await World.open();
  const [a, b] = [await world.addNode('a'), await world.addNode('b')];
  const id = await world.create('n', 1);
  const heard: string[] = [];
  b.networks.events.on('peers', ({ isSnapshot, added, removed }) =>
    heard.push(`${isSnapshot ? '=' : ''}${signed('+', added)}${signed('-', removed)}`),
  );
  await a.networks.claim(claimOf(id, 'e1'));
  await b.networks.follow(id);
  await a.networks.claim(claimOf(id, 'e2'));
  await a.networks.claim(claimOf(id, 'down', { isUp: false }));
  await world.settle();
  assert.deepEqual(
    [ids(b.networks.peers(id)), heard],
    [
      ['e1', 'e2'],
      ['=+e1', '+e2'],
    ],
  );
  b.link?.drop();
  await a.networks.amend([claimOf(id, 'e1', { isUp: false })]);
  await a.networks.release([claimOf(id, 'e2')]);
  await a.networks.claim(claimOf(id, 'e3'));
  await world.connect(b);
  assert.deepEqual([ids(b.networks.peers(id)), heard.slice(2)], [['e3'], ['+e3-e1,-e2']]);
  assert.deepEqual(ids(await b.networks.endpoints(id)), ['down', 'e1', 'e3']);
  await world.openManager();
  await world.connect(a);
  await world.connect(b);
  assert.deepEqual([ids(b.networks.peers(id)), heard.slice(3)], [['e3'], ['=+e3']]);
  b.networks.unfollow(id);
  assert.deepEqual(b.networks.peers(id), []);
});

test('many claims within a turn are one message to each follower', async () => {
  await using world = await World.open();
  const [a, b] = [await world.addNode('a'), await world.addNode('b')];
  const id = await world.create('n', 1);
  await b.networks.follow(id);
  let events = 0;
  b.networks.events.on('peers', () => (events += 1));
  const feed = world.book.states.get(id)?.feed;
  const row = await a.networks.claim(claimOf(id, 'e0'));
  await world.settle();
  events = 0;
  for (let i = 1; i <= 50; i += 1)
    feed?.apply({
      revision: row.revision + i,
      put: [{ ...row, endpointId: `e${i}`, revision: row.revision + i }],
      del: [],
    });
  await world.settle();
  assert.deepEqual([events, b.networks.peers(id).length], [1, 51]);
});

/** What a manager sends to who follows a table, over a link that is read by hand. */
class Reader implements Link {
  readonly heard: (SnapshotPart | ChangesPush)[] = [];
  readonly sent: (() => void)[] = [];
  waitingBytes = 0;
  isDropped = false;
  send(text: string | Buffer, sent?: () => void): void {
    this.heard.push(JSON.parse(String(text)) as SnapshotPart | ChangesPush);
    if (sent !== undefined) this.sent.push(sent);
  }
  refuse(): void {}
  drop(): void {
    this.isDropped = true;
  }
  listen(): void {}
}

test('a snapshot goes in parts as it is taken in, and what came meanwhile follows it', async () => {
  await using world = await World.open();
  const id = await world.create('n', 1);
  const feed = world.book.states.get(id)!.feed;
  const row = (i: number): SwarmEndpoint => ({ ...claimOf(id, `e${i}`), nodeId: 'a', revision: 1000 + i });
  feed.apply({ revision: 3499, put: Array.from({ length: 2500 }, (_, i) => row(i)), del: [] });
  const reader = new Reader();
  feed.follow(reader, { epoch: '', revision: 0 });
  assert.equal(reader.heard.length, 1);
  feed.apply({ revision: 4000, put: [], del: ['e7'] });
  while (reader.sent.length > 0) reader.sent.shift()?.();
  const snapshot = reader.heard.filter((one) => one.type === 'snapshot');
  assert.ok(snapshot.length >= 3 && snapshot.every(({ rows }) => rows.length <= 1000));
  assert.equal(snapshot.flatMap(({ rows }) => rows).length, 2500);
  const last = reader.heard.at(-1);
  assert.ok(last?.type === 'changes');
  assert.deepEqual([last.previous, last.del], [3499, [{ endpointId: 'e7', revision: 4000 }]]);
});

test('who comes back gets what he missed while it is remembered, and a snapshot after that; who takes nothing in is cut off', async () => {
  await using world = await World.open();
  const id = await world.create('n', 1);
  const { feed } = world.book.states.get(id)!;
  const { epoch } = world.book;
  const put = (revision: number): void => {
    const row = { ...claimOf(id, `e${revision % 50}`), nodeId: 'a', revision };
    feed.apply({ revision, put: [row], del: [] });
  };
  for (let revision = 100; revision < 200; revision += 1) put(revision);
  const typesFor = (from: { epoch: string; revision: number }): string => {
    const reader = new Reader();
    feed.follow(reader, from)();
    return reader.heard.map(({ type }) => type).join();
  };
  assert.equal(typesFor({ epoch, revision: 150 }), 'changes');
  assert.equal(typesFor({ epoch: 'another', revision: 150 }), 'snapshot');
  assert.equal(typesFor({ epoch, revision: 5000 }), 'snapshot');
  const slow = new Reader();
  feed.follow(slow, { epoch, revision: 150 });
  slow.waitingBytes = 5 << 20;
  for (let revision = 200; revision < 20_000; revision += 1) put(revision);
  assert.equal(typesFor({ epoch, revision: 150 }), 'snapshot');
  await world.settle();
  assert.deepEqual([slow.isDropped, slow.heard.length], [true, 1]);
});

test('an earlier session of a node is refused, what it asked before is not done, and a removed node is free of all', async () => {
  await using world = await World.open();
  const [a, b] = [await world.addNode('a'), await world.addNode('b')];
  const id = await world.create('n', 1);
  const late = a.link!;
  await world.connect(a);
  // The replaced link is written to past the node, as a daemon would that does not know yet.
  const claim = { type: 'call', id: 1, method: 'claim', params: { claim: claimOf(id, 'late') } };
  late.send(JSON.stringify(claim));
  await world.settle();
  assert.deepEqual(await world.holders(id), []);
  await a.networks.claim(claimOf(id, 'e1'));
  await b.networks.claim(claimOf(id, 'e2'));
  await world.roster.remove('a');
  await world.settle();
  assert.deepEqual(await world.holders(id), ['10.0.1.3 e2']);
  assert.equal(b.networks.findNode('a'), undefined);
});

test('nodes that go down are said to be, at once, and those out of touch for a moment are not', async () => {
  await using world = await World.open();
  const [a, b] = [await world.addNode('a'), await world.addNode('b')];
  const changed: string[] = [];
  b.networks.events.on('nodes', (event) => changed.push(...event.changed));
  assert.equal(b.networks.findNode('a')?.vtep, '198.51.100.1');
  world.roster.note(a.id, { state: 'ready', message: '' });
  await world.settle();
  world.roster.note(a.id, { state: 'disconnected', message: '' });
  await world.settle();
  assert.deepEqual([b.networks.findNode('a')?.isDown, changed], [false, ['a']]);
  world.roster.note(a.id, { state: 'down', message: '' });
  await world.settle();
  assert.deepEqual([b.networks.findNode('a')?.isDown, changed], [true, ['a', 'a']]);
});

test('who may relay is told to all: managers, and who has the label', async () => {
  await using world = await World.open();
  const a = await world.addNode('a');
  const b = await world.addNode('b');
  const isRelay = (): boolean => b.networks.findNode(a.id)?.isRelay === true;
  const heard: string[] = [];
  using _listening = b.networks.events.on('nodes', ({ changed }) => heard.push(...changed));
  const change = async (spec: Partial<NodeSpec>): Promise<void> => {
    const record = world.roster.find(a.id)!;
    await world.roster.changeSpec(a.id, record.version, { ...record.spec, ...spec });
    await world.settle();
  };
  assert.equal(isRelay(), false);
  await change({ labels: { 'linkspan.relay': 'false' } });
  assert.equal(isRelay(), false);
  // What it sees is told of a relay alone.
  const sees = async (more: object = {}): Promise<unknown> => {
    const publicKey = publicKeyOf(makeKey());
    const seen = { sees: { b: '203.0.113.1:7' }, ...more };
    a.networks.offerTunnel({ publicKey, mtuBytes: 1500, endpoints: [], ...seen });
    await world.settle();
    return b.networks.findNode(a.id)?.tunnel?.sees;
  };
  assert.equal(await sees(), undefined);
  heard.length = 0;
  await change({ labels: { 'linkspan.relay': 'true' } });
  assert.equal(isRelay(), true);
  assert.deepEqual(heard, ['a']);
  assert.deepEqual(await sees(), { b: '203.0.113.1:7' });
  // Its daemon began again, and has not looked.
  assert.deepEqual(await sees({ sees: undefined }), { b: '203.0.113.1:7' });
  assert.equal(await sees({ sees: {} }), undefined);
  assert.equal(await sees({ sees: undefined }), undefined);
  await sees();
  await change({ labels: {} });
  assert.equal(isRelay(), false);
  await change({ role: 'manager' });
  assert.equal(isRelay(), true);
});

test('a node is told with the address that it is known by, too, where that is one that others know', async () => {
  await using world = await World.open();
  const a = await world.addNode('a');
  const told = async (own: string): Promise<readonly string[] | undefined> => {
    const publicKey = publicKeyOf(makeKey());
    a.networks.offerTunnel({ publicKey, mtuBytes: 1500, endpoints: [own, '10.1.0.3:7'] });
    await world.settle();
    return a.networks.findNode(a.id)?.tunnel?.endpoints;
  };
  // Its record has 192.0.2.1.
  assert.deepEqual(await told('10.1.0.2:7'), ['10.1.0.2:7', '192.0.2.1:7', '10.1.0.3:7']);
  assert.deepEqual(await told('192.0.2.1:7'), ['192.0.2.1:7', '10.1.0.3:7']);
  await world.roster.begin(a.id, { ...world.roster.find(a.id)!, address: '10.9.9.9' });
  await world.connect(a);
  assert.deepEqual(await told('10.1.0.2:7'), ['10.1.0.2:7', '10.1.0.3:7']);
});

test('a call of a later version is answered, and the session goes on', async () => {
  await using world = await World.open();
  await world.addNode('a');
  const record = await world.roster.begin('a', world.roster.find('a')!);
  const heard: unknown[] = [];
  const [own, far] = localLink(turn);
  own.listen({ message: (value) => heard.push(value), end: () => heard.push('end') });
  world.server.accept('a', record?.epoch ?? 0, far);
  own.send('{"type":"call","id":1,"method":"invent","params":{"what":1}}');
  await world.settle();
  assert.deepEqual(heard, [
    {
      ...{ type: 'answer', id: 1 },
      error: { code: 'notImplemented', message: 'this manager is of an earlier version' },
    },
  ]);
});

for (const [what, messages] of [
  ['garbage', ['"x"']],
  ['no id', ['{"type":"call","method":"claim","params":{}}']],
  ['a claim of nothing', ['{"type":"call","id":1,"method":"claim","params":{"claim":{"networkId":"a/b"}}}']],
  [
    'more calls than wait for their answer',
    Array.from({ length: 300 }, (_, i) =>
      JSON.stringify({
        type: 'call',
        id: i,
        method: 'claim',
        params: { claim: claimOf('NETWORK', `e${i}`) },
      }),
    ),
  ],
  ['a flood', Array.from({ length: 20_000 }, () => '{"type":"unfollow","network":"n"}')],
] as const)
  test(`who says ${what} is cut off, and comes back`, async () => {
    await using world = await World.open();
    const a = await world.addNode('a');
    const id = await world.create('n', 1);
    let isOver = false;
    const record = await world.roster.begin('a', world.roster.find('a')!);
    const [own, far] = localLink(turn);
    own.listen({ message: () => {}, end: () => (isOver = true) });
    world.server.accept('a', record?.epoch ?? 0, far);
    own.send('{"type":"of a later version","network":1}');
    await world.settle();
    assert.equal(isOver, false);
    for (const message of messages) own.send(message.replace('NETWORK', id));
    await world.settle();
    assert.equal(isOver, true);
    await world.connect(a);
    await a.networks.claim(claimOf(id, 'e1'));
  });

test('a claim waits for a manager that starts again, and no longer than people wait', async () => {
  await using world = await World.open();
  const a = await world.addNode('a');
  const id = await world.create('n', 1);
  a.link?.drop();
  const waiting = a.networks.claim(claimOf(id, 'e1'));
  await world.clock.advance(1000);
  await world.connect(a);
  assert.equal((await waiting).ipv4, '10.0.1.2');
  a.link?.drop();
  const lost = assert.rejects(a.networks.claim(claimOf(id, 'e2')), { code: 'managerUnreachable' });
  await world.clock.advance(6000);
  await lost;
  await a.networks.release([claimOf(id, 'e1')]);
  assert.equal((await world.holders(id)).length, 1);
  await world.connect(a);
  assert.equal((await world.holders(id)).length, 0);
});
