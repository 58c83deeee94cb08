/*
 * The store worker: owns the database, because a commit waits for the disk. Calls are answered in order, but for a
 * `sync`, which others need not wait for.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Seam } from '../base/seam.ts';
import { LostWrites, NewerSchema, SqliteDatabase } from './sqliteDatabase.ts';
import type {
  StoreAnswer,
  StoreCall,
  StoreGreeting,
  StoreReply,
  StoreRequest,
  StoreWorkerData,
} from './storeProtocol.ts';

function answer(db: SqliteDatabase, request: StoreRequest): StoreAnswer | Promise<StoreAnswer> {
  switch (request.op) {
    case 'get':
      return { op: 'get', entry: db.get(request.key) };
    case 'list':
      return { op: 'list', ...db.list(request.prefix) };
    case 'txn':
      return { op: 'txn', revision: db.txn(request) };
    case 'sync':
      return db.sync().then(() => ({ op: 'sync' }));
    case 'close':
      return db.close().then(() => ({ op: 'close' }));
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function open(data: StoreWorkerData): { db?: SqliteDatabase; greeting: StoreGreeting } {
  try {
    const db = new SqliteDatabase(data.path, new Seam(data.seam.plan, data.seam.shared));
    return { db, greeting: { ready: true } };
  } catch (error) {
    const text = textOf(error);
    const reason = error instanceof NewerSchema ? 'newer' : /locked/.test(text) ? 'locked' : 'failed';
    return { greeting: { ready: false, reason, text } };
  }
}

function serve(): void {
  const port = parentPort;
  if (port === null) return;
  const { db, greeting } = open(workerData as StoreWorkerData);
  port.postMessage(greeting);
  if (db === undefined) return;
  port.on('message', ({ call, request }: StoreCall) => {
    const settle = (reply: StoreReply): void => {
      port.postMessage(reply);
      if (request.op === 'close') port.close();
    };
    const succeed = (value: StoreAnswer): void => settle({ call, answer: value });
    const fail = (error: unknown): void =>
      settle({ call, error: textOf(error), isLost: error instanceof LostWrites });
    try {
      const value = answer(db, request);
      if (value instanceof Promise) value.then(succeed, fail);
      else succeed(value);
    } catch (error) {
      fail(error);
    }
  });
}

serve();
