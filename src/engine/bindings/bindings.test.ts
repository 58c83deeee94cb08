import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Publishing } from '../../drivers/interface.ts';
import { type Ip, parseIp } from '../../net/ip.ts';
import { parsePrefix } from '../../net/prefix.ts';
import type { Binding, Endpoint, EndpointId, PortRequest } from '../model.ts';
import { type Doors, ephemeralPorts, planBindings, planWants, settledPorts } from './bindingPlan.ts';
import { PortTable } from './portTable.ts';
import { changeRequests, expandRequests, mergeRequests } from './requests.ts';
import { type PortKernel, Settler } from './settler.ts';

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed);
  return parsed;
}

const nat: Publishing = {
  modes: { 4: 'nat', 6: 'nat' },
  bindingAddress: undefined,
  sources: [],
  trustedLinks: [],
};
const endpoint = { id: 'e1' as EndpointId } as Endpoint;
const four = (publishing = nat): Doors => ({ 4: { endpoint, publishing, target: ip('172.18.0.2') } });
const both = (publishing = nat): Doors => ({
  ...four(publishing),
  6: { endpoint, publishing, target: ip('fd00::2') },
});

function request(change: Partial<PortRequest> = {}): PortRequest {
  return { proto: 'tcp', port: 80, count: 1, hostIp: '', sources: [], ...change };
}
const exact = (first: number, count = 1): Partial<PortRequest> => ({
  count,
  hostPorts: { first, last: first + count - 1 },
});

/** A host of which some ports are taken, and what is held on it. */
class FakeHost {
  readonly held = new Set<string>();
  readonly busy = new Set<string>();
  calls = 0;
  readonly kernel: PortKernel = {
    getSysctl: (key) => Promise.resolve(key.endsWith('range') ? '32768\t32775' : '32769,32771-32772'),
    holdPorts: (ports) => {
      this.calls += 1;
      const refused = ports.find(({ proto, port }) => this.busy.has(`${port}/${proto}`));
      if (refused !== undefined) return Promise.resolve({ port: refused, code: 'EADDRINUSE' });
      for (const {
        proto,
        ip: { family },
        port,
      } of ports)
        this.held.add(`${family} ${port}/${proto}`);
      return Promise.resolve(undefined);
    },
    releasePorts: (ports) => {
      for (const {
        proto,
        ip: { family },
        port,
      } of ports)
        this.held.delete(`${family} ${port}/${proto}`);
      return Promise.resolve();
    },
  };
}

async function settle(
  host: FakeHost,
  table: PortTable,
  requests: readonly PortRequest[],
  doors: Doors = four(),
): Promise<readonly string[]> {
  const settled = await new Settler(table, host.kernel).settle(planWants(requests, doors));
  return planBindings(settled, doors).map(textOf);
}

const textOf = ({ proto, port, count, hostIp, hostPort }: Binding): string =>
  `${hostIp} ${hostPort} -> ${port}/${proto}${count > 1 ? ` x${count}` : ''}`;

for (const [name, requests, doors, expected] of [
  ['every address', [request(exact(8080))], both(), ['0.0.0.0 8080 -> 80/tcp', ':: 8080 -> 80/tcp']],
  ['an IPv4-only container', [request(exact(8080))], four(), ['0.0.0.0 8080 -> 80/tcp']],
  ['one address', [request({ ...exact(8080), hostIp: '127.0.0.1' })], both(), ['127.0.0.1 8080 -> 80/tcp']],
  [
    'one IPv6 address, written long',
    [request({ ...exact(8080), hostIp: '0:0::1' })],
    both(),
    ['::1 8080 -> 80/tcp'],
  ],
  [
    'the network’s binding address, which is one family’s',
    [request(exact(8080))],
    both({ ...nat, bindingAddress: ip('192.0.2.1') }),
    ['192.0.2.1 8080 -> 80/tcp'],
  ],
  [
    'a run of a thousand',
    [request({ ...exact(9000, 1000), port: 9100, proto: 'udp' })],
    four(),
    ['0.0.0.0 9000 -> 9100/udp x1000'],
  ],
  [
    'routed needs no host port',
    [request(exact(8080)), request({ port: 443 })],
    four({ ...nat, modes: { 4: 'routed', 6: 'nat' } }),
    ['0.0.0.0 0 -> 80/tcp', '0.0.0.0 0 -> 443/tcp'],
  ],
  [
    'IPv4 routed and IPv6 translated',
    [request(exact(8080))],
    both({ ...nat, modes: { 4: 'routed', 6: 'nat' } }),
    ['0.0.0.0 0 -> 80/tcp', ':: 8080 -> 80/tcp'],
  ],
  ['no way in', [request(exact(8080))], {}, []],
] as const) {
  test(`bindings: ${name}`, async () => {
    assert.deepEqual(await settle(new FakeHost(), new PortTable(), requests, doors), expected);
  });
}

test('ephemeral ports come from the kernel’s range without what it reserves, each the next after the last', async () => {
  const host = new FakeHost();
  const table = new PortTable();
  host.busy.add('32773/tcp');
  assert.deepEqual(await settle(host, table, [request(), request({ port: 81 })], both()), [
    '0.0.0.0 32768 -> 80/tcp',
    '0.0.0.0 32770 -> 81/tcp',
    ':: 32768 -> 80/tcp',
    ':: 32770 -> 81/tcp',
  ]);
  assert.deepEqual(await settle(host, table, [request()]), ['0.0.0.0 32774 -> 80/tcp']);
  table.release([{ proto: 'tcp', ip: ip('0.0.0.0'), port: 32774 }]);
  assert.deepEqual(await settle(host, table, [request()]), ['0.0.0.0 32775 -> 80/tcp'], 'not at once again');
  assert.deepEqual(await settle(host, table, [request()]), ['0.0.0.0 32774 -> 80/tcp'], 'and around');
  await assert.rejects(settle(host, table, [request()]), {
    code: 'portUnavailable',
    message: 'all ports are allocated',
  });
  assert.deepEqual(await settle(host, table, [request({ proto: 'udp' })]), ['0.0.0.0 32768 -> 80/udp']);
});

test('a host range for one container port is a choice: the first that is free', async () => {
  const host = new FakeHost();
  const table = new PortTable();
  host.busy.add('8001/tcp');
  const choice = request({ hostPorts: { first: 8000, last: 8002 } });
  assert.deepEqual(await settle(host, table, [choice]), ['0.0.0.0 8000 -> 80/tcp']);
  assert.deepEqual(await settle(host, table, [choice]), ['0.0.0.0 8002 -> 80/tcp']);
  await assert.rejects(settle(host, table, [choice]), { message: 'all ports are allocated' });
});

test('exact ports are settled before choices, and choices before ephemeral ones', async () => {
  const wanted = [
    request({ port: 1 }),
    request({ port: 2, hostPorts: { first: 32768, last: 32770 } }),
    request({ port: 3, ...exact(32768) }),
  ];
  assert.deepEqual(await settle(new FakeHost(), new PortTable(), wanted), [
    '0.0.0.0 32770 -> 1/tcp',
    '0.0.0.0 32769 -> 2/tcp',
    '0.0.0.0 32768 -> 3/tcp',
  ]);
});

for (const [name, first, second, message] of [
  ['the same port', {}, {}, 'Bind for 0.0.0.0:8080 failed: port is already allocated'],
  [
    'one address after all',
    {},
    { hostIp: '127.0.0.1' },
    'Bind for 127.0.0.1:8080 failed: port is already allocated',
  ],
  [
    'all addresses after one',
    { hostIp: '127.0.0.1' },
    {},
    'Bind for 0.0.0.0:8080 failed: port is already allocated',
  ],
  ['two addresses', { hostIp: '127.0.0.1' }, { hostIp: '192.0.2.1' }, undefined],
  ['two protocols', {}, { proto: 'udp' }, undefined],
] as const) {
  test(`two containers want ${name}`, async () => {
    const host = new FakeHost();
    const table = new PortTable();
    await settle(host, table, [request({ ...exact(8080), ...first })]);
    const before = host.calls;
    const again = settle(host, table, [request({ ...exact(7000) }), request({ ...exact(8080), ...second })]);
    if (message === undefined) return void (await again);
    await assert.rejects(again, { code: 'portUnavailable', message });
    assert.ok(table.isFree({ proto: 'tcp', ip: ip('0.0.0.0'), port: 7000 }), 'nothing is kept');
    assert.equal(host.calls, before);
  });
}

test('a port that a program of the host has is refused with Docker’s words, and nothing is kept', async () => {
  const host = new FakeHost();
  const table = new PortTable();
  host.busy.add('8081/tcp');
  await assert.rejects(settle(host, table, [request({ ...exact(8080, 2), hostIp: '192.0.2.1' })], both()), {
    message: 'failed to bind host port 192.0.2.1:8081/tcp: address already in use',
  });
  await assert.rejects(settle(host, table, [request({ ...exact(8081), hostIp: '::1' })], both()), {
    message: 'failed to bind host port [::1]:8081/tcp: address already in use',
  });
  assert.deepEqual([...host.held], []);
  assert.ok(table.isFree({ proto: 'tcp', ip: ip('0.0.0.0'), port: 8080 }));
});

test('an address of a family that the container does not have is refused by name', () => {
  assert.throws(() => planWants([request({ ...exact(8080), hostIp: '::' })], four()), {
    code: 'portUnavailable',
    message: 'cannot publish port 80/tcp on ::: the container has no IPv6 connection to the outside',
  });
});

test('what stands is found again by the wish that it satisfies, through every form', async () => {
  const host = new FakeHost();
  const table = new PortTable();
  const requests = [
    request({ port: 1, ...exact(9000, 3) }),
    request({ port: 10 }),
    request({ port: 10 }),
    request({ port: 20, hostPorts: { first: 7000, last: 7010 } }),
    request({ port: 30, ...exact(6000), hostIp: '127.0.0.1' }),
  ];
  const wants = planWants(requests, both());
  const settled = await new Settler(table, host.kernel).settle(wants);
  const kept = settledPorts(planBindings(settled, both()));
  for (const { want, hostPort } of settled) assert.equal(kept.get(want.key), hostPort, want.key);
  assert.equal(kept.size, wants.length);
});

test('the network’s sources hold for ports that name none', async () => {
  const prefix = parsePrefix('10.0.0.0/8');
  assert.ok(prefix);
  const doors = four({ ...nat, sources: [prefix] });
  const wants = planWants([request(exact(1)), request({ ...exact(2), port: 2, sources: ['::/0'] })], doors);
  const settled = await new Settler(new PortTable(), new FakeHost().kernel).settle(wants);
  assert.deepEqual(
    planBindings(settled, doors).map(({ sources }) => sources),
    [['::/0'], ['10.0.0.0/8']],
  );
});

for (const [range, reserved, expected] of [
  ['32768\t32770\n', '', [32768, 32769, 32770]],
  ['10 12', '11\n', [10, 12]],
  ['10 14', '1-10,13-20', [11, 12]],
] as const) {
  test(`ephemeral ports of ${JSON.stringify(range)} without ${JSON.stringify(reserved)}`, () => {
    assert.deepEqual(ephemeralPorts(range, reserved), expected);
  });
}

test('without a range of the kernel’s, ephemeral ports are IANA’s', () => {
  const ports = ephemeralPorts('', '');
  assert.deepEqual([ports[0], ports.at(-1)], [49153, 65535]);
});

test('requests expand to single ports and merge again', () => {
  const requests = [
    request(exact(8080, 5)),
    request({ port: 90, count: 3 }),
    request({ port: 93, hostPorts: { first: 1, last: 2 } }),
  ];
  assert.equal(expandRequests(requests).length, 9);
  assert.deepEqual(mergeRequests(expandRequests(requests)), requests);
});

test('a change takes back by container port, by host port and by address, and refuses what is not there', () => {
  const requests = [request(exact(8080, 3)), request({ ...exact(9000), hostIp: '127.0.0.1' }), request()];
  const standing = [{ proto: 'tcp', port: 80, count: 1, hostPort: 32768 } as Binding];
  const change = (pattern: object): readonly PortRequest[] =>
    changeRequests(requests, { add: [], remove: [{ proto: 'tcp', port: 80, ...pattern }] }, standing);
  assert.deepEqual(change({}), [{ ...request(exact(8081, 2)), port: 81 }]);
  assert.deepEqual(change({ hostPort: 8080 }), [
    { ...request(exact(8081, 2)), port: 81 },
    ...requests.slice(1),
  ]);
  assert.deepEqual(change({ hostIp: '127.0.0.1' }), [requests[0], requests[2]]);
  assert.deepEqual(
    change({ hostPort: 32768 }),
    requests.slice(0, 2),
    'an ephemeral one by the port that it got',
  );
  assert.deepEqual(change({ port: 81 }), [
    request(exact(8080)),
    { ...request(exact(8082)), port: 82 },
    ...requests.slice(1),
  ]);
  assert.throws(() => change({ port: 99 }), {
    code: 'portNotPublished',
    message: 'port 99/tcp is not published',
  });
});
