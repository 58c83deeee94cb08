import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIp, type Ip, parseIp } from '../net/ip.ts';
import { containsIp, formatPrefix, overlaps, type Prefix, parsePrefix } from '../net/prefix.ts';
import { AddressPool } from './addressPool.ts';
import { checkPools } from './poolCheck.ts';
import {
  choosePool,
  completeSources,
  defaultPoolSources,
  type PoolSource,
  parsePoolSource,
  uniqueLocalSource,
} from './pools.ts';

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed, text);
  return parsed;
}

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed, text);
  return parsed;
}

test('the default pools give 31 networks, in order, and then none', () => {
  const taken: Prefix[] = [];
  for (;;) {
    const pool = choosePool(defaultPoolSources(), taken);
    if (pool === undefined) break;
    assert.ok(!taken.some((other) => overlaps(other, pool)));
    taken.push(pool);
  }
  const texts = taken.map(formatPrefix);
  assert.equal(texts.length, 31);
  assert.deepEqual(texts.slice(0, 2), ['172.17.0.0/16', '172.18.0.0/16']);
  assert.deepEqual(texts.slice(14, 17), ['172.31.0.0/16', '192.168.0.0/20', '192.168.16.0/20']);
});

test('choosePool takes the lowest gap and steps over on-link routes', () => {
  const taken = ['172.17.0.0/16', '172.18.5.0/24', '172.20.0.0/16'].map(prefix);
  const chosen = choosePool(defaultPoolSources(), taken);
  assert.equal(chosen && formatPrefix(chosen), '172.19.0.0/16');
});

test('parsePoolSource reads dockerd’s form and refuses what cannot be cut', () => {
  assert.deepEqual(parsePoolSource('base=10.10.0.0/16,size=24'), {
    base: prefix('10.10.0.0/16'),
    subnetLength: 24,
  });
  for (const bad of [
    'base=10.10.0.0/16',
    'base=10.10.0.1/16,size=24',
    'base=10.0.0.0/16,size=8',
    'base=10.0.0.0/16,size=31',
    '',
  ])
    assert.equal(parsePoolSource(bad), undefined, bad);
});

for (const [subnet, range, expected] of [
  ['10.0.0.0/29', undefined, ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6']],
  ['10.0.0.0/31', undefined, ['10.0.0.0', '10.0.0.1']],
  ['10.0.0.7/32', undefined, ['10.0.0.7']],
  ['10.77.0.0/24', '10.77.0.252/30', ['10.77.0.252', '10.77.0.253', '10.77.0.254']],
  ['fd00::/126', undefined, ['fd00::1', 'fd00::2', 'fd00::3']],
] as const) {
  test(`a pool of ${subnet}${range === undefined ? '' : ` with range ${range}`} gives each address once`, () => {
    const pool = new AddressPool(prefix(subnet), range === undefined ? undefined : prefix(range));
    const given: string[] = [];
    for (let next = pool.takeLowest(); next !== undefined; next = pool.takeLowest())
      given.push(formatIp(next));
    assert.deepEqual(given, expected);
  });
}

test('an address outside the range may be taken by name, once', () => {
  const pool = new AddressPool(prefix('10.77.0.0/24'), prefix('10.77.0.128/25'));
  assert.ok(pool.take(ip('10.77.0.50')));
  assert.ok(!pool.take(ip('10.77.0.50')));
  assert.ok(!pool.take(ip('10.77.0.0')) && !pool.take(ip('10.77.0.255')) && !pool.take(ip('10.78.0.1')));
  assert.equal(formatIp(pool.takeLowest() ?? ip('::')), '10.77.0.128');
});

test('any history of takes and releases gives the lowest free address, never twice', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant('take' as const), fc.nat(20))), (steps) => {
      const pool = new AddressPool(prefix('10.0.0.0/28'));
      const model = new Set<string>();
      for (const step of steps) {
        if (step === 'take') {
          const free = Array.from({ length: 14 }, (_, i) => `10.0.0.${i + 1}`).find((a) => !model.has(a));
          const got = pool.takeLowest();
          assert.equal(got && formatIp(got), free);
          if (free !== undefined) model.add(free);
        } else {
          const address = `10.0.0.${step}`;
          pool.release(ip(address));
          model.delete(address);
        }
        assert.deepEqual(new Set(pool.taken()), model);
        assert.ok(pool.taken().every((a) => containsIp(pool.subnet, ip(a))));
      }
    }),
  );
});

for (const [pool, problem] of [
  [{ subnet: '10.0.0.1/24' }, 'invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24'],
  [{ subnet: 'x' }, 'invalid subnet x: invalid CIDR block notation'],
  [
    { subnet: '10.0.0.0/24', ipRange: '10.0.0.0/16' },
    'invalid ip-range 10.0.0.0/16: CIDR block is bigger than its parent subnet 10.0.0.0/24',
  ],
  [
    { subnet: '10.0.0.0/24', ipRange: '10.0.1.0/25' },
    "invalid ip-range 10.0.1.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range",
  ],
  [
    { subnet: '10.0.0.0/24', gateway: '10.0.1.1' },
    "invalid gateway 10.0.1.1: parent subnet 10.0.0.0/24 doesn't contain this address",
  ],
  [
    { subnet: '10.0.0.0/24', auxAddresses: { r: '10.0.1.1' } },
    "invalid auxiliary address r: parent subnet 10.0.0.0/24 doesn't contain this address",
  ],
  [
    { subnet: '10.0.0.1/24', gateway: '::1' },
    '* invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24\n* invalid gateway ::1: parent subnet is an IPv4 block',
  ],
] as const) {
  test(`checkPools says: ${problem.split('\n')[0]}`, () =>
    assert.equal(checkPools([pool]).problem, `invalid network config:\n${problem}`));
}

test('checkPools turns good text into values', () => {
  const { wishes, problem } = checkPools([
    {
      subnet: '10.77.0.0/24',
      ipRange: '10.77.0.128/25',
      gateway: '10.77.0.254',
      auxAddresses: { r: '10.77.0.129' },
    },
    {},
  ]);
  assert.equal(problem, undefined);
  assert.equal(formatIp(wishes[0]?.gateway ?? ip('::')), '10.77.0.254');
  assert.equal(wishes[1]?.subnet, undefined);
});

test('each daemon has its own unique local /48, always the same, cut into /64s', () => {
  const { base, subnetLength } = uniqueLocalSource('one');
  assert.match(formatPrefix(base), /^fd[0-9a-f]{2}(:[0-9a-f]{1,4}){2}::\/48$/);
  assert.equal(subnetLength, 64);
  assert.deepEqual(uniqueLocalSource('one').base, base);
  assert.notDeepEqual(uniqueLocalSource('two').base, base);
});

test('choosePool takes subnets of the family that is wanted, clear of those taken', () => {
  const sources = completeSources([], 'one');
  const first = choosePool(sources, [], 6);
  assert.ok(first);
  const second = choosePool(sources, [first], 6);
  assert.ok(second);
  assert.equal(second.base.bits - first.base.bits, 1n << 64n);
  assert.equal(formatPrefix(choosePool(sources, [first]) ?? first), '172.17.0.0/16');
});

test('what is configured for one family leaves the other its defaults', () => {
  const [six, four] = ['base=fd00:5::/48,size=64', 'base=10.5.0.0/16,size=24'].map(parsePoolSource);
  assert.ok(six && four);
  const chosen = (sources: readonly PoolSource[], family: 4 | 6): string =>
    formatPrefix(choosePool(completeSources(sources, 'one'), [], family) ?? six.base);
  assert.equal(chosen([six], 4), '172.17.0.0/16');
  assert.equal(chosen([six], 6), 'fd00:5::/64');
  assert.equal(chosen([four], 4), '10.5.0.0/24');
  assert.match(chosen([four], 6), /^fd/);
});

test('a /64 gives addresses at once, lowest first, without its anycast address', () => {
  const subnet = parsePrefix('fd00::/64');
  assert.ok(subnet);
  const pool = new AddressPool(subnet);
  const given = Array.from({ length: 3 }, () => formatIp(pool.takeLowest() ?? ip('::')));
  assert.deepEqual(given, ['fd00::1', 'fd00::2', 'fd00::3']);
  assert.ok(pool.take(ip('fd00::ffff:ffff:ffff:ffff')));
  pool.release(ip('fd00::2'));
  assert.equal(formatIp(pool.takeLowest() ?? ip('::')), 'fd00::2');
});
