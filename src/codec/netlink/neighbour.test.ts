import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ip, formatIp, parseIp } from '../../net/ip.ts';
import { type Mac, parseMac } from '../../net/mac.ts';
import { capturedBytes, capturedHex } from './captured.ts';
import { decodeMessages, type Message } from './core.ts';
import {
  decodeForward,
  decodeNeighbour,
  encodeDelForward,
  encodeDelNeighbour,
  encodeFixForward,
  encodeForgetForward,
  encodeForwardDump,
  encodeNeighbourDump,
  encodeReplaceForward,
  encodeReplaceNeighbour,
} from './neighbour.ts';
import { treesOf } from './referenceTree.ts';

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed, text);
  return parsed;
}

function mac(text: string): Mac {
  const parsed = parseMac(text);
  assert.ok(parsed, text);
  return parsed;
}

const peer = mac('02:42:0a:00:01:03');
const peer6 = mac('02:42:0a:00:01:04');

for (const [name, ours] of [
  ['replaceForward4', encodeReplaceForward({ ifindex: 7, mac: peer, vtep: ip('192.0.2.2') })],
  ['replaceForward6', encodeReplaceForward({ ifindex: 8, mac: peer6, vtep: ip('2001:db8::2') })],
  ['fixForward', encodeFixForward({ ifindex: 9, mac: peer })],
  ['delForward', encodeDelForward({ ifindex: 7, mac: peer })],
  ['dumpForwards', encodeForwardDump(7)],
  ['replaceNeighbour4', encodeReplaceNeighbour({ ifindex: 7, ip: ip('10.0.1.3'), mac: peer })],
  ['replaceNeighbour6', encodeReplaceNeighbour({ ifindex: 7, ip: ip('fd00::3'), mac: peer })],
  ['delNeighbour4', encodeDelNeighbour({ ifindex: 7, ip: ip('10.0.1.3') })],
  ['dumpNeighbours', encodeNeighbourDump(4, 7)],
] as const)
  test(`a request as iproute2 sends it: ${name}`, () => {
    // Whether a dump is acknowledged, the kernel does not look at.
    const tree = (hex: string): unknown =>
      treesOf(hex).map(({ flags, ...rest }) => ({ ...rest, flags: name.startsWith('dump') ? 0x301 : flags }));
    assert.deepEqual(tree(Buffer.from(ours).toString('hex')), tree(capturedHex(name)));
  });

test('what a bridge knows of a port is asked of the bridge, and of nobody else', () => {
  const [tree] = treesOf(Buffer.from(encodeForgetForward({ ifindex: 7, mac: peer })).toString('hex'));
  // RTM_DELNEIGH, NLM_F_REQUEST | ACK; ndmsg: AF_BRIDGE, ifindex, no state, NTF_MASTER; NDA_LLADDR.
  assert.deepEqual([tree?.type, tree?.flags, tree?.fixed], [29, 0x5, '070000000700000000000400']);
  assert.deepEqual(tree?.attributes, [[2, '02420a000103']]);
});

const entries = (name: string): Message[] =>
  decodeMessages(capturedBytes(name)).filter(({ type }) => type === 28);

for (const [name, ifindex, expected] of [
  ['forwardDump', 7, [[peer, '192.0.2.2']]],
  ['forwardDump6', 8, [[peer6, '2001:db8::2']]],
  ['forwardDump', 8, []],
  ['neighbourDump4', 7, []],
] as const)
  test(`forwarding entries of ${ifindex} as the kernel answers them: ${name}`, () => {
    const found = entries(name).flatMap(({ payload }) => decodeForward(payload, ifindex) ?? []);
    assert.deepEqual(
      found.map((entry) => [entry.mac, formatIp(entry.vtep)]),
      expected,
    );
  });

for (const [name, ifindex, expected] of [
  ['neighbourDump4', 7, [['10.0.1.3', peer]]],
  // One that the kernel made for a multicast group is not permanent.
  ['neighbourDump6', 7, [['fd00::3', peer]]],
  ['neighbourDump6', 8, []],
  ['forwardDump', 7, []],
] as const)
  test(`permanent neighbours of ${ifindex} as the kernel answers them: ${name}`, () => {
    const found = entries(name).flatMap(({ payload }) => decodeNeighbour(payload, ifindex) ?? []);
    assert.deepEqual(
      found.map((entry) => [formatIp(entry.ip), entry.mac]),
      expected,
    );
  });
