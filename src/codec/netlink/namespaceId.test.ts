import assert from 'node:assert/strict';
import { test } from 'node:test';
import { capturedBytes, capturedHex } from './captured.ts';
import { decodeMessages } from './core.ts';
import {
  decodeNamespaceId,
  encodeGetNamespaceId,
  encodeNewNamespaceId,
  namespaceIdType,
} from './namespaceId.ts';
import { treesOf } from './referenceTree.ts';

for (const [name, ours] of [
  ['newNamespaceId', encodeNewNamespaceId(6)],
  ['getNamespaceId', encodeGetNamespaceId(6)],
] as const)
  test(`a request as iproute2 sends it: ${name}`, () => {
    assert.deepEqual(treesOf(Buffer.from(ours).toString('hex')), treesOf(capturedHex(name)));
  });

for (const [name, id] of [
  ['namespaceId', 1],
  ['noNamespaceId', undefined],
] as const)
  test(`a number as the kernel answers it: ${name}`, () => {
    const [message] = decodeMessages(capturedBytes(name));
    assert.equal(message?.type, namespaceIdType.new);
    assert.equal(decodeNamespaceId(message?.payload ?? new Uint8Array()), id);
  });
