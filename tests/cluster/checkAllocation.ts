/*
 * What must hold of networks and addresses in a managers' store after every commit.
 */
import assert from 'node:assert/strict';
import type { SwarmEndpoint, SwarmNetwork } from '../../src/cluster/swarmNetworks.ts';
import { checkBlocks } from './checkBlocks.ts';
import type { Disk } from './virtualTime.ts';

/** Each address has one endpoint and each endpoint its address, and its network; no two networks share anything. */
export function checkAllocation(disk: Disk): void {
  const rows = disk.list('cluster/endpoints/');
  const fromRows = rows.map(({ key, value }) => {
    const [, , networkId, endpointId] = key.split('/');
    return `${networkId}/${(value as SwarmEndpoint).ipv4} ${endpointId}`;
  });
  const fromHolders = disk
    .list('cluster/ips/')
    .map(
      ({ key, value }) =>
        `${key.slice('cluster/ips/'.length)} ${(value as { readonly endpointId: string }).endpointId}`,
    );
  assert.deepEqual(fromRows.sort(), fromHolders.sort(), 'addresses and endpoints have each other');
  const networks = disk
    .list('cluster/networks/')
    .map(({ value }) => (value as { readonly network: SwarmNetwork }).network);
  const ids = new Set(networks.map(({ id }) => id));
  assert.ok(
    rows.every(({ key }) => ids.has(key.split('/')[2] ?? '')),
    'no endpoint is without its network',
  );
  checkBlocks(rows, networks);
  for (const each of [
    networks.map(({ name }) => name),
    networks.flatMap(({ vnis }) => vnis.map(String)),
    networks.map(({ pools }) => pools[0]?.subnet ?? ''),
  ])
    assert.equal(new Set(each).size, networks.length, `no two networks share one of ${each.join()}`);
}
