/*
 * The database itself: one SQLite file in WAL mode, held exclusively (a second daemon on the same data root is refused
 * by the file lock, which the kernel drops when the holder dies). Synchronous; runs in the store worker.
 * Schema versions are in PRAGMA user_version; each migration takes the file from its index to the next.
 */
import { closeSync, fdatasync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Seam } from '../base/seam.ts';
import type { Compare, Survival } from './store.ts';
import type { RawEntry, RawTxn } from './storeProtocol.ts';

const migrations: readonly string[] = [
  `CREATE TABLE entries (key TEXT PRIMARY KEY, json TEXT NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE counter (revision INTEGER NOT NULL);
   INSERT INTO counter VALUES (0);`,
];

/** Thrown when the file was written by a later version of this program. */
export class NewerSchema extends Error {}

export class SqliteDatabase {
  readonly #db: DatabaseSync;
  readonly #seam: Seam;
  #survives: Survival = 'machine';
  /** The log of commits, which SQLite has open too, from the first look into the file until it is closed. */
  readonly #log: number;
  /** The wait for the disk that is about to begin, shared by all who ask before it does. */
  #nextSync: Promise<void> | undefined;
  #lastSync: Promise<void> = Promise.resolve();
  readonly #statements: Readonly<
    Record<'get' | 'list' | 'put' | 'del' | 'revision' | 'setRevision', StatementSync>
  >;

  /** Opens or creates the file and migrates it. Throws SQLite's own error if it is locked (`database is locked`). */
  constructor(path: string, seam: Seam) {
    this.#db = new DatabaseSync(path);
    this.#seam = seam;
    this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    this.#migrate();
    this.#log = openSync(`${path}-wal`, 'r+');
    this.#statements = {
      get: this.#db.prepare('SELECT key, json, revision FROM entries WHERE key = ?'),
      list: this.#db.prepare(
        'SELECT key, json, revision FROM entries WHERE key >= ? AND key < ? ORDER BY key',
      ),
      put: this.#db.prepare('INSERT OR REPLACE INTO entries VALUES (?, ?, ?)'),
      del: this.#db.prepare('DELETE FROM entries WHERE key = ?'),
      revision: this.#db.prepare('SELECT revision FROM counter'),
      setRevision: this.#db.prepare('UPDATE counter SET revision = ?'),
    };
  }

  #migrate(): void {
    const { user_version: version } = this.#db.prepare('PRAGMA user_version').get() as {
      user_version: number;
    };
    if (version > migrations.length)
      throw new NewerSchema(`schema ${version} is newer than ${migrations.length}, the newest known here`);
    for (const [index, sql] of migrations.entries()) {
      if (index < version) continue;
      this.#db.exec(`BEGIN IMMEDIATE; ${sql} PRAGMA user_version = ${index + 1}; COMMIT;`);
    }
  }

  get(key: string): RawEntry | undefined {
    const row = this.#statements.get.get(key);
    return row as unknown as RawEntry | undefined;
  }

  /** In key order. */
  list(prefix: string): { revision: number; entries: RawEntry[] } {
    // Keys are ASCII, so that everything with the prefix sorts before prefix + U+FFFF.
    const rows = this.#statements.list.all(prefix, `${prefix}\uffff`);
    return { revision: this.#revision(), entries: rows as unknown as RawEntry[] };
  }

  /** The new revision, or undefined if a comparison failed. */
  txn({ compare, write, survives }: RawTxn): number | undefined {
    this.#settle(survives);
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      if (!compare.every((condition) => this.#holds(condition))) {
        this.#db.exec('ROLLBACK');
        return undefined;
      }
      const revision = this.#revision() + 1;
      this.#statements.setRevision.run(revision);
      for (const { key, json } of write) {
        if (json === undefined) this.#statements.del.run(key);
        else this.#statements.put.run(key, json, revision);
      }
      this.#seam.step(`store commit ${write.map(({ key }) => key).join(' ')}`);
      this.#db.exec('COMMIT');
      return revision;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  /**
   * Takes what was committed to the disk, from a thread of libuv's pool, so that others are served meanwhile. In WAL mode
   * a commit is in the log alone until a checkpoint, which SQLite syncs itself.
   */
  sync(): Promise<void> {
    // One that runs may have begun before the last commit.
    this.#nextSync ??= this.#lastSync.then(() => {
      this.#nextSync = undefined;
      this.#seam.step('store sync');
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      fdatasync(this.#log, (error) => (error === null ? resolve() : reject(error)));
      this.#lastSync = promise.catch(() => {});
      return promise;
    });
    return this.#nextSync;
  }

  /** Waits for a `sync` that is under way. */
  async close(): Promise<void> {
    await (this.#nextSync ?? this.#lastSync).catch(() => {});
    closeSync(this.#log);
    this.#db.close();
  }

  /** In WAL mode NORMAL leaves a commit to the page cache, and the next FULL one takes it to the disk along with itself. */
  #settle(survives: Survival): void {
    if (this.#survives === survives) return;
    this.#db.exec(`PRAGMA synchronous = ${survives === 'machine' ? 'FULL' : 'NORMAL'};`);
    this.#survives = survives;
  }

  #revision(): number {
    return (this.#statements.revision.get() as { revision: number }).revision;
  }

  #holds(condition: Compare): boolean {
    const entry = this.get(condition.key);
    return condition.is === 'absent' ? entry === undefined : entry?.revision === condition.revision;
  }
}
