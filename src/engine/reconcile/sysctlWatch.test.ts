import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../base/logger.ts';
import type { Driver } from '../../drivers/interface.ts';
import type { KernelEvents } from '../../kernel/kernel.ts';
import { MemoryStore } from '../containers/fakes.ts';
import type { Network } from '../model.ts';
import { NetworkTable } from '../networks/networkTable.ts';
import { SysctlWatch } from './sysctlWatch.ts';

/** Bridges are called after their networks, and have one parameter `<name>/p`, which is 1. */
const drivers = new Map([
  [
    'bridge',
    {
      linkOf: ({ name }) => `br-${name}`,
      sysctlsOf: ({ name }) => [{ key: `${name}/p`, value: '1' }],
    } as Partial<Driver> as Driver,
  ],
  ['host', { linkOf: () => undefined } as Partial<Driver> as Driver],
]);

function networkOf(name: string, more: Partial<Network> = {}): Network {
  const fields = {
    id: `id-${name}`,
    name,
    driver: 'bridge',
    state: 'ready',
    pools: [],
    options: {},
    labels: {},
  };
  return { ...fields, ...more } as unknown as Network;
}

const link = (action: 'new' | 'del', name: string, ifindex: number): KernelEvents['link'] =>
  ({ action, link: { name, ifindex } }) as KernelEvents['link'];

/** `log`: what the kernel was told, as `owner: keys`. */
function open(failing = false): { table: NetworkTable; watch: SysctlWatch; log: string[] } {
  const table = new NetworkTable(new MemoryStore());
  const log: string[] = [];
  const watchSysctls = (owner: string, keys: readonly string[]): Promise<void> => {
    log.push(`${owner}: ${keys.join(' ')}`);
    return failing ? Promise.reject(new Error('no more watches')) : Promise.resolve();
  };
  const watch = new SysctlWatch({ table, drivers, kernel: { watchSysctls }, logger: silentLogger });
  return { table, watch, log };
}

test('parameters are watched from when a network is ready until it goes, and only a wrong value is a harm', async () => {
  const { table, watch, log } = open();
  await table.putNetwork(networkOf('n1', { state: 'creating' }));
  await table.putNetwork(networkOf('h', { driver: 'host' }));
  assert.deepEqual(log, []);
  await table.putNetwork(networkOf('n1'));
  assert.equal(watch.ofSysctl({ key: 'n1/p', value: '0' }), 'id-n1');
  assert.equal(watch.ofSysctl({ key: 'n1/p', value: '1' }), undefined);
  assert.equal(watch.ofSysctl({ key: 'n2/p', value: '0' }), undefined);
  await table.putNetwork(networkOf('n1', { state: 'removing' }));
  assert.equal(watch.ofSysctl({ key: 'n1/p', value: '0' }), undefined);
  assert.deepEqual(log, ['network id-n1: n1/p', 'network id-n1: ']);
});

test('a link that is made again has its parameters watched again, once', async () => {
  const { table, watch, log } = open();
  await table.putNetwork(networkOf('n1'));
  watch.ofLink(link('new', 'br-n1', 5));
  log.length = 0;
  watch.ofLink(link('new', 'br-n1', 5));
  watch.ofLink(link('del', 'br-n1', 5));
  watch.ofLink(link('new', 'other0', 6));
  assert.deepEqual(log, []);
  watch.ofLink(link('new', 'br-n1', 7));
  watch.ofLink(link('new', 'br-n1', 7));
  assert.deepEqual(log, ['network id-n1: n1/p']);
});

test('a renewal watches all networks, and a kernel that has no more watches is no failure', async () => {
  const { table, watch, log } = open(true);
  await table.putNetwork(networkOf('n1'));
  await table.putNetwork(networkOf('n2'));
  log.length = 0;
  watch.renew();
  assert.deepEqual(log, ['network id-n1: n1/p', 'network id-n2: n2/p']);
  watch[Symbol.dispose]();
  await table.putNetwork(networkOf('n3'));
  assert.equal(log.length, 2);
});
