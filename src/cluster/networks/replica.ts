/*
 * What a node knows of its swarm's networks: all networks and nodes, and the tables of those that it follows, as managers
 * tell it. What is told twice, or late, changes nothing. Pure; says what changed.
 */
import { isDeepStrictEqual } from 'node:util';
import type { SwarmEndpoint, SwarmNetwork, SwarmNode } from '../swarmNetworks.ts';
import type { ChangesPush, NetworksPush, NodesPush, SnapshotPart } from './wire.ts';

export interface Table {
  readonly epoch: string;
  /** Everything up to here is in it. */
  readonly revision: number;
  readonly rows: ReadonlyMap<string, SwarmEndpoint>;
  /** It is what a manager of the session of today has told, not of an earlier one. */
  readonly isCurrent: boolean;
}

export interface RowChanges {
  readonly isSnapshot: boolean;
  /** Rows as they are now, with what was known of them before. */
  readonly put: readonly { readonly row: SwarmEndpoint; readonly before: SwarmEndpoint | undefined }[];
  readonly del: readonly SwarmEndpoint[];
}

/** `gap`: something is missing, and the table must be asked for again. */
export type Outcome = RowChanges | 'gap' | 'incomplete';

interface OwnTable {
  epoch: string;
  revision: number;
  rows: Map<string, SwarmEndpoint>;
  isCurrent: boolean;
  /** Of a snapshot that is coming in. */
  coming:
    | { readonly epoch: string; readonly revision: number; readonly rows: SwarmEndpoint[]; part: number }
    | undefined;
}

const nothing: Table = { epoch: '', revision: 0, rows: new Map(), isCurrent: false };

export class Replica {
  readonly #networks = new Map<string, SwarmNetwork>();
  readonly #nodes = new Map<string, SwarmNode>();
  readonly #tables = new Map<string, OwnTable>();

  get networks(): ReadonlyMap<string, SwarmNetwork> {
    return this.#networks;
  }

  get nodes(): ReadonlyMap<string, SwarmNode> {
    return this.#nodes;
  }

  get tables(): ReadonlyMap<string, Table> {
    return this.#tables;
  }

  table(networkId: string): Table {
    return this.#tables.get(networkId) ?? nothing;
  }

  /** Makes it known without a manager. */
  restore(networkId: string, { epoch, revision, rows }: Omit<Table, 'isCurrent'>): void {
    this.#tables.set(networkId, {
      ...{ epoch, revision, rows: new Map(rows), isCurrent: false, coming: undefined },
    });
  }

  /** The session is over: what is known stays, and may be old. */
  age(): void {
    for (const table of this.#tables.values()) {
      table.isCurrent = false;
      table.coming = undefined;
    }
  }

  /** Forgets a table; resolves to its rows. */
  drop(networkId: string): void {
    this.#tables.delete(networkId);
  }

  applyNetworks({ isAll, networks, gone }: Omit<NetworksPush, 'type'>): {
    readonly added: readonly SwarmNetwork[];
    readonly removed: readonly SwarmNetwork[];
  } {
    const listed = new Set(networks.map(({ id }) => id));
    const lost = isAll ? [...this.#networks.keys()].filter((id) => !listed.has(id)) : gone;
    const removed = lost.flatMap((id) => this.#networks.get(id) ?? []);
    const added = networks.filter(({ id }) => !this.#networks.has(id));
    for (const { id } of removed) this.#networks.delete(id);
    for (const network of networks) this.#networks.set(network.id, network);
    return { added, removed };
  }

  /** Ids of nodes that are not as they were. */
  applyNodes({ isAll, nodes, gone }: Omit<NodesPush, 'type'>): readonly string[] {
    const listed = new Set(nodes.map(({ id }) => id));
    const lost = isAll ? [...this.#nodes.keys()].filter((id) => !listed.has(id)) : gone;
    const changed = nodes.filter((node) => {
      const { hostname, vtep, isDown, isRelay, tunnel } = this.#nodes.get(node.id) ?? {};
      const isSame = hostname === node.hostname && vtep === node.vtep && isDown === node.isDown;
      return !isSame || isRelay !== node.isRelay || !isDeepStrictEqual(tunnel, node.tunnel);
    });
    const removed = lost.filter((id) => this.#nodes.delete(id));
    for (const node of nodes) this.#nodes.set(node.id, node);
    return [...changed.map(({ id }) => id), ...removed];
  }

  applySnapshot({ network, epoch, revision, rows, part, isLast }: SnapshotPart): Outcome {
    const table = this.#own(network);
    if (part === 0) table.coming = { epoch, revision, rows: [], part: 0 };
    const { coming } = table;
    if (coming?.epoch !== epoch || coming.revision !== revision || coming.part !== part) {
      table.coming = undefined;
      return 'gap';
    }
    coming.rows.push(...rows);
    coming.part += 1;
    if (!isLast) return 'incomplete';
    table.coming = undefined;
    const before = table.rows;
    table.rows = new Map(coming.rows.map((row) => [row.endpointId, row]));
    const del = [...before.values()].filter(({ endpointId }) => !table.rows.has(endpointId));
    Object.assign(table, { epoch, revision, isCurrent: true });
    const put = coming.rows.map((row) => ({ row, before: before.get(row.endpointId) }));
    return { isSnapshot: true, put, del };
  }

  applyChanges({ network, epoch, previous, revision, put, del }: ChangesPush): Outcome {
    const table = this.#own(network);
    // Of what is known already, whoever repeats it.
    if (epoch === table.epoch && revision <= table.revision && table.isCurrent)
      return { isSnapshot: false, put: [], del: [] };
    // From before what is known: another manager told of later revisions that the table did not change with.
    if (epoch !== table.epoch || previous > table.revision) return 'gap';
    const written = put.flatMap((row) => {
      const before = table.rows.get(row.endpointId);
      return (before?.revision ?? -1) < row.revision ? { row, before } : [];
    });
    for (const { row } of written) table.rows.set(row.endpointId, row);
    const removed = del.flatMap((gone) => {
      const known = table.rows.get(gone.endpointId);
      return known !== undefined && known.revision < gone.revision ? known : [];
    });
    for (const { endpointId } of removed) table.rows.delete(endpointId);
    Object.assign(table, { revision: Math.max(revision, table.revision), isCurrent: true });
    return { isSnapshot: false, put: written, del: removed };
  }

  #own(networkId: string): OwnTable {
    const known = this.#tables.get(networkId);
    if (known !== undefined) return known;
    const made: OwnTable = { epoch: '', revision: 0, rows: new Map(), isCurrent: false, coming: undefined };
    this.#tables.set(networkId, made);
    return made;
  }
}
