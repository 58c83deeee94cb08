import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DriverEndpoint, DriverNetwork } from '../interface.ts';
import { OnDemandOverlay } from './onDemand.ts';
import type { OverlayDriver } from './overlay.ts';

const network = (id: string): DriverNetwork => ({ id }) as DriverNetwork;
const endpoint = (id: string, networkId: string): DriverEndpoint => ({ id, networkId }) as DriverEndpoint;

/** A driver that writes down what it is told, and refuses what is among `failing`. */
function record(): {
  readonly overlay: OnDemandOverlay;
  readonly told: string[];
  readonly failing: Set<string>;
} {
  const told: string[] = [];
  const failing = new Set<string>();
  const tell = async (text: string): Promise<void> => {
    told.push(text);
    if (failing.has(text)) throw new Error(text);
  };
  const inner: Partial<OverlayDriver> = {
    ensureNetwork: ({ id }) => tell(`ensure ${id}`),
    takeDown: ({ id }) => tell(`take down ${id}`),
    attach: (_, { id }) => tell(`attach ${id}`),
    detach: (_, { id }) => tell(`detach ${id}`),
    repairNetwork: async ({ id }) => {
      await tell(`repair ${id}`);
      return [];
    },
    sweep: (_, { networks }) => tell(`keep ${networks.map(({ id }) => id).join()}`),
  };
  return { overlay: new OnDemandOverlay(inner as OverlayDriver), told, failing };
}

test('a network comes with its first endpoint and goes with its last', async () => {
  const { overlay, told } = record();
  const net = network('n');
  await overlay.ensureNetwork();
  for (const id of ['a', 'b']) await overlay.attach(net, endpoint(id, 'n'), '');
  for (const id of ['a', 'b']) await overlay.detach(net, endpoint(id, 'n'), '');
  assert.deepEqual(told, ['ensure n', 'attach a', 'attach b', 'detach a', 'detach b', 'take down n']);
});

test('a network that could not be set up is not there for repairs, and is tried again with the next endpoint', async () => {
  const { overlay, told, failing } = record();
  const net = network('n');
  failing.add('ensure n');
  await assert.rejects(overlay.attach(net, endpoint('a', 'n'), ''));
  assert.deepEqual(await overlay.repairNetwork(net), []);
  assert.deepEqual(told, ['ensure n']);
  failing.clear();
  await overlay.attach(net, endpoint('a', 'n'), '');
  await overlay.repairNetwork(net);
  assert.deepEqual(told, ['ensure n', 'ensure n', 'attach a', 'repair n']);
});

test('a network is made before its endpoint is known, and goes again where none comes', async () => {
  const { overlay, told, failing } = record();
  const net = network('n');
  {
    await using _ready = overlay.prepare(net);
    await overlay.attach(net, endpoint('a', 'n'), '');
  }
  {
    await using _second = overlay.prepare(net);
  }
  await overlay.detach(net, endpoint('a', 'n'), '');
  assert.deepEqual(told.splice(0), ['ensure n', 'attach a', 'detach a', 'take down n']);
  {
    await using _vain = overlay.prepare(net);
  }
  assert.deepEqual(told.splice(0), ['ensure n', 'take down n']);
  failing.add('ensure n');
  {
    await using _failed = overlay.prepare(net);
    await assert.rejects(overlay.attach(net, endpoint('a', 'n'), ''));
  }
  assert.deepEqual(told, ['ensure n', 'ensure n']);
});

test('a sweep keeps networks that endpoints are on', async () => {
  const { overlay, told } = record();
  const keep = { networks: [network('used'), network('unused')], endpoints: [endpoint('a', 'used')] };
  await overlay.sweep({ links: [], addresses: [] }, keep);
  assert.deepEqual(told, ['keep used']);
});
