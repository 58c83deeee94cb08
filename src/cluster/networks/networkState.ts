/*
 * One network as a manager knows it: its record, its addresses and its table, kept in step with the store by what the
 * mirror hears. Addresses that a change under way wants are reserved meanwhile.
 */
import type { Clock } from '../../base/clock.ts';
import type { IpFamily } from '../../net/ip.ts';
import type { Mirror } from '../../store/mirror.ts';
import type { Entry, Store } from '../../store/store.ts';
import type { SwarmEndpoint, SwarmNetwork } from '../swarmNetworks.ts';
import { AddressBook } from './addressBook.ts';
import { freedKey, type Holder, holderKey, type NetworkRecord, type Rest } from './records.ts';
import { TableFeed } from './tableFeed.ts';

export interface StateDependencies {
  readonly store: Store;
  readonly mirror: Mirror;
  readonly clock: Clock;
  /** Runs work a little later, in order: what happens until then goes out together. */
  readonly turn: (work: () => void) => void;
}

/** What a change of the store is to one network. */
export interface NetworkChange {
  readonly put: readonly SwarmEndpoint[];
  /** Endpoints. */
  readonly del: readonly string[];
  /** Addresses of which it says something. */
  readonly addresses: ReadonlySet<string>;
}

export class NetworkState {
  readonly network: SwarmNetwork;
  readonly feed: TableFeed;
  readonly addresses: AddressBook;
  readonly #mirror: Mirror;
  readonly #reserved = new Set<string>();
  #record: { readonly revision: number; readonly isRemoving: boolean };

  constructor({ mirror, turn }: StateDependencies, epoch: string, record: Entry, change: NetworkChange) {
    const { network, isRemoving } = record.value as NetworkRecord;
    this.#mirror = mirror;
    this.network = network;
    this.#record = { revision: record.revision, isRemoving };
    this.addresses = new AddressBook(network);
    this.feed = new TableFeed(network.id, epoch, () => mirror.revision, change.put, turn);
    const notBefore = (ip: string): number => this.#restOf(ip)?.notBeforeMs ?? 0;
    for (const ip of [...change.addresses].sort((a, b) => notBefore(a) - notBefore(b))) this.#settle(ip);
  }

  get record(): { readonly revision: number; readonly isRemoving: boolean } {
    return this.#record;
  }

  noteRecord({ revision, value }: Entry): void {
    this.#record = { revision, isRemoving: (value as NetworkRecord).isRemoving };
  }

  apply(revision: number, { put, del, addresses }: NetworkChange): void {
    for (const ip of addresses) this.#settle(ip);
    if (put.length + del.length > 0) this.feed.apply({ revision, put, del });
  }

  /** Takes the address by name, until `letGo`. False if it is taken, or none of the network's. */
  reserve(ip: string): boolean {
    if (!this.addresses.take(ip)) return false;
    this.#reserved.add(ip);
    return true;
  }

  /** Takes one that is free, until `letGo`; undefined if there is none. */
  reserveAny(family: IpFamily, nowMs: number): string | undefined {
    const ip = this.addresses.takeAny(family, nowMs);
    if (ip !== undefined) this.#reserved.add(ip);
    return ip;
  }

  /** The change is over, done or not. */
  letGo(ip: string): void {
    this.#reserved.delete(ip);
    this.#settle(ip);
  }

  /** Whose endpoint, or whose block, has the address. */
  holderOf(ip: string): Holder | undefined {
    return this.#mirror.get(holderKey(this.network.id, ip))?.value as Holder | undefined;
  }

  /** As the store has it. */
  #settle(ip: string): void {
    if (this.#reserved.has(ip)) return;
    const rest = this.#restOf(ip);
    if (this.#mirror.get(holderKey(this.network.id, ip)) !== undefined) this.addresses.take(ip);
    else if (rest === undefined) this.addresses.free(ip);
    else this.addresses.rest(ip, rest.notBeforeMs);
  }

  #restOf(ip: string): Rest | undefined {
    return this.#mirror.get(freedKey(this.network.id, ip))?.value as Rest | undefined;
  }
}
