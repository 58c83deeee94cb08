/*
 * Blobs in containerd's content store, and the lease that holds them while an image comes in. An import that fails
 * drops its lease, and containerd's garbage collector takes all that it made.
 */
import { randomBytes } from 'node:crypto';
import type { ContainerdClient } from '../containerd/client.ts';
import { type Labels, writeAction } from '../containerd/messages.ts';
import { ContainerdError, hasStatus, unless } from '../containerd/status.ts';
import { documentMaxBytes, invalid } from './manifest.ts';

/** containerd takes messages of up to 16 MiB; 1 MiB keeps our memory low and the disk busy. */
const chunkBytes = 1 << 20;
/** A lease that nobody deletes, since the daemon died, ends by itself; openImages deletes ours before. */
const leaseLifeMs = 24 * 3600 * 1000;
const collectDeadlineMs = 300_000;
export const leaseLabel = 'linkspan.image';

export interface BlobSource {
  /** `undefined` = whatever it turns out to be. */
  readonly digest?: string;
  readonly sizeBytes?: number;
  readonly labels?: Labels;
  /** What is said if the bytes have another digest; a usual sentence if not given. */
  readonly mismatchText?: string;
}

export interface Blob {
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface BlobLease {
  readonly id: string;
  readonly signal: AbortSignal | undefined;
  /** Stores bytes; throws imageInvalid if digest or size are not as told. A blob that is there already is success. */
  write(data: AsyncIterable<Uint8Array> | Uint8Array, source?: BlobSource): Promise<Blob>;
  /** True if the blob is in the store; it is then held by the lease too. */
  hold(digest: string): Promise<boolean>;
  /** Holds a snapshot if it exists. */
  holdSnapshot(snapshotter: string, key: string): Promise<boolean>;
}

/** Cuts into pieces of at most 1 MiB, joining nothing: sources give at least some KiB at a time. */
function* pieces(data: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < data.length; at += chunkBytes) yield data.subarray(at, at + chunkBytes);
}

async function* eachPiece(data: AsyncIterable<Uint8Array> | Uint8Array): AsyncGenerator<Uint8Array> {
  if (data instanceof Uint8Array) yield* pieces(data);
  else for await (const part of data) yield* pieces(part);
}

/** Collects pieces to full chunks: one call per MiB and not per tar block. */
async function* chunked(data: AsyncIterable<Uint8Array> | Uint8Array): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let length = 0;
  for await (const piece of eachPiece(data)) {
    if (length + piece.length > chunkBytes) {
      yield Buffer.concat(waiting);
      waiting = [];
      length = 0;
    }
    waiting.push(piece);
    length += piece.length;
  }
  if (length > 0) yield Buffer.concat(waiting);
}

async function writeBlob(
  client: ContainerdClient,
  lease: string,
  data: AsyncIterable<Uint8Array> | Uint8Array,
  source: BlobSource,
  signal: AbortSignal | undefined,
): Promise<Blob> {
  const ref = `linkspan-${randomBytes(8).toString('hex')}`;
  using writer = client.openWriter({
    lease,
    deadlineMs: Infinity,
    ...(signal === undefined ? {} : { signal }),
  });
  const total = source.sizeBytes === undefined ? {} : { total: String(source.sizeBytes) };
  const expected = source.digest === undefined ? {} : { expected: source.digest };
  let offset = 0;
  await writer.send({ action: writeAction.stat, ref, ...total });
  for await (const chunk of chunked(data)) {
    if (source.sizeBytes !== undefined && offset + chunk.length > source.sizeBytes)
      throw invalid(
        `blob ${source.digest ?? ''} is longer than the ${source.sizeBytes} bytes it should have`,
      );
    await writer.send({ action: writeAction.write, ref, offset: String(offset), data: chunk, ...total });
    offset += chunk.length;
  }
  if (source.sizeBytes !== undefined && offset !== source.sizeBytes)
    throw invalid(
      `blob ${source.digest ?? ''} ends after ${offset} bytes and should have ${source.sizeBytes}`,
    );
  const answer = await writer.send({
    action: writeAction.commit,
    ref,
    offset: String(offset),
    total: String(offset),
    ...expected,
    ...(source.labels === undefined ? {} : { labels: source.labels }),
  });
  return { digest: answer.digest, sizeBytes: offset };
}

/** containerd says a wrong digest in its text only; `unexpected commit digest sha256:…, expected sha256:…`. */
function explain(error: unknown, source: BlobSource): unknown {
  if (error instanceof ContainerdError && /unexpected commit digest/.test(error.message))
    return invalid(
      source.mismatchText ?? `the content of ${source.digest} does not have that digest (${error.message})`,
      error,
    );
  return error;
}

function openLease(client: ContainerdClient, id: string, signal: AbortSignal | undefined): BlobLease {
  const addResource = (resourceId: string, type: string): Promise<unknown> =>
    client.call('Leases.AddResource', { id, resource: { id: resourceId, type } });

  async function hold(digest: string): Promise<boolean> {
    if ((await unless(client.call('Content.Info', { digest }), 'notFound')) === undefined) return false;
    await addResource(digest, 'content');
    // It may have been collected between the look and the hold.
    return (await unless(client.call('Content.Info', { digest }), 'notFound')) !== undefined;
  }

  async function addLabels(digest: string, labels: Labels | undefined): Promise<void> {
    if (labels === undefined) return;
    const paths = Object.keys(labels).map((key) => `labels.${key}`);
    await client.call('Content.Update', { info: { digest, labels }, update_mask: { paths } });
  }

  return {
    id,
    signal,
    hold,
    holdSnapshot: async (snapshotter, key) => {
      if ((await unless(client.call('Snapshots.Stat', { snapshotter, key }), 'notFound')) === undefined)
        return false;
      await addResource(key, `snapshots/${snapshotter}`);
      return (await unless(client.call('Snapshots.Stat', { snapshotter, key }), 'notFound')) !== undefined;
    },
    write: async (data, source = {}) => {
      try {
        return await writeBlob(client, id, data, source, signal);
      } catch (error) {
        const digest =
          source.digest ??
          (error instanceof ContainerdError ? /sha256:[0-9a-f]{64}/.exec(error.message)?.[0] : undefined);
        if (!hasStatus(error, 'alreadyExists') || digest === undefined) throw explain(error, source);
        await hold(digest);
        await addLabels(digest, source.labels);
        const { info } = await client.call('Content.Info', { digest });
        return { digest, sizeBytes: Number(info.size) };
      }
    },
  };
}

interface TakenLease {
  readonly lease: BlobLease;
  /** The lease goes. With `collects`, what nothing else holds of what it held is gone when this resolves. */
  readonly end: (collects: boolean) => Promise<void>;
}

/** A lease that the caller ends; until then it holds all that is stored under it. */
export async function takeLease(
  client: ContainerdClient,
  signal: AbortSignal | undefined,
): Promise<TakenLease> {
  const id = `linkspan-${randomBytes(8).toString('hex')}`;
  const expiresAt = new Date(Date.now() + leaseLifeMs).toISOString();
  await client.call('Leases.Create', {
    id,
    labels: { 'containerd.io/gc.expire': expiresAt, [leaseLabel]: 'incoming' },
  });
  return {
    lease: openLease(client, id, signal),
    end: async (collects) => {
      const request = { id, sync: collects };
      await unless(client.call('Leases.Delete', request, { deadlineMs: collectDeadlineMs }), 'notFound');
    },
  };
}

/**
 * Runs `work` with a lease that holds all it stores. When it ends, the lease goes; if it failed, garbage is collected
 * before this rejects, so that nothing is left.
 */
export async function withLease<T>(
  client: ContainerdClient,
  signal: AbortSignal | undefined,
  work: (lease: BlobLease) => Promise<T>,
): Promise<T> {
  const { lease, end } = await takeLease(client, signal);
  let isDone = false;
  try {
    const result = await work(lease);
    isDone = true;
    return result;
  } finally {
    // What went wrong first is what the caller must hear; a lease that stays is deleted at the next start.
    await (isDone ? end(false) : end(true).catch(() => undefined));
  }
}

/** Drops leases and half uploads of a daemon that died. */
export async function dropStaleLeases(client: ContainerdClient): Promise<void> {
  const filters = [`labels."${leaseLabel}"`];
  const { leases } = await client.call('Leases.List', { filters });
  const { statuses } = await client.call('Content.ListStatuses', { filters: [] });
  for (const { ref } of statuses)
    if (ref.startsWith('linkspan-')) await unless(client.call('Content.Abort', { ref }), 'notFound');
  for (const { id } of leases)
    await unless(
      client.call('Leases.Delete', { id, sync: true }, { deadlineMs: collectDeadlineMs }),
      'notFound',
    );
}

/** A small blob whole: a manifest or a config. Throws imageInvalid beyond 4 MiB. */
export async function readDocument(client: ContainerdClient, digest: string): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const { data } of client.stream('Content.Read', { digest })) {
    length += data.length;
    if (length > documentMaxBytes) throw invalid(`${digest} is too large for a manifest or config`);
    parts.push(data);
  }
  return Buffer.concat(parts);
}
