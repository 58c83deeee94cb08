/*
 * A swarm's networks as a manager keeps them: makes and removes them, and finds what endpoints.ts works on. Others may
 * write to the same store: what must hold is compared in the transaction that relies on it.
 */
import { Events } from '../../base/events.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import { isStoreFailure, LinkspanError } from '../../errors/linkspanError.ts';
import { overlaps, parsePrefix } from '../../net/prefix.ts';
import type { MirrorChange } from '../../store/mirror.ts';
import type { Entry, Write } from '../../store/store.ts';
import type { SwarmRecord } from '../membership/records.ts';
import type { SwarmEndpoint, SwarmNetwork, SwarmNetworkSpec, SwarmSurroundings } from '../swarmNetworks.ts';
import { type NetworkChange, NetworkState, type StateDependencies } from './networkState.ts';
import {
  allocationKey,
  type EndpointRecord,
  epochKey,
  firstWrites,
  freedPrefix,
  type NetworkRecord,
  networkKey,
  networkNameKey,
  toNetwork,
  vniKey,
  writesOf,
} from './records.ts';
import { dropStopped } from './stoppedEndpoints.ts';

export interface BookDependencies extends StateDependencies {
  readonly pools: Pick<SwarmRecord, 'addressPools' | 'subnetLength'>;
}

export interface BookEvents extends Record<string, unknown> {
  readonly networks: { readonly added: readonly SwarmNetwork[]; readonly removed: readonly SwarmNetwork[] };
  /** A network's record was written once more: it is going, or stays after all. */
  readonly changed: { readonly network: SwarmNetwork };
}

/** Others cannot be first for ever. */
export const mostAttempts = 20;
/** Of one transaction. */
const mostWrites = 100;

export function noNetwork(id: string): LinkspanError {
  return new LinkspanError('networkNotFound', `network ${id} not found`);
}

export function givenUp(what: string): LinkspanError {
  return new LinkspanError('store', `${what}: other managers changed it again and again`);
}

/** After a failure of the store. */
const againMs = 1000;

/** What a change of the store is to each network; by id. */
function sortByNetwork(put: Iterable<Entry>, del: readonly Entry[]): ReadonlyMap<string, OwnChange> {
  const changes = new Map<string, OwnChange>();
  const note = (key: string, entry: Entry | undefined): void => {
    const [, kind = '', id = '', name = ''] = key.split('/');
    if (!['networks', 'endpoints', 'ips', 'freed'].includes(kind)) return;
    const change = changes.get(id) ?? { record: 'same', put: [], del: [], addresses: new Set() };
    changes.set(id, change);
    if (kind === 'networks') change.record = entry ?? 'gone';
    else if (kind !== 'endpoints') change.addresses.add(name);
    else if (entry === undefined) change.del.push(name);
    else change.put.push({ ...(entry.value as EndpointRecord), revision: entry.revision });
  };
  for (const { key } of del) note(key, undefined);
  for (const entry of put) note(entry.key, entry);
  return changes;
}

interface OwnChange extends NetworkChange {
  record: Entry | 'same' | 'gone';
  readonly put: SwarmEndpoint[];
  readonly del: string[];
  readonly addresses: Set<string>;
}

export class NetworkBook implements Disposable {
  readonly events: Events<BookEvents> = new Events();
  readonly epoch: string;
  /** A network's changes, one after the other; `networks` for what networks there are. */
  readonly mutex: KeyedMutex = new KeyedMutex();
  readonly deps: BookDependencies;
  readonly #states = new Map<string, NetworkState>();
  readonly #stopping = new AbortController();
  readonly #listener: Disposable;

  private constructor(deps: BookDependencies, epoch: string) {
    const { mirror } = deps;
    this.deps = deps;
    this.epoch = epoch;
    this.#hear({ revision: mirror.revision, put: mirror.entries(), del: [] });
    this.#listener = mirror.events.on('changed', (change) => this.#hear(change));
  }

  /** Takes up what is stored, and finishes removals that were cut short. */
  static async open(deps: BookDependencies): Promise<NetworkBook> {
    const { mirror, pools, clock } = deps;
    // A swarm of an earlier version has none of this.
    if (mirror.get(epochKey) === undefined)
      await mirror.commit({ compare: [{ key: epochKey, is: 'absent' }], write: firstWrites(pools, clock) });
    const { id = '' } = (mirror.get(epochKey)?.value ?? {}) as { readonly id?: string };
    const book = new NetworkBook(deps, id);
    await book.finishRemovals();
    return book;
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
    this.#stopping.abort();
  }

  /** Of the store, up to which what networks there are is known. */
  get revision(): number {
    return this.deps.mirror.revision;
  }

  get networks(): readonly SwarmNetwork[] {
    return [...this.#states.values()].map(({ network }) => network);
  }

  get states(): ReadonlyMap<string, NetworkState> {
    return this.#states;
  }

  /** Codes networkNameTaken, poolOverlap, networkConflict, and what `plan` throws. */
  create(plan: (around: SwarmSurroundings) => SwarmNetworkSpec): Promise<SwarmNetwork> {
    return this.mutex.run('networks', async () => {
      const { mirror, pools, clock } = this.deps;
      await mirror.fresh();
      for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
        const spec = plan({ networks: this.networks, ...pools });
        this.#check(spec);
        const network = toNetwork(spec, clock);
        const isDone = await mirror.commit({
          compare: [
            // A network that comes after these has changed it.
            mirror.unchanged(allocationKey),
            { key: networkNameKey(network.name), is: 'absent' },
            ...network.vnis.map((vni) => ({ key: vniKey(vni), is: 'absent' as const })),
          ],
          write: writesOf(network),
        });
        if (isDone) return network;
      }
      throw givenUp('could not make the network');
    });
  }

  /** Codes networkNotFound, swarmNetworkInUse. */
  remove(id: string): Promise<void> {
    return this.mutex.run(id, async () => {
      try {
        await this.deps.mirror.fresh();
        for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
          const state = this.#states.get(id);
          if (state === undefined) throw noNetwork(id);
          checkUnused(state);
          // First of all nobody may come in any more: a claim compares the revision of this record.
          if ((await this.#mark(state, true)) && (await this.#finishRemoval(id))) return;
        }
        throw givenUp('could not remove the network');
      } catch (error) {
        // Nobody knows what the store did: it may be marked.
        if (isStoreFailure(error)) void this.#finishLater();
        throw error;
      }
    });
  }

  async #finishLater(): Promise<void> {
    const { signal } = this.#stopping;
    for (let isDone = false; !isDone && !signal.aborted; ) {
      // Aborted: nobody needs it.
      await this.deps.clock.sleep(againMs, signal).catch(() => {});
      if (signal.aborted) return;
      isDone = await this.finishRemovals().then(
        () => true,
        () => false,
      );
    }
  }

  /** Of networks that are marked as going, whoever marked them. */
  async finishRemovals(): Promise<void> {
    for (const [id, { record }] of [...this.#states])
      if (record.isRemoving) await this.mutex.run(id, () => this.#finishRemoval(id));
  }

  /** Writes the record, if nobody else has. */
  #mark({ network, record }: NetworkState, isRemoving: boolean): Promise<boolean> {
    const value: NetworkRecord = { network, isRemoving };
    const key = networkKey(network.id);
    return this.deps.mirror.commit({
      compare: [{ key, is: 'revision', revision: record.revision }],
      write: [{ key, put: value }],
    });
  }

  /** Of a network that is marked. False, and no mark, if an endpoint came up before the mark did. */
  async #finishRemoval(id: string): Promise<boolean> {
    const { store, mirror } = this.deps;
    const state = this.#states.get(id);
    if (state?.record.isRemoving !== true) return state === undefined;
    const { network, record, feed } = state;
    const rows = [...feed.rows.values()];
    if (rows.some(({ isUp }) => isUp)) {
      await this.#mark(state, false);
      return false;
    }
    if (!(await dropStopped(mirror, { id, revision: record.revision }, rows))) return !this.#states.has(id);
    const rests = (await store.list(freedPrefix(id))).entries;
    for (let i = 0; i < rests.length; i += mostWrites)
      await store.txn({
        write: rests.slice(i, i + mostWrites).map(({ key }): Write => ({ key, del: true })),
        survives: 'process',
      });
    await mirror.commit({
      compare: [{ key: networkKey(id), is: 'revision', revision: record.revision }],
      write: [networkKey(id), networkNameKey(network.name), ...network.vnis.map(vniKey)].map((key) => ({
        key,
        del: true,
      })),
    });
    return !this.#states.has(id);
  }

  #hear({ revision, put, del }: Omit<MirrorChange, 'put'> & { readonly put: Iterable<Entry> }): void {
    const removed: SwarmNetwork[] = [];
    const added: SwarmNetwork[] = [];
    for (const [id, change] of sortByNetwork(put, del)) {
      const state = this.#states.get(id);
      const { record } = change;
      if (record === 'gone') {
        if (this.#states.delete(id) && state !== undefined) removed.push(state.network);
      } else if (state !== undefined) {
        if (record !== 'same') {
          state.noteRecord(record);
          this.events.emit('changed', { network: state.network });
        }
        state.apply(revision, change);
      } else if (record !== 'same') {
        const made = new NetworkState(this.deps, this.epoch, record, change);
        this.#states.set(id, made);
        added.push(made.network);
      }
    }
    if (added.length + removed.length > 0) this.events.emit('networks', { added, removed });
  }

  /** Who planned it should have seen to that. */
  #check({ name, vnis, pools }: SwarmNetworkSpec): void {
    const subnets = pools.flatMap(({ subnet }) => parsePrefix(subnet) ?? []);
    for (const other of this.networks) {
      if (other.name === name)
        throw new LinkspanError('networkNameTaken', `network with name ${name} already exists`);
      if (other.vnis.some((vni) => vnis.includes(vni)))
        throw new LinkspanError('networkConflict', `network ${other.name} has the same VXLAN ID`);
      const theirs = other.pools.flatMap(({ subnet }) => parsePrefix(subnet) ?? []);
      if (theirs.some((one) => subnets.some((own) => overlaps(own, one))))
        throw new LinkspanError(
          'poolOverlap',
          'invalid pool request: Pool overlaps with other one on this address space',
        );
    }
  }
}

/** Docker's text for a network with tasks; ours have containers. */
function checkUnused({ network, feed }: NetworkState): void {
  const row = [...feed.rows.values()].find(({ isUp }) => isUp);
  if (row !== undefined)
    throw new LinkspanError(
      'swarmNetworkInUse',
      `rpc error: code = FailedPrecondition desc = network ${network.id} is in use by task ${row.containerId}`,
    );
}
