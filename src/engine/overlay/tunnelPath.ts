/*
 * How packets of encrypted networks get to another node, as people are told. Pure.
 */
import type { SwarmNode } from '../../cluster/swarmNetworks.ts';
import type { WireguardPeerState } from '../../codec/wireguard/device.ts';
import { formatHostPort } from '../../net/hostPort.ts';
import type { TunnelPath } from '../engine.ts';

/** WireGuard's REJECT_AFTER_TIME: no key is used longer. */
const sessionMs = 180_000;

export function pathTo(node: SwarmNode, state: WireguardPeerState | undefined, nowMs: number): TunnelPath {
  const { id: nodeId, hostname, tunnel, isDown } = node;
  const { endpoint, lastHandshakeMs, receivedBytes = 0, sentBytes = 0 } = state ?? {};
  const shared = {
    ...{ nodeId, hostname, receivedBytes, sentBytes },
    ...(lastHandshakeMs === undefined ? {} : { lastHandshakeMs }),
  };
  if (tunnel === undefined)
    return { ...shared, state: 'none', why: 'it has no WireGuard, or has not told its key yet' };
  if (state === undefined)
    return { ...shared, state: 'none', why: 'no container of this node is on an encrypted network' };
  const text = endpoint === undefined ? tunnel.endpoints[0] : formatHostPort(endpoint);
  const known = { ...shared, ...(text === undefined ? {} : { endpoint: text }) };
  if (lastHandshakeMs !== undefined && nowMs - lastHandshakeMs < sessionMs)
    return { ...known, state: 'direct' };
  const why = isDown
    ? 'the node is down'
    : sentBytes > 0 && receivedBytes === 0
      ? 'it does not answer: is its UDP port let through?'
      : 'nothing was sent lately';
  return { ...known, state: 'idle', why };
}
