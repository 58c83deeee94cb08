import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Endpoint, EndpointId, Network } from '../model.ts';
import { type AttachmentView, planDefaultRoutes } from './defaultRoutes.ts';

/** `name` of the network is the endpoint's id too; `families` those that have a gateway. */
function on(name: string, families: string, gatewayPriority = 0, isInternal = false): AttachmentView {
  const endpoint = {
    id: name,
    request: { gatewayPriority },
    ...(families.includes('4') && { ipv4Gateway: '10.0.0.1' }),
    ...(families.includes('6') && { ipv6Gateway: 'fd00::1' }),
  } as unknown as Endpoint;
  return { endpoint, network: { name, isInternal } as Network };
}

for (const [what, attachments, expected] of [
  ['nothing without networks', [], {}],
  ['nothing without gateways', [on('a', '')], {}],
  ['the first by name', [on('b', '4'), on('a', '4')], { a: [4] }],
  ['both families before one', [on('a', '4'), on('b', '46')], { b: [4, 6] }],
  ['each family for itself', [on('a', '4', 1), on('b', '46')], { a: [4], b: [6] }],
  ['the highest priority', [on('a', '46'), on('b', '4', 1), on('c', '4', -1)], { b: [4], a: [6] }],
  ['the least negative', [on('a', '4', -2), on('b', '4', -1)], { b: [4] }],
  ['internal ones last', [on('a', '4', 0, true), on('b', '4')], { b: [4] }],
] as const) {
  test(`planDefaultRoutes takes ${what}`, () => {
    const routes: ReadonlyMap<EndpointId, readonly number[]> = planDefaultRoutes(attachments);
    assert.deepEqual(Object.fromEntries(routes), expected);
  });
}
