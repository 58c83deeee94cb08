import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeMessage, encodeMessage, type Message, rcode, recordType } from '../codec/dns/message.ts';
import { encodeName, readName } from '../codec/dns/name.ts';
import { withId } from '../codec/dns/query.ts';
import { formatIp, ipFromBytes, parseIp } from '../net/ip.ts';
import { type Exchange, Forwarder, forwardLimits } from './forwarder.ts';
import { LatencyCount } from './latencies.ts';
import type { SandboxView } from './localAnswer.ts';
import { NameIndex, pointerName } from './names.ts';
import { SandboxResolver } from './resolver.ts';

const { a, aaaa, ptr, mx, txt, any, srv } = recordType;

function ask(name: string, type: number, change: Partial<Message> = {}): Uint8Array {
  const empty = { answers: [], authorities: [], additionals: [] };
  return encodeMessage(
    { id: 5, flags: 0x100, questions: [{ name, type, class: 1 }], ...empty, ...change },
    65535,
  );
}

/** `10.0.0.1`, `web.n1` or a code's name when there is no data. */
function textOf(bytes: Uint8Array): readonly string[] | string {
  const { flags, answers } = decodeMessage(bytes);
  const code = flags & 0xf;
  if (answers.length === 0)
    return Object.entries(rcode).find(([, value]) => value === code)?.[0] ?? String(code);
  return answers.map(({ type, data }) =>
    type === ptr
      ? readName(Uint8Array.from([...new Uint8Array(12), ...data]), 12).name
      : formatIp(ipFromBytes(data)),
  );
}

const index = new NameIndex();
const endpoint = (
  id: string,
  network: string,
  names: readonly string[],
  ...addresses: readonly string[]
): Parameters<NameIndex['put']>[0] => ({ id, network, networkName: `Net${network}`, names, addresses });
index.put(endpoint('e1', '1', ['web', 'www', 'abcdef012345', 'Front.End'], '10.0.0.1'));
index.put(endpoint('e2', '1', ['db', 'www'], '10.0.0.2', 'fd00::2'));
index.put(endpoint('e3', '2', ['web', 'cache'], '10.1.0.3'));

const onBoth: SandboxView = {
  networks: [
    { id: '1', links: { store: 'db' } },
    { id: '2', links: {} },
  ],
  servers: ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4'],
  canAskHost: true,
  hasNdots: false,
};

interface Sent {
  readonly address: string;
  readonly namespace: string | undefined;
  readonly transport: string;
  readonly id: number;
}

/** A resolver whose upstream servers are `respond`; what they were asked is in `sent`. */
function newResolver(
  respond: (address: string, bytes: Uint8Array, transport: string) => Uint8Array | Promise<Uint8Array>,
  view: SandboxView = onBoth,
): { readonly resolver: SandboxResolver; readonly sent: Sent[] } {
  const sent: Sent[] = [];
  let lastId = 1000;
  const exchange: Exchange = async ({ upstream, bytes, id, transport }) => {
    sent.push({ ...upstream, transport, id });
    return await respond(upstream.address, bytes, transport);
  };
  const resolver = new SandboxResolver(
    {
      index,
      forwarder: new Forwarder({ exchange, randomId: () => ++lastId }),
      hostServers: () => ['127.0.0.53'],
      random: () => 0.999,
      counts: { own: 0, forwarded: 0, dropped: 0 },
      latencies: { own: new LatencyCount(), forwarded: new LatencyCount() },
      nowMs: () => 0,
    },
    '/run/netns/x',
    view,
  );
  return { resolver, sent };
}

const unreachable = (): never => {
  throw new Error('unreachable');
};

/** What a server answers: the question with a code and one address, unless told. */
function reply(bytes: Uint8Array, code: number = rcode.noError, address = '198.51.100.9'): Uint8Array {
  const message = decodeMessage(bytes);
  const [question] = message.questions;
  assert.ok(question);
  const ip = parseIp(address);
  assert.ok(ip);
  const data = Uint8Array.from(address.split('.').map(Number));
  const answers = code === rcode.noError && question.type === a ? [{ ...question, ttlS: 30, data }] : [];
  return encodeMessage({ ...message, flags: 0x8180 | code, answers }, 65535);
}

test('own names are answered as Docker does', () => {
  const { resolver, sent } = newResolver(unreachable);
  const table: readonly (readonly [string, number, readonly string[] | string])[] = [
    ['db', a, ['10.0.0.2']],
    ['DB', a, ['10.0.0.2']],
    ['db', aaaa, ['fd00::2']],
    ['www', a, ['10.0.0.1', '10.0.0.2']],
    ['web', a, ['10.0.0.1']],
    ['web.net2', a, ['10.1.0.3']],
    ['web.NET1', a, ['10.0.0.1']],
    ['front.end', a, ['10.0.0.1']],
    ['front.end.net1', a, ['10.0.0.1']],
    ['abcdef012345', a, ['10.0.0.1']],
    ['cache', aaaa, 'noError'],
    ['web', aaaa, 'noError'],
    ['cache.net2', a, ['10.1.0.3']],
    ['store', a, ['10.0.0.2']],
    ['store.net1', a, ['10.0.0.2']],
    ['web', mx, 'noError'],
    ['web', txt, 'noError'],
    ['db', any, ['10.0.0.2', 'fd00::2']],
    ['1.0.0.10.in-addr.arpa', ptr, ['web.Net1']],
    ['3.0.1.10.in-addr.arpa', ptr, ['web.Net2']],
    [pointerName({ family: 6, bits: 0xfd00_0000_0000_0000_0000_0000_0000_0002n }), ptr, ['db.Net1']],
  ];
  for (const [name, type, expected] of table) {
    const answer = resolver.serve(ask(name, type), 'udp');
    assert.ok(answer instanceof Uint8Array, name);
    assert.deepEqual(textOf(answer), expected, `${name} ${type}`);
  }
  assert.deepEqual(sent, []);
});

test('own answers live 600 s and come in every order', () => {
  const { resolver } = newResolver(unreachable);
  const answer = resolver.serve(ask('www', a), 'udp');
  assert.ok(answer instanceof Uint8Array);
  assert.deepEqual(
    decodeMessage(answer).answers.map(({ ttlS }) => ttlS),
    [600, 600],
  );
  const other = new SandboxResolver(
    {
      index,
      forwarder: new Forwarder({ exchange: unreachable, randomId: () => 0 }),
      hostServers: () => [],
      random: () => 0,
      counts: { own: 0, forwarded: 0, dropped: 0 },
      latencies: { own: new LatencyCount(), forwarded: new LatencyCount() },
      nowMs: () => 0,
    },
    '',
    onBoth,
  );
  const turned = other.serve(ask('www', a), 'udp');
  assert.ok(turned instanceof Uint8Array);
  assert.deepEqual(textOf(turned), ['10.0.0.2', '10.0.0.1']);
});

test('what is not ours goes to the servers of --dns, from the container, under an id that we draw', async () => {
  const { resolver, sent } = newResolver((_, bytes) => reply(bytes));
  for (const [name, type] of [
    ['example.org', a],
    ['www.net3', a],
    ['9.0.0.10.in-addr.arpa', ptr],
    ['_http._tcp.web', srv],
  ] as const) {
    const answer = await resolver.serve(ask(name, type, { flags: 0x110 }), 'udp');
    assert.equal(decodeMessage(answer ?? new Uint8Array(0)).id, 5, name);
  }
  assert.deepEqual(
    sent.map(({ address, namespace, id }) => [address, namespace, id]),
    [1001, 1002, 1003, 1004].map((id) => ['192.0.2.1', '/run/netns/x', id]),
  );
});

test('the next server is asked after silence, SERVFAIL and REFUSED, and no more than three', async () => {
  const codes: Readonly<Record<string, number>> = {
    '192.0.2.2': rcode.serverFailure,
    '192.0.2.3': rcode.refused,
  };
  const { resolver, sent } = newResolver((address, bytes) => {
    const code = codes[address];
    return code === undefined ? unreachable() : reply(bytes, code);
  });
  assert.equal(textOf((await resolver.serve(ask('a.b', a), 'udp')) ?? new Uint8Array(0)), 'serverFailure');
  assert.deepEqual(
    sent.map(({ address }) => address),
    ['192.0.2.1', '192.0.2.2', '192.0.2.3'],
  );
  const second = newResolver((address, bytes) =>
    address === '192.0.2.1' ? unreachable() : reply(bytes, rcode.nameError),
  );
  assert.equal(textOf((await second.resolver.serve(ask('a.b', a), 'udp')) ?? new Uint8Array(0)), 'nameError');
  assert.equal(second.sent.length, 2);
});

test('the host\u2019s servers are asked from the host, and not at all for a container without a way out', async () => {
  const host = newResolver((_, bytes) => reply(bytes), { ...onBoth, servers: [] });
  assert.deepEqual(textOf((await host.resolver.serve(ask('a.b', a), 'udp')) ?? new Uint8Array(0)), [
    '198.51.100.9',
  ]);
  assert.deepEqual(
    host.sent.map(({ address, namespace }) => [address, namespace]),
    [['127.0.0.53', undefined]],
  );
  const internal = newResolver(unreachable, { ...onBoth, servers: [], canAskHost: false });
  const answer = internal.resolver.serve(ask('a.b', a), 'udp');
  assert.ok(answer instanceof Uint8Array);
  assert.equal(textOf(answer), 'serverFailure');
});

test('with ndots set single labels go nowhere', () => {
  const { resolver, sent } = newResolver(unreachable, { ...onBoth, hasNdots: true });
  for (const [name, type] of [
    ['nope', a],
    ['nope', aaaa],
  ] as const) {
    const answer = resolver.serve(ask(name, type), 'udp');
    assert.ok(answer instanceof Uint8Array);
    assert.equal(textOf(answer), 'noError');
  }
  assert.deepEqual(sent, []);
});

test('over TCP a cut answer is asked for again over TCP; over UDP the asker is told', async () => {
  const cut = (bytes: Uint8Array): Uint8Array =>
    encodeMessage({ ...decodeMessage(bytes), flags: 0x8380 }, 512);
  const respond = (_: string, bytes: Uint8Array, transport: string): Uint8Array =>
    transport === 'udp' ? cut(bytes) : reply(bytes);
  const tcp = newResolver(respond);
  assert.deepEqual(textOf((await tcp.resolver.serve(ask('a.b', a), 'tcp')) ?? new Uint8Array(0)), [
    '198.51.100.9',
  ]);
  assert.deepEqual(
    tcp.sent.map(({ transport }) => transport),
    ['udp', 'tcp'],
  );
  const udp = newResolver(respond);
  const told = decodeMessage((await udp.resolver.serve(ask('a.b', a), 'udp')) ?? new Uint8Array(0));
  assert.notEqual(told.flags & 0x200, 0);
  assert.equal(udp.sent.length, 1);
});

test('one container has 1024 questions open at most; own names are answered meanwhile', async () => {
  const gate = Promise.withResolvers<void>();
  const { resolver } = newResolver(async (_, bytes) => {
    await gate.promise;
    return reply(bytes);
  });
  const waiting = Array.from({ length: forwardLimits.perSandbox }, () =>
    resolver.serve(ask('a.b', a), 'udp'),
  );
  assert.equal(textOf((await resolver.serve(ask('a.b', a), 'udp')) ?? new Uint8Array(0)), 'refused');
  const own = resolver.serve(ask('db', a), 'udp');
  assert.ok(own instanceof Uint8Array);
  gate.resolve();
  for (const answer of await Promise.all(waiting.map(async (outcome) => await outcome)))
    assert.deepEqual(textOf(answer ?? new Uint8Array(0)), ['198.51.100.9']);
  assert.deepEqual(textOf((await resolver.serve(ask('a.b', a), 'udp')) ?? new Uint8Array(0)), [
    '198.51.100.9',
  ]);
});

test('a long answer is cut to what the asker takes over UDP', async () => {
  const many = (bytes: Uint8Array): Uint8Array => {
    const message = decodeMessage(bytes);
    const [question] = message.questions;
    assert.ok(question);
    const data = encodeName('x'.repeat(60));
    const answers = Array.from({ length: 100 }, () => ({ ...question, type: 16, ttlS: 1, data }));
    return encodeMessage({ ...message, flags: 0x8180, answers }, 65535);
  };
  const { resolver } = newResolver((_, bytes) => many(bytes));
  const edns = { udpBytes: 1400, version: 0, rcodeHigh: 0, isDnssecOk: false, options: new Uint8Array(0) };
  const lengthOf = async (bytes: Uint8Array, transport: 'udp' | 'tcp'): Promise<number> =>
    ((await resolver.serve(bytes, transport)) ?? new Uint8Array(0)).length;
  const [plain, larger, whole] = await Promise.all([
    lengthOf(ask('a.b', txt), 'udp'),
    lengthOf(ask('a.b', txt, { edns }), 'udp'),
    lengthOf(ask('a.b', txt), 'tcp'),
  ]);
  assert.ok(plain <= 512 && larger > 512 && larger <= 1400 && whole > 6000, `${plain} ${larger} ${whole}`);
});

test('no request makes the resolver throw or answer more than is allowed', () => {
  const { resolver } = newResolver((_, bytes) => withId(bytes, 0));
  const mutated = fc
    .tuple(
      fc.constantFrom('www', 'web.net1', 'a.b'),
      fc.constantFrom(a, aaaa, ptr, any),
      fc.array(fc.tuple(fc.nat(40), fc.nat(255)), { maxLength: 3 }),
    )
    .map(([name, type, changes]) => {
      const bytes = ask(name, type);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), mutated), (bytes) => {
      const answer = resolver.serve(bytes, 'udp');
      if (answer instanceof Uint8Array) assert.ok(answer.length <= Math.max(512, bytes.length));
    }),
    { numRuns: 1000 },
  );
});

test('the index follows endpoints that change and go', () => {
  const names = new NameIndex();
  const find = (network: string, name: string): readonly string[] =>
    (names.find(network, name)?.v4 ?? []).map((bytes) => formatIp(ipFromBytes(bytes)));
  names.put(endpoint('e1', '1', ['old', 'both'], '10.0.0.1'));
  names.put(endpoint('e2', '1', ['two', 'both'], '10.0.0.2'));
  names.put(endpoint('e1', '1', ['new', 'both'], '10.0.0.1'));
  assert.deepEqual(
    [find('1', 'old'), find('1', 'new'), find('1', 'both')],
    [[], ['10.0.0.1'], ['10.0.0.2', '10.0.0.1']],
  );
  assert.deepEqual(names.findPointer('1', '1.0.0.10.in-addr.arpa'), encodeName('new.Net1'));
  names.del('e1');
  names.del('e1');
  assert.deepEqual([find('1', 'new'), find('1', 'both'), names.size], [[], ['10.0.0.2'], 1]);
  assert.equal(names.findPointer('1', '1.0.0.10.in-addr.arpa'), undefined);
  names.put(endpoint('e3', '1', ['', 'a..b', 'x'.repeat(64), 'ok.'], '10.0.0.3'));
  assert.deepEqual(find('1', 'ok'), ['10.0.0.3']);
  names.del('e2');
  names.del('e3');
  assert.equal(names.networkName('1'), undefined);
});
