/*
 * One transaction over a network's endpoints: what is compared and written so that an address has one holder, and an
 * endpoint's row is never written over what another manager wrote. Pure.
 */
import type { Compare, Write } from '../../store/store.ts';
import type { SwarmEndpoint } from '../swarmNetworks.ts';
import {
  addressesOf,
  type EndpointRecord,
  endpointKey,
  freedKey,
  type Holder,
  holderKey,
  networkKey,
} from './records.ts';

export interface EndpointChange {
  readonly add: readonly EndpointRecord[];
  /** Same endpoint, same addresses. */
  readonly replace: readonly { readonly row: SwarmEndpoint; readonly record: EndpointRecord }[];
  readonly drop: readonly SwarmEndpoint[];
  /** Rows that it relies on: of the blocks that new endpoints are in. */
  readonly within?: readonly SwarmEndpoint[];
}

const holderOf = ({ endpointId, nodeId }: EndpointRecord): Holder => ({ endpointId, nodeId });

/** Endpoints in one change: etcd takes 128 comparisons and 128 writes, and an endpoint needs up to five. */
export const mostPerChange = 20;

export function planChange(
  network: { readonly id: string; readonly revision: number },
  { add, replace, drop, within = [] }: EndpointChange,
  guard: readonly Compare[],
  notBeforeMs: number,
  rested: readonly string[],
): { readonly compare: readonly Compare[]; readonly write: readonly Write[] } {
  const { id } = network;
  const isAt = (row: SwarmEndpoint): Compare => ({
    key: endpointKey(id, row.endpointId),
    is: 'revision',
    revision: row.revision,
  });
  const compare: readonly Compare[] = [
    ...guard,
    { key: networkKey(id), is: 'revision', revision: network.revision },
    ...add.flatMap((record): Compare[] => [
      { key: endpointKey(id, record.endpointId), is: 'absent' },
      ...addressesOf(record).map((ip): Compare => ({ key: holderKey(id, ip), is: 'absent' })),
    ]),
    ...replace.map(({ row }) => isAt(row)),
    ...drop.map(isAt),
    ...within.map(isAt),
  ];
  const write: readonly Write[] = [
    ...rested.map((ip): Write => ({ key: freedKey(id, ip), del: true })),
    ...drop.flatMap((row): Write[] => [
      { key: endpointKey(id, row.endpointId), del: true },
      ...addressesOf(row).flatMap((ip): Write[] => [
        { key: holderKey(id, ip), del: true },
        { key: freedKey(id, ip), put: { notBeforeMs } },
      ]),
    ]),
    ...add.flatMap((record): Write[] => [
      { key: endpointKey(id, record.endpointId), put: record },
      ...addressesOf(record).flatMap((ip): Write[] => [
        { key: holderKey(id, ip), put: holderOf(record) },
        { key: freedKey(id, ip), del: true },
      ]),
    ]),
    ...replace.map(({ row, record }): Write => ({ key: endpointKey(id, row.endpointId), put: record })),
  ];
  return { compare, write };
}
