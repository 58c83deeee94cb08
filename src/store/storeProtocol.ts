/*
 * What the store's main-thread face and its worker say to each other. Values travel as JSON text, because that is how
 * they are kept and how their cost on the main thread stays visible.
 */
import type { FaultPlan } from '../base/seam.ts';
import type { Compare, Survival } from './store.ts';

export interface StoreWorkerData {
  /** The database file. Its folder exists. */
  readonly path: string;
  readonly seam: { readonly plan: FaultPlan | undefined; readonly shared: SharedArrayBuffer };
}

export interface RawEntry {
  readonly key: string;
  readonly json: string;
  readonly revision: number;
}

export type RawWrite = { readonly key: string; readonly json: string | undefined };

export interface RawTxn {
  readonly compare: readonly Compare[];
  readonly write: readonly RawWrite[];
  readonly survives: Survival;
}

export type StoreRequest =
  | { readonly op: 'get'; readonly key: string }
  | { readonly op: 'list'; readonly prefix: string }
  | ({ readonly op: 'txn' } & RawTxn)
  | { readonly op: 'sync' }
  | { readonly op: 'close' };

export type StoreAnswer =
  | { readonly op: 'get'; readonly entry: RawEntry | undefined }
  | { readonly op: 'list'; readonly revision: number; readonly entries: readonly RawEntry[] }
  | { readonly op: 'txn'; readonly revision: number | undefined }
  | { readonly op: 'sync' }
  | { readonly op: 'close' };

export interface StoreCall {
  readonly call: number;
  readonly request: StoreRequest;
}

export type StoreReply =
  | { readonly call: number; readonly answer: StoreAnswer }
  /** `isLost`: this and every change after it is refused, until another daemon opens the store. */
  | { readonly call: number; readonly error: string; readonly isLost: boolean };

/** The worker's first message: the database is open, or why not. `locked` = another process holds it. */
export type StoreGreeting =
  | { readonly ready: true }
  | { readonly ready: false; readonly reason: 'locked' | 'newer' | 'failed'; readonly text: string };
