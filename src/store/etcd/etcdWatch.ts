/*
 * Follows a range of keys: a list, then every change after it, by a stream that is opened again where it was lost, at
 * whichever member answers. All is told anew where changes are no longer to be had (compaction), or where the store went
 * back to an older state (a restore, a forced new cluster).
 */
import type { StoreChange } from '../store.ts';
import type { EtcdClient } from './etcdClient.ts';
import { eventType, type KeyValue, type WatchResponse } from './schema.ts';

/** Between two attempts; doubled each time. */
const pauseMs = { least: 100, most: 1000 } as const;

export interface WatchedRange {
  readonly key: Uint8Array;
  readonly end: Uint8Array;
  /** All of it, at one revision. */
  readonly list: () => Promise<Omit<StoreChange, 'isAll' | 'del'>>;
  readonly toEntry: (kv: KeyValue) => StoreChange['put'][number];
  readonly toKey: (kv: KeyValue) => string;
}

/** How far it was told. */
interface Told {
  readonly clusterId: string;
  readonly revision: number;
}

/** `hear` is called as Store.watch says. */
export function watchRange(
  client: Pick<EtcdClient, 'call' | 'stream' | 'clock'>,
  range: WatchedRange,
  hear: (change: StoreChange) => void,
): Disposable {
  const over = new AbortController();
  const { signal } = over;
  let told: Told | undefined;
  let pause: number = pauseMs.least;

  /** What the store is now, by a read that a majority stands for. */
  async function look(): Promise<Told> {
    const { header } = await client.call('KV.Range', { key: range.key, limit: 1 });
    return { clusterId: header?.cluster_id ?? '0', revision: Number(header?.revision ?? 0) };
  }

  async function tellAll(): Promise<Told> {
    const { clusterId } = await look();
    const { revision, put } = await range.list();
    if (!signal.aborted) hear({ isAll: true, revision, put, del: [] });
    return { clusterId, revision };
  }

  /** In one change for each revision. Throws where a value is no JSON, which is not of our writing. */
  function toChanges(events: WatchResponse['events']): readonly StoreChange[] {
    const byRevision = Map.groupBy(events, ({ kv }) => Number(kv?.mod_revision ?? 0));
    return [...byRevision].map(([revision, some]) => {
      const [put, del]: [StoreChange['put'][number][], string[]] = [[], []];
      for (const { type, kv } of some)
        if (kv !== null && type === eventType.put) put.push(range.toEntry(kv));
        else if (kv !== null) del.push(range.toKey(kv));
      return { isAll: false, revision, put, del };
    });
  }

  /** Resolves when the stream has no more to tell, rejects when it is lost. */
  async function follow(from: Told): Promise<'compacted' | 'ended'> {
    /** Parts of an answer that is not complete. */
    let parts: WatchResponse['events'][number][] = [];
    const { key, end: range_end } = range;
    const create_request = { key, range_end, start_revision: from.revision + 1, fragment: true };
    const listen = (answer: WatchResponse): 'compacted' | 'ended' | undefined => {
      if (answer.canceled) return answer.compact_revision === '0' ? 'ended' : 'compacted';
      parts.push(...answer.events);
      if (answer.fragment) return undefined;
      let changes: readonly StoreChange[];
      try {
        changes = toChanges(parts);
      } catch {
        return 'ended';
      }
      parts = [];
      pause = pauseMs.least;
      for (const change of changes) {
        if (signal.aborted) return undefined;
        told = { ...from, revision: change.revision };
        hear(change);
      }
      return undefined;
    };
    return await client.stream('Watch.Watch', { create_request }, listen, { signal });
  }

  async function turn(): Promise<void> {
    if (told === undefined) told = await tellAll();
    else {
      const now = await look();
      if (now.clusterId !== told.clusterId || now.revision < told.revision) told = await tellAll();
    }
    if ((await follow(told)) === 'ended') throw new Error('etcd ended a watch');
    told = undefined;
  }

  void (async () => {
    while (!signal.aborted)
      try {
        await turn();
      } catch {
        await client.clock.sleep(pause, signal).catch(() => {});
        pause = Math.min(2 * pause, pauseMs.most);
      }
  })();
  return { [Symbol.dispose]: () => over.abort() };
}
