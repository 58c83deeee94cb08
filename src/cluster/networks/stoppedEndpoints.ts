/*
 * Endpoints of containers that have stopped do not keep a network in use: they go with it, as with a network of one host.
 * What a manager drops of them while it removes the network. Their nodes hear that the network is gone, and forget theirs.
 */
import type { Mirror } from '../../store/mirror.ts';
import type { Write } from '../../store/store.ts';
import { mostPerChange } from './endpointChange.ts';
import { addressesOf, type EndpointRecord, endpointKey, holderKey, networkKey } from './records.ts';

/**
 * Drops the endpoints and their addresses. The network must be marked as going since `revision`, so that nobody claims
 * an address of it meanwhile. False, and not all dropped, where another manager wrote its record.
 */
export async function dropStopped(
  mirror: Mirror,
  { id, revision }: { readonly id: string; readonly revision: number },
  endpoints: readonly EndpointRecord[],
): Promise<boolean> {
  for (let i = 0; i < endpoints.length; i += mostPerChange) {
    const isDone = await mirror.commit({
      compare: [{ key: networkKey(id), is: 'revision', revision }],
      write: endpoints
        .slice(i, i + mostPerChange)
        .flatMap((endpoint): Write[] => [
          { key: endpointKey(id, endpoint.endpointId), del: true },
          ...addressesOf(endpoint).map((ip): Write => ({ key: holderKey(id, ip), del: true })),
        ]),
    });
    if (!isDone) return false;
  }
  return true;
}
