/*
 * Endpoints of a swarm's networks as a manager keeps them: gives addresses out and takes them back. Each change is one
 * transaction that compares what it relies on; memory only chooses what to try.
 *
 * Every change is somebody's: a session's, which says right before the transaction what must hold for it.
 */
import { isDeepStrictEqual } from 'node:util';
import { isStoreFailure, LinkspanError } from '../../errors/linkspanError.ts';
import { blockOf } from '../../ipam/blocks.ts';
import { formatIp, type IpFamily, parseIp } from '../../net/ip.ts';
import type { Compare } from '../../store/store.ts';
import type { EndpointClaim, SwarmEndpoint } from '../swarmNetworks.ts';
import { restMs } from './addressBook.ts';
import { type EndpointChange, mostPerChange, planChange } from './endpointChange.ts';
import { givenUp, mostAttempts, type NetworkBook, noNetwork } from './networkBook.ts';
import type { NetworkState } from './networkState.ts';
import { addressesOf, type EndpointRecord } from './records.ts';
import { type EndpointName, keyOf, type Refusal } from './wire.ts';

export interface Writer {
  /** What a transaction must compare. Throws code nodeRefused where the session is none any more. */
  check(): readonly Compare[];
}

/** The manager itself. */
const manager: Writer = { check: () => [] };

const families = [
  { family: 4, field: 'ipv4', has: 'hasIpv4' },
  { family: 6, field: 'ipv6', has: 'hasIpv6' },
] as const;

function otherNodes({ endpointId }: EndpointName): LinkspanError {
  return new LinkspanError('nodeRefused', `endpoint ${endpointId} is another node's`);
}

function recordOf(row: SwarmEndpoint): EndpointRecord {
  const { revision: _, ...record } = row;
  return record;
}

export class EndpointBook {
  readonly #book: NetworkBook;

  constructor(book: NetworkBook) {
    this.#book = book;
  }

  /** Codes networkNotFound, nodeRefused, addressTaken, addressInvalid, addressesExhausted. */
  claim(nodeId: string, claim: EndpointClaim, writer: Writer): Promise<SwarmEndpoint> {
    return this.#book.mutex.run(claim.networkId, async () => {
      let isFresh = false;
      for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
        const state = this.#stateOf(claim.networkId);
        const known = state.feed.rows.get(claim.endpointId);
        if (known !== undefined && known.nodeId !== nodeId) throw otherNodes(claim);
        const row =
          known === undefined
            ? await this.#add(state, nodeId, claim, writer, isFresh)
            : await this.#replace(state, known, claim, writer);
        if (row !== undefined) return row;
        isFresh = true;
      }
      throw givenUp('could not claim an address');
    });
  }

  /** Rows of the node that are there are changed, others claimed. Resolves with what cannot be. */
  async amend(nodeId: string, claims: readonly EndpointClaim[], writer: Writer): Promise<readonly Refusal[]> {
    const refused: Refusal[] = [];
    for (const claim of claims) {
      const { networkId, endpointId } = claim;
      writer.check();
      try {
        const row = this.#book.states.get(networkId)?.feed.rows.get(endpointId);
        if (row === undefined && addressesOf(claim).length === 0)
          throw new LinkspanError('addressInvalid', `nobody knows the addresses of endpoint ${endpointId}`);
        await this.claim(nodeId, claim, writer);
      } catch (error) {
        // What the store refuses is nobody's answer.
        if (!(error instanceof LinkspanError) || isStoreFailure(error)) throw error;
        writer.check();
        refused.push({ networkId, endpointId, message: error.message, code: error.code });
      }
    }
    return refused;
  }

  /** Success where they are gone. Code nodeRefused, and nothing done, where one is another node's. */
  async release(nodeId: string, endpoints: readonly EndpointName[], writer: Writer): Promise<void> {
    const rowOf = ({ networkId, endpointId }: EndpointName): SwarmEndpoint | undefined =>
      this.#book.states.get(networkId)?.feed.rows.get(endpointId);
    for (const one of endpoints) if ((rowOf(one)?.nodeId ?? nodeId) !== nodeId) throw otherNodes(one);
    const wanted = Map.groupBy(endpoints, ({ networkId }) => networkId);
    for (const [networkId, own] of wanted) {
      const ids = new Set(own.map(({ endpointId }) => endpointId));
      await this.#dropAll(networkId, (row) => row.nodeId === nodeId && ids.has(row.endpointId), writer);
    }
  }

  /**
   * The node has exactly `claims`: drops its other rows but those of `keep`, and writes what is missing. Resolves with
   * what it cannot have.
   */
  async sync(
    nodeId: string,
    claims: readonly EndpointClaim[],
    keep: readonly EndpointName[],
    writer: Writer,
  ): Promise<readonly Refusal[]> {
    const own = new Map(claims.map((claim) => [keyOf(claim), claim]));
    const kept = new Set(keep.map(keyOf));
    // A row with other addresses than the endpoint has is not its row.
    const isWrong = (row: SwarmEndpoint): boolean => {
      const claim = own.get(keyOf(row));
      if (claim === undefined) return !kept.has(keyOf(row));
      return families.some(({ field }) => claim[field] !== undefined && claim[field] !== row[field]);
    };
    for (const networkId of [...this.#book.states.keys()])
      await this.#dropAll(networkId, (row) => row.nodeId === nodeId && isWrong(row), writer);
    return await this.amend(nodeId, claims, writer);
  }

  /** Nodes that are no more: their endpoints are nobody's. */
  async dropNodes(isGone: (nodeId: string) => boolean): Promise<void> {
    for (const networkId of [...this.#book.states.keys()])
      await this.#dropAll(networkId, (row) => isGone(row.nodeId), manager);
  }

  #stateOf(networkId: string): NetworkState {
    const state = this.#book.states.get(networkId);
    if (state === undefined || state.record.isRemoving) throw noNetwork(networkId);
    return state;
  }

  #dropAll(networkId: string, isWanted: (row: SwarmEndpoint) => boolean, writer: Writer): Promise<void> {
    return this.#book.mutex.run(networkId, async () => {
      for (let attempt = 0; attempt < mostAttempts; ) {
        const state = this.#book.states.get(networkId);
        if (state === undefined) return;
        const drop = withBlocks(state, isWanted).slice(0, mostPerChange);
        if (drop.length === 0) return;
        if (await this.#commit(state, { add: [], replace: [], drop }, writer)) continue;
        attempt += 1;
      }
      throw givenUp('could not release endpoints');
    });
  }

  /** Undefined if another was faster. */
  async #replace(
    state: NetworkState,
    row: SwarmEndpoint,
    { ipv4: _four, ipv6: _six, ...claim }: EndpointClaim,
    writer: Writer,
  ): Promise<SwarmEndpoint | undefined> {
    const { ipv4, ipv6, nodeId } = row;
    if (claim.block !== row.block) throw otherNodes(row);
    const record: EndpointRecord = {
      ...claim,
      ...(ipv4 === undefined ? {} : { ipv4 }),
      ...(ipv6 === undefined ? {} : { ipv6 }),
      nodeId,
    };
    writer.check();
    if (isDeepStrictEqual(record, recordOf(row))) return row;
    const change = { add: [], replace: [{ row, record }], drop: [] };
    return (await this.#commit(state, change, writer)) ? state.feed.rows.get(row.endpointId) : undefined;
  }

  /** Undefined if another was faster, or may have been: unless `isFresh`, memory may be late. Then it is fresh. */
  async #add(
    state: NetworkState,
    nodeId: string,
    claim: EndpointClaim,
    writer: Writer,
    isFresh: boolean,
  ): Promise<SwarmEndpoint | undefined> {
    const chosen: { ipv4?: string; ipv6?: string } = {};
    const within: SwarmEndpoint[] = [];
    try {
      for (const { family, field, has } of families) {
        const wanted = claim[field];
        if (wanted === undefined && !state.network[has]) continue;
        if (claim.block !== undefined && claim.block !== family) continue;
        const block = findBlock(state, nodeId, claim, wanted);
        const isRefused = block instanceof LinkspanError;
        const ip = isRefused ? block : reserve(state, family, claim, this.#book.deps.clock.nowMs());
        if (ip instanceof LinkspanError) {
          if (isFresh || ip.code === 'addressInvalid') throw ip;
          await this.#book.deps.mirror.fresh();
          return undefined;
        }
        chosen[field] = ip;
        if (!isRefused && block !== undefined) within.push(block);
      }
      const { ipv4: _four, ipv6: _six, ...rest } = claim;
      const record: EndpointRecord = { ...rest, ...chosen, nodeId };
      const change = { add: [record], replace: [], drop: [], within };
      const isWritten = await this.#commit(state, change, writer);
      return isWritten ? state.feed.rows.get(claim.endpointId) : undefined;
    } finally {
      for (const ip of Object.values(chosen)) state.letGo(ip);
    }
  }

  /** False if a comparison failed. Memory has then what was written, by this manager or by the one that was faster. */
  async #commit(state: NetworkState, change: EndpointChange, writer: Writer): Promise<boolean> {
    const { mirror, clock } = this.#book.deps;
    const guard = writer.check();
    const { network, record, addresses } = state;
    const rested = addresses.takeRested(clock.nowMs(), mostPerChange);
    try {
      const at = { id: network.id, revision: record.revision };
      return await mirror.commit(planChange(at, change, guard, clock.nowMs() + restMs, rested));
    } finally {
      for (const ip of rested) state.letGo(ip);
    }
  }
}

/** The row of the node's block that the address is in; undefined where there need be none. */
function findBlock(
  state: NetworkState,
  nodeId: string,
  { block }: EndpointClaim,
  wanted: string | undefined,
): SwarmEndpoint | LinkspanError | undefined {
  const { blockBits, name } = state.network;
  if (blockBits === undefined)
    return block === undefined
      ? undefined
      : new LinkspanError('addressInvalid', `network ${name} has no blocks`);
  if (block !== undefined) return undefined;
  const ip = wanted === undefined ? undefined : parseIp(wanted);
  if (ip === undefined)
    return new LinkspanError('addressInvalid', `addresses of network ${name} are chosen by its nodes`);
  const first = formatIp(blockOf(ip, blockBits).base);
  const found = state.feed.rows.get(state.holderOf(first)?.endpointId ?? '');
  return found?.nodeId === nodeId
    ? found
    : new LinkspanError('addressTaken', `${wanted} is in no block that the node has of network ${name}`);
}

/** Blocks come after all that is in them. */
function withBlocks(
  { network, feed }: NetworkState,
  isWanted: (row: SwarmEndpoint) => boolean,
): readonly SwarmEndpoint[] {
  const rows = [...feed.rows.values()];
  const wanted = rows.filter(isWanted);
  const { blockBits } = network;
  const blocks = wanted.filter(({ block }) => block !== undefined);
  if (blockBits === undefined || blocks.length === 0) return wanted;
  const firsts = new Set(blocks.flatMap(addressesOf));
  const isInside = (row: SwarmEndpoint): boolean =>
    addressesOf(row).some((text) => {
      const ip = parseIp(text);
      return ip !== undefined && firsts.has(formatIp(blockOf(ip, blockBits).base));
    });
  const others = rows.filter((row) => row.block === undefined && (isWanted(row) || isInside(row)));
  return [...others, ...blocks];
}

/** Takes the address in memory, or says why not. */
function reserve(
  state: NetworkState,
  family: IpFamily,
  claim: EndpointClaim,
  nowMs: number,
): string | LinkspanError {
  const { addresses, network } = state;
  const isBlock = claim.block !== undefined;
  const wanted = claim[family === 4 ? 'ipv4' : 'ipv6'];
  if (wanted === undefined)
    return (
      state.reserveAny(family, nowMs) ??
      new LinkspanError(
        'addressesExhausted',
        `no available IPv${family} ${isBlock ? 'blocks' : 'addresses'} on this network's address pools: ${network.name} (${network.id})`,
      )
    );
  const ip = addresses.normalize(wanted, family, isBlock);
  if (ip === undefined)
    return new LinkspanError(
      'addressInvalid',
      `invalid endpoint settings:\nno configured subnet contains IP address ${wanted}`,
    );
  return state.reserve(ip) ? ip : new LinkspanError('addressTaken', 'Address already in use');
}
