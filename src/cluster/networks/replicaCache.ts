/*
 * A node's memory of what managers told it, so that it can start again while none answers:
 *
 *   swarm/networks/<id>, swarm/nodes/<id>
 *   swarm/endpoints/<network>/<endpoint>   a row of a table that the node follows
 *   swarm/tables/<network>                 how far these rows go: epoch and revision
 *
 * Writes follow each other, and each leaves what is whole: a long one says first that the rows are of no revision.
 */
import type { Logger } from '../../base/logger.ts';
import type { Store, Write } from '../../store/store.ts';
import type { SwarmEndpoint, SwarmNetwork, SwarmNode } from '../swarmNetworks.ts';
import type { Replica, RowChanges, Table } from './replica.ts';

interface Mark {
  readonly epoch: string;
  readonly revision: number;
}

const networksPrefix = 'swarm/networks/';
const nodesPrefix = 'swarm/nodes/';
const tablesPrefix = 'swarm/tables/';
const rowsPrefix = (networkId: string): string => `swarm/endpoints/${networkId}/`;
const rowKey = (networkId: string, id: string): string => `${rowsPrefix(networkId)}${id}`;
/** Of no revision: what is there may be used, and must be asked for again. */
const unfinished: Mark = { epoch: '', revision: 0 };
const mostWrites = 1000;

export class ReplicaCache {
  readonly #store: Store;
  readonly #logger: Logger;
  #queue: Promise<void> = Promise.resolve();
  /** Something was not written; no revision is trusted until a daemon starts again. */
  #hasFailed = false;

  constructor(store: Store, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  async load(replica: Replica): Promise<void> {
    const values = async <T>(prefix: string): Promise<readonly T[]> =>
      (await this.#store.list(prefix)).entries.map(({ value }) => value as T);
    const networks = await values<SwarmNetwork>(networksPrefix);
    replica.applyNetworks({ isAll: true, networks, gone: [] });
    const nodes = await values<SwarmNode>(nodesPrefix);
    replica.applyNodes({ isAll: true, nodes, gone: [] });
    for (const { key, value } of (await this.#store.list(tablesPrefix)).entries) {
      const id = key.slice(tablesPrefix.length);
      const rows = await values<SwarmEndpoint>(rowsPrefix(id));
      replica.restore(id, { ...(value as Mark), rows: new Map(rows.map((row) => [row.endpointId, row])) });
    }
  }

  /** What is known before there was a cache; its tables are asked for again. */
  keepAll(replica: Replica): void {
    this.keepNetworks([...replica.networks.values()], []);
    this.keepNodes([...replica.nodes.keys()], replica.nodes);
    for (const [id, { rows }] of replica.tables) {
      const put = [...rows.values()].map((row) => ({ row, before: undefined }));
      this.keepTable(id, { ...unfinished, rows, isCurrent: false }, { isSnapshot: true, put, del: [] });
    }
  }

  keepNetworks(added: readonly SwarmNetwork[], removed: readonly SwarmNetwork[]): void {
    this.#write([
      ...added.map((network): Write => ({ key: `${networksPrefix}${network.id}`, put: network })),
      ...removed.map(({ id }): Write => ({ key: `${networksPrefix}${id}`, del: true })),
    ]);
  }

  keepNodes(changed: readonly string[], nodes: ReadonlyMap<string, SwarmNode>): void {
    this.#write(
      changed.map((id): Write => {
        const key = `${nodesPrefix}${id}`;
        const node = nodes.get(id);
        return node === undefined ? { key, del: true } : { key, put: node };
      }),
    );
  }

  keepTable(networkId: string, { epoch, revision }: Table, { put, del }: RowChanges): void {
    const key = `${tablesPrefix}${networkId}`;
    const mark: Mark = { epoch, revision };
    const rows = [
      ...put
        .filter(({ row, before }) => row.revision !== before?.revision)
        .map(({ row }): Write => ({ key: rowKey(networkId, row.endpointId), put: row })),
      ...del.map(({ endpointId }): Write => ({ key: rowKey(networkId, endpointId), del: true })),
    ];
    this.#enqueue(async () => {
      if (rows.length >= mostWrites) await this.#txns([{ key, put: unfinished }]);
      // Asked now: what came before may have failed meanwhile.
      await this.#txns([...rows, { key, put: this.#hasFailed ? unfinished : mark }]);
    });
  }

  dropTable(networkId: string): void {
    this.#enqueue(async () => {
      const { entries } = await this.#store.list(rowsPrefix(networkId));
      const rows = entries.map(({ key }): Write => ({ key, del: true }));
      await this.#txns([{ key: `${tablesPrefix}${networkId}`, del: true }, ...rows]);
    });
  }

  /** Resolves when everything so far is written. */
  settle(): Promise<void> {
    return this.#queue;
  }

  #write(writes: readonly Write[]): void {
    if (writes.length > 0) this.#enqueue(() => this.#txns(writes));
  }

  /** What a power cut takes, a manager tells again. */
  async #txns(writes: readonly Write[]): Promise<void> {
    for (let i = 0; i < writes.length; i += mostWrites)
      await this.#store.txn({ write: writes.slice(i, i + mostWrites), survives: 'process' });
  }

  #enqueue(work: () => Promise<void>): void {
    this.#queue = this.#queue.then(async () => {
      try {
        await work();
      } catch (error) {
        this.#hasFailed = true;
        this.#logger.error({ err: error }, 'could not store what managers told of networks');
      }
    });
  }
}
