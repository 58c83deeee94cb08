import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Driver } from '../../drivers/interface.ts';
import type { KernelEvents, Link } from '../../kernel/kernel.ts';
import { MemoryStore } from '../containers/fakes.ts';
import type { Endpoint, Network } from '../model.ts';
import { NetworkTable } from '../networks/networkTable.ts';
import { Lookout, type Subject } from './lookout.ts';

/** Bridges are called after their networks; what is on a parent is on `par0`. */
const drivers = new Map([
  ['bridge', { linkOf: ({ name }) => `br-${name}` } as Driver],
  ['overlay', { linkOf: () => undefined } as Partial<Driver> as Driver],
  ['macvlan', { linkOf: () => undefined, parentOf: () => 'par0' } as Partial<Driver> as Driver],
]);

function networkOf(name: string, driver: string): Network {
  const fields = { id: `id-${name}`, name, driver, state: 'ready', pools: [], options: {}, labels: {} };
  return fields as unknown as Network;
}

function endpointOf(container: string, network: string, hostInterfaceName: string): Endpoint {
  const id = `${container}-${network}`;
  const fields = { id, networkId: `id-${network}`, containerId: container, state: 'attached' };
  return { ...fields, interfaceName: 'eth0', hostInterfaceName } as unknown as Endpoint;
}

function link(ifindex: number, name: string, more: Partial<Link> = {}): Link {
  const fields = { kind: undefined, isUp: true, mtuBytes: 1500, mac: undefined, master: undefined };
  return {
    ifindex,
    name,
    ...fields,
    alias: undefined,
    peerNamespaceId: undefined,
    isIsolated: undefined,
    ...more,
  };
}

const isNew = (given: Link): KernelEvents['link'] => ({ action: 'new', link: given });
const isGone = (given: Link): KernelEvents['link'] => ({ action: 'del', link: given });
const text = (subjects: readonly (Subject | undefined)[]): readonly string[] =>
  subjects.flatMap((subject) => (subject === undefined ? [] : `${subject.type} ${subject.id}`));

/** Containers: `a` on bridge n1, `m` on macvlan m1, `both` on either. */
async function open(): Promise<{ readonly table: NetworkTable; readonly lookout: Lookout }> {
  const table = new NetworkTable(new MemoryStore());
  const lookout = new Lookout(table, drivers);
  await table.putNetwork(networkOf('n1', 'bridge'));
  await table.putNetwork(networkOf('m1', 'macvlan'));
  await table.putEndpoints([
    endpointOf('a', 'n1', 'veth-a'),
    endpointOf('m', 'm1', ''),
    endpointOf('both', 'n1', 'veth-both'),
    endpointOf('both', 'm1', ''),
  ]);
  lookout.note([link(1, 'par0'), link(2, 'br-n1'), link(3, 'veth-a', { master: 2, peerNamespaceId: 10 })]);
  return { table, lookout };
}

test('a loss in a sandbox is one of the container that the number stands for, on all its networks', async () => {
  const { lookout } = await open();
  lookout.noteNamespace('m' as Endpoint['containerId'], 11);
  lookout.ofLink(isNew(link(4, 'veth-both', { master: 2, peerNamespaceId: 12 })));
  const losses = (namespaceId: number): readonly string[] =>
    text(lookout.ofFarLoss({ namespaceId, isPairOnly: false }));
  assert.deepEqual(losses(10), ['endpoint a-n1']);
  assert.deepEqual(losses(11), ['endpoint m-m1']);
  assert.deepEqual(losses(12), ['endpoint both-n1', 'endpoint both-m1']);
  assert.deepEqual(losses(13), [], 'somebody else’s');
  assert.deepEqual(text([lookout.ofFarRuleset({ namespaceId: 11 })]), ['sandbox m']);
  assert.equal(lookout.ofFarRuleset({ namespaceId: 13 }), undefined);
  lookout.noteNetworkNamespace('id-m1' as Network['id'], 14);
  assert.deepEqual(text([lookout.ofFarRuleset({ namespaceId: 14 })]), ['network id-m1'], 'a network’s own');
});

test('a number stands for a container as long as it has interfaces, and then for the next that gets it', async () => {
  const { table, lookout } = await open();
  const both = 'both' as Endpoint['containerId'];
  lookout.noteNamespace(both, 12);
  await table.delEndpoints([endpointOf('both', 'n1', 'veth-both')]);
  assert.deepEqual(text(lookout.ofFarLoss({ namespaceId: 12, isPairOnly: false })), ['endpoint both-m1']);
  await table.putEndpoints([{ ...endpointOf('both', 'm1', ''), state: 'reserved' }]);
  assert.deepEqual(lookout.ofFarLoss({ namespaceId: 12, isPairOnly: false }), []);
  assert.equal(lookout.ofFarRuleset({ namespaceId: 12 }), undefined);
  lookout.noteNamespace('m' as Endpoint['containerId'], 12);
  await table.putEndpoints([endpointOf('both', 'm1', '')]);
  await table.delEndpoints([endpointOf('both', 'm1', '')]);
  assert.deepEqual(text([lookout.ofFarRuleset({ namespaceId: 12 })]), ['sandbox m'], 'taken over');
});

test('a parent that goes is a harm to its networks, one that comes also to what was on it', async () => {
  const { table, lookout } = await open();
  assert.deepEqual(lookout.ofLink(isNew(link(1, 'par0'))), [], 'nothing new');
  assert.deepEqual(text(lookout.ofLink(isNew(link(1, 'par0', { isUp: false })))), ['network id-m1']);
  assert.deepEqual(text(lookout.ofLink(isGone(link(1, 'par0')))), ['network id-m1']);
  const all = ['network id-m1', 'endpoint m-m1', 'endpoint both-m1'];
  assert.deepEqual(text(lookout.ofLink(isNew(link(7, 'par0')))), all);
  assert.deepEqual(text(lookout.ofLink(isNew(link(7, 'par9')))), ['network id-m1'], 'it has another name');
  assert.deepEqual(text(lookout.ofLink(isNew(link(7, 'par0')))), all);
  assert.deepEqual(lookout.ofLink(isNew(link(8, 'other0'))), []);
  await table.delNetwork(networkOf('m1', 'macvlan'));
  assert.deepEqual(lookout.ofLink(isGone(link(7, 'par0'))), []);
});

test('a host end is sound in its bridge only, and a bridge that has gone is one', async () => {
  const { lookout } = await open();
  assert.deepEqual(lookout.ofLink(isNew(link(3, 'veth-a', { master: 2 }))), []);
  assert.deepEqual(text(lookout.ofLink(isNew(link(3, 'veth-a')))), ['endpoint a-n1']);
  assert.deepEqual(text(lookout.ofLink(isGone(link(2, 'br-n1')))), ['network id-n1']);
  assert.deepEqual(text(lookout.ofLink(isGone(link(3, 'veth-a')))), ['endpoint a-n1']);
});

test('a loss in a network’s own namespace is the network’s and of all that is on it; a pair tells at its other end', async () => {
  const { table, lookout } = await open();
  await table.putNetwork(networkOf('o1', 'overlay'));
  await table.putEndpoints([endpointOf('a', 'o1', ''), endpointOf('o', 'o1', '')]);
  lookout.noteNetworkNamespace('id-o1' as Network['id'], 20);
  lookout.noteNamespace('o' as Endpoint['containerId'], 21);
  const losses = (namespaceId: number, isPairOnly: boolean): readonly string[] =>
    text(lookout.ofFarLoss({ namespaceId, isPairOnly }));
  assert.deepEqual(losses(20, false), ['network id-o1', 'endpoint a-o1', 'endpoint o-o1']);
  assert.deepEqual(losses(20, true), []);
  assert.deepEqual(losses(21, true), ['endpoint o-o1']);
  assert.deepEqual(losses(10, true), ['endpoint a-o1'], 'of a bridge the host tells');
  lookout.noteNetworkNamespace('id-o1' as Network['id'], 22);
  assert.deepEqual(losses(20, false), [], 'it has another number');
  await table.delEndpoints([endpointOf('a', 'o1', '')]);
  assert.deepEqual(losses(22, false), ['network id-o1', 'endpoint o-o1']);
  await table.putEndpoints([{ ...endpointOf('o', 'o1', ''), state: 'reserved' }]);
  assert.deepEqual(losses(22, false), [], 'nothing is on it here');
});
