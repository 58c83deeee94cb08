/*
 * Lists of endpoints as messages of a node to its manager. Pure.
 */
import { type EndpointName, maxPartBytes, maxPartRows } from './wire.ts';

export function namesOf(list: readonly EndpointName[]): readonly EndpointName[] {
  return list.map(({ networkId, endpointId }) => ({ networkId, endpointId }));
}

/** In order, each well below what a manager takes as one message. */
export function parts<T>(list: readonly T[]): readonly (readonly T[])[] {
  const found: T[][] = [];
  let bytes = maxPartBytes;
  for (const one of list) {
    const size = Buffer.byteLength(JSON.stringify(one));
    const last = found.at(-1);
    bytes += size;
    if (last === undefined || bytes > maxPartBytes || last.length >= maxPartRows) {
      found.push([one]);
      bytes = size;
    } else last.push(one);
  }
  return found;
}
