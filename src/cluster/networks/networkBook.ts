/*
 * A swarm's networks as a manager keeps them: makes and removes them, and finds what endpoints.ts works on. Others may
 * write to the same store: what must hold is compared in the transaction that relies on it.
 */
import { Events } from '../../base/events.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import { isStoreFailure, LinkspanError } from '../../errors/linkspanError.ts';
import { overlaps, parsePrefix } from '../../net/prefix.ts';
import type { Entry, Write } from '../../store/store.ts';
import type { SwarmRecord } from '../membership/records.ts';
import type { SwarmNetwork, SwarmNetworkSpec, SwarmSurroundings } from '../swarmNetworks.ts';
import { NetworkState, type StateDependencies } from './networkState.ts';
import {
  allocationKey,
  type EndpointRecord,
  endpointsPrefix,
  epochKey,
  firstWrites,
  freedPrefix,
  type NetworkRecord,
  networkKey,
  networkNameKey,
  networksPrefix,
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

export class NetworkBook implements Disposable {
  readonly events: Events<BookEvents> = new Events();
  readonly epoch: string;
  /** A network's changes, one after the other; `networks` for what networks there are. */
  readonly mutex: KeyedMutex = new KeyedMutex();
  readonly deps: BookDependencies;
  readonly #states = new Map<string, NetworkState>();
  readonly #stopping = new AbortController();
  #revision = 0;

  private constructor(deps: BookDependencies, epoch: string) {
    this.deps = deps;
    this.epoch = epoch;
  }

  /** Takes up what is stored, and finishes removals that were cut short. */
  static async open(deps: BookDependencies): Promise<NetworkBook> {
    const { store, pools, clock } = deps;
    // A swarm of an earlier version has none of this.
    if ((await store.get(epochKey)) === undefined)
      await store.txn({ compare: [{ key: epochKey, is: 'absent' }], write: firstWrites(pools, clock) });
    const entry = await store.get(epochKey);
    const book = new NetworkBook(deps, (entry?.value as { readonly id: string } | undefined)?.id ?? '');
    await book.#takeUp();
    return book;
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
  }

  /** Of the store, when what networks there are was last known to be so. */
  get revision(): number {
    return this.#revision;
  }

  get networks(): readonly SwarmNetwork[] {
    return [...this.#states.values()].map(({ network }) => network);
  }

  get states(): ReadonlyMap<string, NetworkState> {
    return this.#states;
  }

  /** Codes networkNameTaken, poolOverlap, networkConflict, and what `plan` throws. */
  create(plan: (around: SwarmSurroundings) => SwarmNetworkSpec): Promise<SwarmNetwork> {
    return this.#change(async () => {
      const { store, pools, clock } = this.deps;
      for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
        // Before the networks: one that comes after them has changed it.
        const guard = await store.get(allocationKey);
        await this.#reload();
        const spec = plan({ networks: this.networks, ...pools });
        this.#check(spec);
        const network = toNetwork(spec, clock);
        const done = await store.txn({
          compare: [
            guard === undefined
              ? { key: allocationKey, is: 'absent' }
              : { key: allocationKey, is: 'revision', revision: guard.revision },
            { key: networkNameKey(network.name), is: 'absent' },
            ...network.vnis.map((vni) => ({ key: vniKey(vni), is: 'absent' as const })),
          ],
          write: writesOf(network),
        });
        if (!done.ok) continue;
        const entry: Entry = {
          key: networkKey(network.id),
          value: { network, isRemoving: false } satisfies NetworkRecord,
          revision: done.revision,
        };
        await this.#learn(entry);
        return network;
      }
      throw givenUp('could not make the network');
    });
  }

  /** Codes networkNotFound, swarmNetworkInUse. */
  remove(id: string): Promise<void> {
    return this.#change(() =>
      this.mutex.run(id, async () => {
        for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
          const state = this.#states.get(id);
          if (state === undefined) throw noNetwork(id);
          if (!(await state.reload())) {
            this.#forget(id);
            throw noNetwork(id);
          }
          checkUnused(state);
          // First of all nobody may come in any more: a claim compares the revision of this record.
          if (!(await this.#mark(state, true))) continue;
          if (await this.#finishRemoval(id)) return;
        }
        throw givenUp('could not remove the network');
      }),
    );
  }

  /** Another manager removed it. */
  drop(id: string): void {
    this.#forget(id);
  }

  /** A change of what networks there are. Where the store fails, nobody knows what it did: it is read again. */
  #change<T>(work: () => Promise<T>): Promise<T> {
    return this.mutex.run('networks', async () => {
      try {
        return await work();
      } catch (error) {
        if (isStoreFailure(error)) void this.#takeUpLater();
        throw error;
      }
    });
  }

  async #takeUpLater(): Promise<void> {
    const { signal } = this.#stopping;
    for (let isDone = false; !isDone && !signal.aborted; ) {
      // Aborted: nobody needs it.
      await this.deps.clock.sleep(againMs, signal).catch(() => {});
      if (signal.aborted) return;
      isDone = await this.mutex
        .run('networks', () => this.#takeUp())
        .then(
          () => true,
          () => false,
        );
    }
  }

  async #takeUp(): Promise<void> {
    const known = new Set(this.#states.keys());
    await this.#reload();
    for (const state of [...this.#states.values()]) {
      const { id } = state.network;
      await this.mutex.run(id, async () => {
        if (known.has(id) && !(await state.reload())) this.#forget(id);
        else if (state.record.isRemoving) await this.#finishRemoval(id);
      });
    }
  }

  /** Writes the record, if nobody else has. */
  async #mark(state: NetworkState, isRemoving: boolean): Promise<boolean> {
    const { network, record } = state;
    const value: NetworkRecord = { network, isRemoving };
    const key = networkKey(network.id);
    const done = await this.deps.store.txn({
      compare: [{ key, is: 'revision', revision: record.revision }],
      write: [{ key, put: value }],
    });
    if (done.ok) state.noteRecord(done.revision, isRemoving);
    return done.ok;
  }

  /** Of a network that is marked. False, and no mark, if an endpoint came up before the mark did. */
  async #finishRemoval(id: string): Promise<boolean> {
    const state = this.#states.get(id);
    if (state === undefined) return true;
    const { store } = this.deps;
    const rows = (await store.list(endpointsPrefix(id))).entries.map(({ value }) => value as EndpointRecord);
    if (rows.some(({ isUp }) => isUp)) {
      await this.#mark(state, false);
      return false;
    }
    const isClear = await dropStopped(store, { id, revision: state.record.revision }, rows);
    if (!isClear && (await state.reload())) return false;
    const rests = (await store.list(freedPrefix(id))).entries;
    for (let i = 0; i < rests.length; i += mostWrites)
      await store.txn({
        write: rests.slice(i, i + mostWrites).map(({ key }): Write => ({ key, del: true })),
        survives: 'process',
      });
    const { network, record } = state;
    const done = await store.txn({
      compare: [{ key: networkKey(id), is: 'revision', revision: record.revision }],
      write: [networkKey(id), networkNameKey(network.name), ...network.vnis.map(vniKey)].map((key) => ({
        key,
        del: true,
      })),
    });
    if (done.ok) this.#revision = done.revision;
    else if (await state.reload()) return false;
    this.#forget(id);
    return true;
  }

  /** What networks there are; states of those that are known stay as they are. */
  async #reload(): Promise<void> {
    const { entries, revision } = await this.deps.store.list(networksPrefix);
    this.#revision = revision;
    const listed = new Set(entries.map(({ value }) => (value as NetworkRecord).network.id));
    for (const id of this.#states.keys()) if (!listed.has(id)) this.#forget(id);
    for (const entry of entries)
      if (!this.#states.has((entry.value as NetworkRecord).network.id)) await this.#learn(entry);
  }

  async #learn(entry: Entry): Promise<void> {
    const state = await NetworkState.load(this.deps, this.epoch, entry);
    this.#states.set(state.network.id, state);
    this.events.emit('networks', { added: [state.network], removed: [] });
  }

  #forget(id: string): void {
    const state = this.#states.get(id);
    if (state === undefined) return;
    this.#states.delete(id);
    this.events.emit('networks', { added: [], removed: [state.network] });
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
