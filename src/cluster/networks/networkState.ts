/*
 * One network as a manager knows it: its record, its addresses and its table, from the store and kept in step with what
 * this manager writes. Where another manager wrote, a comparison fails and all is read again.
 */
import type { Clock } from '../../base/clock.ts';
import type { Entry, Store } from '../../store/store.ts';
import type { SwarmEndpoint, SwarmNetwork } from '../swarmNetworks.ts';
import { AddressBook } from './addressBook.ts';
import {
  addressesOf,
  type EndpointRecord,
  endpointsPrefix,
  freedPrefix,
  type NetworkRecord,
  networkKey,
  type Rest,
} from './records.ts';
import { type TableChange, TableFeed } from './tableFeed.ts';

export interface StateDependencies {
  readonly store: Store;
  readonly clock: Clock;
  /** Runs work a little later, in order: what happens until then goes out together. */
  readonly turn: (work: () => void) => void;
}

const toRow = ({ value, revision }: Entry): SwarmEndpoint => ({ ...(value as EndpointRecord), revision });

export class NetworkState {
  readonly network: SwarmNetwork;
  readonly feed: TableFeed;
  readonly #deps: StateDependencies;
  #record: { readonly revision: number; readonly isRemoving: boolean };
  #addresses: AddressBook;
  #isDoubtful = false;

  private constructor(deps: StateDependencies, record: Entry, addresses: AddressBook, feed: TableFeed) {
    const { network, isRemoving } = record.value as NetworkRecord;
    this.#deps = deps;
    this.network = network;
    this.#record = { revision: record.revision, isRemoving };
    this.#addresses = addresses;
    this.feed = feed;
  }

  static async load(deps: StateDependencies, epoch: string, record: Entry): Promise<NetworkState> {
    const { network } = record.value as NetworkRecord;
    const { rows, revision, addresses } = await read(deps, network);
    return new NetworkState(
      deps,
      record,
      addresses,
      new TableFeed(network.id, epoch, revision, rows, deps.turn),
    );
  }

  get addresses(): AddressBook {
    return this.#addresses;
  }

  get record(): { readonly revision: number; readonly isRemoving: boolean } {
    return this.#record;
  }

  /** Its record was written, by this manager. */
  noteRecord(revision: number, isRemoving: boolean): void {
    this.#record = { revision, isRemoving };
  }

  /** What memory says of addresses may be wrong: they were taken for a change that was not made, or may not have been. */
  doubt(): void {
    this.#isDoubtful = true;
  }

  trust(): void {
    this.#isDoubtful = false;
  }

  get isDoubtful(): boolean {
    return this.#isDoubtful;
  }

  /** Takes from the store what others changed. False if the network is gone. */
  async reload(): Promise<boolean> {
    const entry = await this.#deps.store.get(networkKey(this.network.id));
    if (entry === undefined) return false;
    this.noteRecord(entry.revision, (entry.value as NetworkRecord).isRemoving);
    const { rows, revision, addresses } = await read(this.#deps, this.network);
    const listed = new Set(rows.map(({ endpointId }) => endpointId));
    const known = this.feed.rows;
    const change: TableChange = {
      revision,
      put: rows.filter((row) => known.get(row.endpointId)?.revision !== row.revision),
      del: [...known.keys()].filter((id) => !listed.has(id)),
    };
    this.#addresses = addresses;
    this.#isDoubtful = false;
    if (change.put.length + change.del.length > 0) this.feed.apply(change);
    return true;
  }
}

async function read(
  { store }: StateDependencies,
  network: SwarmNetwork,
): Promise<{ rows: readonly SwarmEndpoint[]; revision: number; addresses: AddressBook }> {
  // Those that rest first: an address that is claimed between the two counts as taken.
  const rests = (await store.list(freedPrefix(network.id))).entries
    .map(({ key, value }) => ({
      ip: key.slice(freedPrefix(network.id).length),
      notBeforeMs: (value as Rest).notBeforeMs,
    }))
    .sort((a, b) => a.notBeforeMs - b.notBeforeMs);
  const { entries, revision } = await store.list(endpointsPrefix(network.id));
  const rows = entries.map(toRow);
  const addresses = new AddressBook(network);
  for (const { ip, notBeforeMs } of rests) addresses.rest(ip, notBeforeMs);
  for (const row of rows) for (const ip of addressesOf(row)) addresses.take(ip);
  return { rows, revision, addresses };
}
