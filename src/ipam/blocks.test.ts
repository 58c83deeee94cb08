import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp, type Ip, parseIp } from '../net/ip.ts';
import { formatPrefix, parsePrefix } from '../net/prefix.ts';
import {
  BlockPool,
  type BlockPoolText,
  blockOf,
  blockSubnetOf,
  chooseAddress,
  normalizeAddress,
} from './blocks.ts';

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed, text);
  return parsed;
}

function subnet(pool: BlockPoolText): NonNullable<ReturnType<typeof blockSubnetOf>> {
  const found = blockSubnetOf(pool);
  assert.ok(found);
  return found;
}

const take = (pool: BlockPool): string | undefined => {
  const found = pool.takeLowest();
  return found && formatIp(found);
};

test('blocks: the lowest free one, named ones by their first address, and none beyond the range', () => {
  const pool = new BlockPool(subnet({ subnet: '10.0.1.0/24' }), 6);
  assert.equal(pool.take(ip('10.0.1.64')), true);
  assert.equal(pool.take(ip('10.0.1.64')), false);
  assert.equal(pool.take(ip('10.0.1.65')), false, 'the first of none');
  assert.equal(pool.take(ip('10.0.2.0')), false);
  assert.deepEqual(
    [take(pool), take(pool), take(pool), take(pool)],
    [...['10.0.1.0', '10.0.1.128', '10.0.1.192', undefined]],
  );
  pool.release(ip('10.0.1.128'));
  pool.release(ip('10.0.1.64'));
  assert.deepEqual([take(pool), take(pool), take(pool)], ['10.0.1.64', '10.0.1.128', undefined]);

  const ranged = new BlockPool(subnet({ subnet: '10.0.1.0/24', ipRange: '10.0.1.128/25' }), 6);
  assert.deepEqual([take(ranged), take(ranged), take(ranged)], ['10.0.1.128', '10.0.1.192', undefined]);
  assert.equal(ranged.take(ip('10.0.1.0')), true, 'by name anywhere');
  assert.equal(formatPrefix(blockOf(ip('fd00::1:41'), 6)), 'fd00::1:40/122');
});

test('addresses: the lowest of the first block with a free one, never the first, the subnet’s ends or what is taken', () => {
  const subnets = [subnet({ subnet: '10.0.1.0/28' })];
  const blocks = ['10.0.1.0/30', '10.0.1.12/30'].flatMap((text) => parsePrefix(text) ?? []);
  const taken: string[] = ['10.0.1.1'];
  const chosen: (string | undefined)[] = [];
  for (let i = 0; i < 5; i += 1) {
    const next = chooseAddress({ blocks, subnets, taken });
    chosen.push(next);
    if (next !== undefined) taken.push(next);
  }
  assert.deepEqual(chosen, ['10.0.1.2', '10.0.1.3', '10.0.1.13', '10.0.1.14', undefined]);
});

test('addresses by name: of a subnet, and not the first of a block', () => {
  const subnets = [subnet({ subnet: '10.0.1.0/24' })];
  const normalize = (text: string): string | undefined => {
    const found = normalizeAddress(text, 4, subnets, 6);
    return found && formatIp(found);
  };
  assert.equal(normalize('10.0.1.70'), '10.0.1.70');
  for (const text of ['10.0.1.64', '10.0.1.0', '10.0.1.255', '10.0.2.70', 'fd00::1', 'x'])
    assert.equal(normalize(text), undefined, text);
});
