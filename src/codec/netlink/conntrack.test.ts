import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp } from '../../net/ip.ts';
import { capturedBytes, capturedHex } from './captured.ts';
import { conntrackType, decodeFlow, encodeFlowDelete, encodeFlowDump, type Flow } from './conntrack.ts';
import { decodeMessages } from './core.ts';
import { treesOf } from './referenceTree.ts';

const flows = decodeMessages(capturedBytes('flows')).map(({ type, payload }) => {
  assert.equal(type, conntrackType.flow);
  const flow = decodeFlow(payload);
  assert.ok(flow);
  return flow;
});

function textOf({ original, id, zone }: Flow): string {
  const { source, destination, proto, sourcePort, destinationPort } = original;
  return `${proto} ${formatIp(source)} ${sourcePort} > ${formatIp(destination)} ${destinationPort} id ${id.toString(16)} zone ${zone}`;
}

test('flows as the kernel lists them', () => {
  assert.deepEqual(flows.map(textOf), [
    '17 ::1 40000 > ::1 5353 id f0fccb52 zone 0',
    '17 127.0.0.1 40000 > 127.0.0.1 5353 id 9b098ab4 zone 0',
  ]);
});

test('a flow of a family that has no addresses is passed over', () => {
  assert.equal(decodeFlow(Buffer.from([7, 0, 0, 0])), undefined);
});

for (const [i, name] of ['delFlow6', 'delFlow4'].entries()) {
  test(`a delete names the flow as conntrack does: ${name}`, () => {
    const flow = flows[i];
    assert.ok(flow);
    const [ours] = treesOf(Buffer.from(encodeFlowDelete(flow)).toString('hex'));
    const [theirs] = treesOf(capturedHex(name));
    assert.ok(ours && theirs);
    assert.deepEqual([ours.type, ours.flags, ours.fixed], [theirs.type, theirs.flags, theirs.fixed]);
    // The original tuple is what the kernel looks a flow up by; the reply, status and timeout that conntrack adds it
    // does not read. We add the id instead, so that a later flow with the same tuple stays.
    const original = (tree: typeof ours): unknown => tree.attributes.find(([type]) => type === 1);
    assert.deepEqual(original(ours), original(theirs));
    assert.deepEqual(
      ours.attributes.filter(([type]) => type !== 1),
      [[12, flow.id.toString(16)]],
    );
  });
}

test('a flow in a zone is deleted there', () => {
  const flow = flows[1];
  assert.ok(flow);
  const [tree] = treesOf(Buffer.from(encodeFlowDelete({ ...flow, zone: 0x1234 })).toString('hex'));
  assert.deepEqual(tree?.attributes.at(-1), [18, '1234']);
});

for (const [name, port, tuple, flags] of [
  [
    'one port',
    5353,
    [
      [1, '11'],
      [3, '14e9'],
    ],
    '28000000',
  ],
  ['every port', undefined, [[1, '11']], '08000000'],
] as const) {
  test(`a dump of ${name} says what must match`, () => {
    const [tree] = treesOf(Buffer.from(encodeFlowDump(6, 17, port)).toString('hex'));
    assert.deepEqual(tree, {
      type: conntrackType.get,
      flags: 0x301,
      fixed: '0a000000',
      attributes: [
        [1, [[2, tuple]]],
        [25, [[1, flags]]],
      ],
    });
  });
}
