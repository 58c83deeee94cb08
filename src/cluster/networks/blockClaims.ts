/*
 * A claim on a network with blocks: the node chooses the addresses from blocks of its own, and tells a manager, now or
 * with the next session. And which node has which block, as a node sees it.
 */
import type { Clock } from '../../base/clock.ts';
import { hasCode, isStoreFailure } from '../../errors/linkspanError.ts';
import { blockOf } from '../../ipam/blocks.ts';
import { parseIp } from '../../net/ip.ts';
import { formatPrefix, type Prefix } from '../../net/prefix.ts';
import type { EndpointClaim, SwarmBlock, SwarmEndpoint } from '../swarmNetworks.ts';
import { type CallBox, within } from './callBox.ts';
import type { BlockNetwork, NodeBlocks } from './nodeBlocks.ts';
import { addressesOf } from './records.ts';
import { keyOf } from './wire.ts';

export interface BlockClaimant {
  readonly clock: Clock;
  readonly nodeId: string;
  readonly blocks: NodeBlocks;
  /** What the node counts as had, until the engine names it; changed here. */
  readonly claimed: Map<string, EndpointClaim>;
  /** Of the session of now; undefined without one. */
  readonly calls: () => CallBox | undefined;
  readonly syncSoon: () => void;
}

/** Where the answer changes nothing, unless it is no. */
const patienceMs = 1000;
/** Of an address, where a manager refuses the one before. */
const mostChoices = 5;

/** Codes as `SwarmNetworks.claim`. */
export async function claimFromBlocks(
  by: BlockClaimant,
  network: BlockNetwork,
  claim: EndpointClaim,
): Promise<SwarmEndpoint> {
  const { blocks, claimed } = by;
  const key = keyOf(claim);
  const isAny = claim.ipv4 === undefined && claim.ipv6 === undefined;
  for (let attempt = 1; ; attempt += 1) {
    const chosen = await blocks.choose(network, claim);
    const had = { ...claim, ...chosen };
    const before = claimed.get(key);
    claimed.set(key, had);
    blocks.letGo(network.id, chosen);
    try {
      return await tell(by, had);
    } catch (error) {
      if (before === undefined) claimed.delete(key);
      else claimed.set(key, before);
      // Of an endpoint of this node that a manager has not heard the end of.
      if (!hasCode(error, 'addressTaken') || !isAny || attempt === mostChoices) throw error;
      blocks.rest(network.id, addressesOf(had));
    }
  }
}

async function tell(
  { clock, nodeId, calls, syncSoon }: BlockClaimant,
  claim: EndpointClaim,
): Promise<SwarmEndpoint> {
  const row = { ...claim, nodeId, revision: 0 };
  const session = calls();
  if (session === undefined) return row;
  try {
    return await within(clock, patienceMs, session.call('claim', { claim }));
  } catch (error) {
    if (!hasCode(error, 'managerUnreachable') && !isStoreFailure(error)) throw error;
    syncSoon();
    return row;
  }
}

/** `own` are the blocks of `nodeId`: what it has it has, whatever a manager told before. */
export function blocksIn(
  { blockBits }: BlockNetwork,
  rows: Iterable<SwarmEndpoint>,
  nodeId: string,
  own: readonly Prefix[],
): readonly SwarmBlock[] {
  const mine = own.map(formatPrefix);
  const isMine = new Set(mine);
  const others = [...rows].flatMap((row) => {
    const first = parseIp(addressesOf(row)[0] ?? '');
    if (row.block === undefined || row.nodeId === nodeId || first === undefined) return [];
    return { block: formatPrefix(blockOf(first, blockBits)), nodeId: row.nodeId };
  });
  return [...mine.map((block) => ({ block, nodeId })), ...others.filter(({ block }) => !isMine.has(block))];
}
