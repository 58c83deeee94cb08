import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../../net/ip.ts';
import { resolveAddresses, type SystemAddress } from './addresses.ts';

const system = (...texts: readonly string[]): readonly SystemAddress[] =>
  texts.map((text, i) => ({ link: `eth${i}`, ip: parseIp(text) ?? assert.fail(text) }));
const one = system('192.0.2.11');
const two = system('192.0.2.11', '198.51.100.11');

const taken: readonly [
  what: string,
  own: readonly SystemAddress[],
  given: { readonly listen?: string; readonly advertise?: string; readonly dataPath?: string },
  addresses: readonly [listen: string, advertise: string, dataPath: string],
][] = [
  ['nothing, with one address', one, {}, ['0.0.0.0:2377', '192.0.2.11:2377', '192.0.2.11']],
  ['a link', two, { advertise: 'eth1' }, ['0.0.0.0:2377', '198.51.100.11:2377', '198.51.100.11']],
  ['loopback', one, { advertise: '127.0.0.1' }, ['0.0.0.0:2377', '127.0.0.1:2377', '127.0.0.1']],
  ['a NAT’s', one, { advertise: '203.0.113.1' }, ['0.0.0.0:2377', '203.0.113.1:2377', '192.0.2.11']],
  [
    'a NAT’s, and where to listen',
    two,
    { advertise: '203.0.113.1', listen: '198.51.100.11' },
    ['198.51.100.11:2377', '203.0.113.1:2377', '198.51.100.11'],
  ],
  [
    'a data path of its own',
    two,
    { advertise: '192.0.2.11', dataPath: 'eth1' },
    ['0.0.0.0:2377', '192.0.2.11:2377', '198.51.100.11'],
  ],
];

for (const [what, own, given, addresses] of taken)
  test(`addresses in a swarm: ${what}`, () => {
    const { listen, advertise, dataPath } = resolveAddresses(
      { listen: '', advertise: '', dataPath: '', ...given },
      own,
    );
    assert.deepEqual([listen, advertise, dataPath], addresses);
  });

for (const [given, message] of [
  [{ advertise: '203.0.113.1' }, /^must specify a listening address because/],
  [{}, /^could not choose an IP address to advertise/],
  [{ advertise: '192.0.2.11', dataPath: '10.99.0.1' }, /^data path address 10\.99\.0\.1 is not an address/],
  [{ listen: '10.99.0.1' }, /^listen address 10\.99\.0\.1 is not an address of this machine$/],
  [{ advertise: '192.0.2.11', dataPath: '0.0.0.0' }, /^data path address must be a non-zero/],
] as const)
  test(`addresses that a swarm does not take: ${JSON.stringify(given)}`, () => {
    assert.throws(() => resolveAddresses({ listen: '', advertise: '', dataPath: '', ...given }, two), {
      code: 'requestInvalid',
      message,
    });
  });
