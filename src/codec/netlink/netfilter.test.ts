import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Ip, parseIp } from '../../net/ip.ts';
import { macFromBytes, parseMac } from '../../net/mac.ts';
import { capturedBytes, capturedHex } from './captured.ts';
import { decodeMessages } from './core.ts';
import {
  decodeFields,
  decodeGeneration,
  type ElementChange,
  encodeBatchFrame,
  encodeElements,
  encodeFields,
  type Field,
  netfilterFamily,
} from './netfilter.ts';
import { type Branch, treesOf } from './referenceTree.ts';

function ip(text: string): Field {
  const parsed = parseIp(text);
  assert.ok(parsed, text);
  return { type: 'ip', ip: parsed };
}

function mac(text: string): Field {
  const parsed = parseMac(text);
  assert.ok(parsed, text);
  return { type: 'mac', mac: parsed };
}

const tcp: Field = { type: 'proto', proto: 6 };
const port = (number: number): Field => ({ type: 'port', port: number });
const ifname = (name: string): Field => ({ type: 'ifname', name });
const key = (...fields: Field[]): Uint8Array => encodeFields(fields);

/** Without NFTA_SET_ELEM_LIST_SET_ID (4), which matters only for a set made in the same batch. */
const setId = 4;
/** nft closes the range below a set's first interval, which the kernel does not need. */
const closingElement = '[1,[[1,[[1,"00000000"]]],[3,"00000001"]]],';

const changes: readonly (readonly [string, ElementChange])[] = [
  [
    'addInterval',
    {
      op: 'add',
      set: 's',
      key: key(ip('10.1.0.0'), ifname('br0')),
      keyLast: key(ip('10.1.255.255'), ifname('br0')),
    },
  ],
  ['addRange', { op: 'add', set: 'i', key: key(ip('10.1.0.0')), keyEnd: key(ip('10.2.0.0')) }],
  [
    'addMapping',
    {
      op: 'add',
      set: 'm',
      key: key(ip('10.0.0.1'), tcp, port(80)),
      data: key(ip('10.0.0.2'), port(8080)),
    },
  ],
  ['addSource', { op: 'add', set: 'b', key: key(ifname('veth2'), mac('02:42:00:00:00:02'), ip('10.0.0.2')) }],
  ['addPort', { op: 'add', set: 'p', key: key(port(443)) }],
  [
    'delMapping',
    {
      op: 'delete',
      set: 'm',
      key: key(ip('10.0.0.1'), tcp, port(80)),
      data: key(ip('10.0.0.2'), port(8080)),
    },
  ],
];

/** nft numbers the elements of a list; the kernel does not look. */
function unnumbered([type, value]: Branch): Branch {
  if (type !== 3 || typeof value === 'string') return [type, value];
  return [type, value.map(([, element]): Branch => [1, element])];
}

for (const [name, change] of changes) {
  test(`a batch as nft sends it: ${name}`, () => {
    const bytes = Buffer.concat([
      encodeBatchFrame('begin'),
      encodeElements(netfilterFamily.inet, 't', [change]),
      encodeBatchFrame('end'),
    ]);
    const [begin, ours, end] = treesOf(bytes.toString('hex'));
    const [theirBegin, theirs, theirEnd] = treesOf(capturedHex(name));
    assert.ok(ours && theirs);
    assert.deepEqual([begin, end], [theirBegin, theirEnd]);
    // nft asks for no acknowledgement of each message.
    const acknowledged = 4;
    assert.deepEqual(
      [ours.type, ours.flags & ~acknowledged, ours.fixed],
      [theirs.type, theirs.flags, theirs.fixed],
    );
    const without = (branches: readonly Branch[]): string =>
      JSON.stringify(branches.filter(([type]) => type !== setId).map(unnumbered)).replace(closingElement, '');
    assert.equal(without(ours.attributes), without(theirs.attributes));
  });
}

test('destroy is message 30, and several changes share a message', () => {
  const change = (name: string): ElementChange => ({ op: 'destroy', set: 'n', key: key(ifname(name)) });
  const bytes = Buffer.from(encodeElements(netfilterFamily.bridge, 't', [change('a'), change('b')]));
  const [tree] = treesOf(bytes.toString('hex'));
  assert.ok(tree);
  assert.deepEqual([tree.type, tree.flags, tree.fixed], [0xa1e, 5, '07000000']);
  const elements = tree.attributes.find(([type]) => type === 3)?.[1];
  assert.ok(Array.isArray(elements));
  assert.equal(elements.length, 2);
});

const anyField: fc.Arbitrary<Field> = fc.oneof(
  fc
    .bigInt({ min: 0n, max: (1n << 32n) - 1n })
    .map((bits): Field => ({ type: 'ip', ip: { family: 4, bits } })),
  fc
    .bigInt({ min: 0n, max: (1n << 128n) - 1n })
    .map((bits): Field => ({ type: 'ip', ip: { family: 6, bits } })),
  fc.stringMatching(/^[a-z][a-z0-9]{0,14}$/).map(ifname),
  fc
    .uint8Array({ minLength: 6, maxLength: 6 })
    .map((bytes): Field => ({ type: 'mac', mac: macFromBytes(bytes) })),
  fc.nat(255).map((proto): Field => ({ type: 'proto', proto })),
  fc.nat(65535).map(port),
);

test('keys survive encoding and decoding, padded only when concatenated', () => {
  fc.assert(
    fc.property(fc.array(anyField, { minLength: 1, maxLength: 5 }), (fields) => {
      const types = fields.map((field) => (field.type === 'ip' && isSix(field.ip) ? 'ip6' : field.type));
      const bytes = encodeFields(fields);
      assert.deepEqual(decodeFields(types, bytes), fields);
      if (fields.length > 1) assert.equal(bytes.length % 4, 0);
    }),
  );
});

function isSix(address: Ip): boolean {
  return address.family === 6;
}

test('an interface name that the kernel could not hold is refused', () => {
  assert.throws(() => encodeFields([ifname('sixteen-bytes-xx')]), RangeError);
});

test('a new generation as the kernel announces it', () => {
  const [message] = decodeMessages(capturedBytes('generation'));
  assert.ok(message);
  assert.deepEqual(decodeGeneration(message.payload), { generation: 9, processName: 'nft' });
});
