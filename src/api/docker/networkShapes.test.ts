import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Endpoint, Network } from '../../engine/model.ts';
import { networkShape } from './networkShapes.ts';

test('inspect lists hidden endpoints by their sandbox, others by their container', () => {
  const network = { name: 'n', pools: [], options: {}, labels: {} } as unknown as Network;
  const plain = { id: 'e1', containerId: 'c1', containerName: 'web', ipv4: '10.0.0.2/16' };
  const hidden = { ...plain, id: 'e2', containerId: 'c2', gatewayOf: '0123456789abcdef' };
  const { Containers } = networkShape(network, [plain, hidden] as unknown as readonly Endpoint[]);
  const names = Object.entries(Containers as Record<string, { readonly Name: string }>);
  assert.deepEqual(
    names.map(([id, { Name }]) => `${id} ${Name}`),
    ['c1 web', 'c2 gateway_0123456789ab'],
  );
});
