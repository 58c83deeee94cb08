/*
 * One network's table on a manager, and what its followers get of it: a snapshot or what came since the revision that
 * they have, then each change. What happens within a turn goes out together, encoded once for all.
 */
import type { SwarmEndpoint } from '../swarmNetworks.ts';
import type { Link } from './link.ts';
import { type ChangesPush, type Gone, maxPartBytes, maxPartRows, type SnapshotPart } from './wire.ts';

export interface TableChange {
  readonly revision: number;
  readonly put: readonly SwarmEndpoint[];
  readonly del: readonly string[];
}

/** Remembered for those who come back. */
const longestMemory = 10_000;
/** A follower that takes in so little is cut off, and begins again with what is new then. Bytes. */
const mostWaitingBytes: number = 4 << 20;

export class TableFeed {
  readonly #network: string;
  readonly #epoch: string;
  readonly #turn: (work: () => void) => void;
  readonly #rows = new Map<string, SwarmEndpoint>();
  /** The store's revision up to which nothing is missing, though the table's last change may be older. */
  readonly #knownTo: () => number;
  #revision: number;
  /** Rows put and gone, in order of revision; all of them since `#remembersFrom`. */
  #recent: (SwarmEndpoint | Gone)[] = [];
  #remembersFrom: number;
  /** Followers have everything up to here. */
  #told: number;
  #isTurnComing = false;
  readonly #followers = new Set<Link>();
  /** Encoded, until the table changes. */
  #snapshot: { readonly revision: number; readonly parts: readonly Buffer[] } | undefined;

  constructor(
    network: string,
    epoch: string,
    knownTo: () => number,
    rows: readonly SwarmEndpoint[],
    turn: (work: () => void) => void,
  ) {
    this.#network = network;
    this.#epoch = epoch;
    this.#turn = turn;
    this.#knownTo = knownTo;
    this.#revision = this.#remembersFrom = this.#told = knownTo();
    for (const row of rows) this.#rows.set(row.endpointId, row);
  }

  get rows(): ReadonlyMap<string, SwarmEndpoint> {
    return this.#rows;
  }

  get revision(): number {
    return this.#revision;
  }

  /** A change of the store; in order of revision. */
  apply({ revision, put, del }: TableChange): void {
    for (const row of put) this.#rows.set(row.endpointId, row);
    for (const id of del) this.#rows.delete(id);
    this.#recent.push(...put, ...del.map((endpointId) => ({ endpointId, revision })));
    this.#revision = Math.max(this.#revision, revision);
    this.#snapshot = undefined;
    if (this.#recent.length > longestMemory) {
      const [forgotten] = this.#recent.splice(0, this.#recent.length - longestMemory / 2).slice(-1);
      this.#remembersFrom = forgotten?.revision ?? this.#remembersFrom;
      // A revision is remembered whole or not at all.
      this.#recent = this.#recent.filter((one) => one.revision > this.#remembersFrom);
      // They cannot be told what is not remembered: they ask again.
      if (this.#told < this.#remembersFrom) for (const link of [...this.#followers]) link.drop();
    }
    if (this.#isTurnComing || this.#followers.size === 0) return;
    this.#isTurnComing = true;
    this.#turn(() => this.#tell());
  }

  /** From now on `link` gets all changes, after what it lacks. Returns how to end that. */
  follow(link: Link, from: { readonly epoch: string; readonly revision: number }): () => void {
    const state = { isOver: false };
    if (from.epoch === this.#epoch && this.#remembers(from.revision)) this.#goOn(link, from.revision);
    else this.#sendSnapshot(link, state);
    return () => {
      state.isOver = true;
      this.#followers.delete(link);
    };
  }

  #remembers(revision: number): boolean {
    return revision >= this.#remembersFrom && revision <= Math.max(this.#revision, this.#knownTo());
  }

  #goOn(link: Link, revision: number): void {
    // So that all followers are at the same revision, and one message does for all.
    this.#tell();
    link.send(this.#encodeSince(revision));
    this.#followers.add(link);
  }

  #tell(): void {
    this.#isTurnComing = false;
    if (this.#told === this.#revision) return;
    const message = this.#followers.size === 0 ? undefined : this.#encodeSince(this.#told);
    this.#told = this.#revision;
    if (message === undefined) return;
    for (const link of this.#followers)
      if (link.waitingBytes > mostWaitingBytes) link.drop();
      else link.send(message);
  }

  #encodeSince(previous: number): Buffer {
    const put = new Map<string, SwarmEndpoint>();
    const del = new Map<string, Gone>();
    for (const one of this.#recent) {
      if (one.revision <= previous) continue;
      const { endpointId } = one;
      put.delete(endpointId);
      del.delete(endpointId);
      if ('mac' in one) put.set(endpointId, one);
      else del.set(endpointId, one);
    }
    const message: ChangesPush = {
      ...{ type: 'changes', network: this.#network, epoch: this.#epoch, previous },
      // `previous` is later where another manager began with a later revision, and nothing changed the table since.
      revision: Math.max(previous, this.#revision),
      put: [...put.values()],
      del: [...del.values()],
    };
    return Buffer.from(JSON.stringify(message));
  }

  /** Part after part, as the follower takes them in; then what came meanwhile. */
  #sendSnapshot(link: Link, state: { readonly isOver: boolean }): void {
    const { revision, parts } = (this.#snapshot ??= {
      revision: this.#revision,
      parts: this.#encodeSnapshot(),
    });
    const sendFrom = (i: number): void => {
      if (state.isOver) return;
      const part = parts[i];
      if (part !== undefined) link.send(part, () => sendFrom(i + 1));
      else if (this.#remembers(revision)) this.#goOn(link, revision);
      else this.#sendSnapshot(link, state);
    };
    sendFrom(0);
  }

  #encodeSnapshot(): readonly Buffer[] {
    const groups: string[][] = [[]];
    let bytes = 0;
    for (const row of this.#rows.values()) {
      const text = JSON.stringify(row);
      const group = groups.at(-1) ?? [];
      bytes += text.length;
      if (group.length >= maxPartRows || bytes > maxPartBytes) {
        groups.push([text]);
        bytes = text.length;
      } else group.push(text);
    }
    const shared = { type: 'snapshot', network: this.#network, epoch: this.#epoch, revision: this.#revision };
    return groups.map((rows, part) => {
      const head: Omit<SnapshotPart, 'rows' | 'type'> & { readonly type: string } = {
        ...shared,
        part,
        isLast: part === groups.length - 1,
      };
      return Buffer.from(`${JSON.stringify(head).slice(0, -1)},"rows":[${rows.join(',')}]}`);
    });
  }
}
