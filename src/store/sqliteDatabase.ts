/*
 * The database itself: one SQLite file in WAL mode, held exclusively (a second daemon on the same data root is refused
 * by the file lock, which the kernel drops when the holder dies). Synchronous; runs in the store worker.
 * Schema versions are in PRAGMA user_version; each migration takes the file from its index to the next.
 */
import { closeSync, fdatasync, fdatasyncSync, openSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
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

/** Thrown for each change after a sync that failed, and for that one. */
export class LostWrites extends Error {
  constructor(cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(
      `the disk did not keep what was written (${why}), and may say yes to what follows though it is lost: nothing more is written until the disk was checked and the daemon started again`,
      { cause },
    );
  }
}

/** sqlite3.h: SQLITE_FULL, SQLITE_IOERR_FSYNC. */
const full = 13;
const syncFailed = 1034;

function hasErrcode(error: unknown, errcode: number): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === errcode;
}

function isFull(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT' || hasErrcode(error, full);
}

const syncData = promisify(fdatasync);

export class SqliteDatabase {
  readonly #db: DatabaseSync;
  readonly #seam: Seam;
  #survives: Survival = 'machine';
  /** The log of commits, which SQLite has open too, from the first look into the file until it is closed. */
  readonly #log: number;
  /** The wait for the disk that is about to begin, shared by all who ask before it does. */
  #nextSync: Promise<void> | undefined;
  #lastSync: Promise<void> = Promise.resolve();
  /** Set by a sync that failed: the kernel tells of it once, and takes what was not written for written then. */
  #lost: LostWrites | undefined;
  /** The same where there was no space, which comes back: what is in the log is to be written anew first. */
  #isDoubtful = false;
  readonly #statements: Readonly<
    Record<'get' | 'list' | 'put' | 'del' | 'revision' | 'setRevision', StatementSync>
  >;

  /** Opens or creates the file and migrates it. Throws SQLite's own error if it is locked (`database is locked`). */
  constructor(path: string, seam: Seam) {
    // One that was closed leaves none.
    const hasLog = (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0;
    this.#db = new DatabaseSync(path);
    this.#seam = seam;
    this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    if (hasLog) this.#takeUp();
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

  /** What an earlier daemon left may be in memory alone: it is written anew, and looked at. */
  #takeUp(): void {
    try {
      this.#rewrite();
    } catch (error) {
      if (!isFull(error)) throw error;
      this.#isDoubtful = true;
    }
    const { quick_check: verdict } = this.#db.prepare('PRAGMA quick_check(1)').get() as {
      quick_check: string;
    };
    if (verdict !== 'ok') throw new Error(`the database is damaged: ${verdict}`);
  }

  /** Takes what is in the log to the file itself, and that to the disk. */
  #rewrite(): void {
    const { busy } = this.#db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get() as { busy: number };
    if (busy !== 0) throw new Error('the log cannot be written to the database: it is being read');
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

  /** The new revision, or undefined if a comparison failed. Throws LostWrites after a sync that failed. */
  txn({ compare, write, survives }: RawTxn): number | undefined {
    if (this.#lost !== undefined) throw this.#lost;
    if (survives === 'machine') this.#trust();
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
      throw hasErrcode(error, syncFailed) ? this.#doubt(this.#reasonOf(error)) : error;
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
      const now = this.#syncNow();
      this.#lastSync = now.catch(() => {});
      return now;
    });
    return this.#nextSync;
  }

  async #syncNow(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    this.#trust();
    try {
      this.#seam.step('store sync');
      await syncData(this.#log);
    } catch (error) {
      throw this.#doubt(error);
    }
  }

  /** Before the disk's word counts again. */
  #trust(): void {
    if (!this.#isDoubtful) return;
    try {
      this.#rewrite();
    } catch (error) {
      throw hasErrcode(error, syncFailed) ? this.#doubt(this.#reasonOf(error)) : error;
    }
    this.#isDoubtful = false;
  }

  /** SQLite does not say why it could not sync; the kernel says it to each who has the file open. */
  #reasonOf(error: unknown): unknown {
    try {
      fdatasyncSync(this.#log);
      return error;
    } catch (reason) {
      return reason;
    }
  }

  /** What is to be thrown for a sync that failed. */
  #doubt(error: unknown): unknown {
    if (isFull(error)) this.#isDoubtful = true;
    else this.#lost ??= new LostWrites(error);
    return this.#lost ?? error;
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
