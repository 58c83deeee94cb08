/*
 * Reads an image archive (docker save, or an OCI layout in a tar) in one pass and without touching the disk: blobs go
 * straight into the content store under the lease, small documents are kept in memory. Nothing is written under a name
 * that the archive chose; names are only keys. What the archive means is for load.ts.
 */
import { posix } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { type Extract, extract } from 'tar-stream';
import { InjectedFault } from '../../base/seam.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { ContainerdClient } from '../containerd/client.ts';
import { ContainerdError } from '../containerd/status.ts';
import type { BlobLease } from './blobs.ts';
import { readDocument } from './blobs.ts';
import { type Compression, decompress, detectCompression } from './compression.ts';
import { documentMaxBytes, invalid } from './manifest.ts';

/** One entry of a tar: a header, and a stream of the bytes. */
type Entry = Extract extends AsyncIterable<infer E> ? E : never;

const entriesMax = 20_000;
const documentsMaxBytes = 64 << 20;
const linksMax = 8;

export interface ArchiveBlob {
  readonly digest: string;
  readonly sizeBytes: number;
  readonly compression: Compression;
}

type Item =
  | { readonly kind: 'blob'; readonly blob: ArchiveBlob }
  | { readonly kind: 'document'; readonly bytes: Buffer }
  | { readonly kind: 'link'; readonly target: string };

export interface Archive {
  /** Names of everything in it. */
  has(name: string): boolean;
  /** A small file's bytes; throws imageInvalid if it is missing. */
  document(name: string): Promise<Buffer>;
  /** A stored blob; throws imageInvalid if it is missing. */
  blob(name: string): ArchiveBlob;
}

/** `./a/b/` as `a/b`; throws imageInvalid for a name that leads out of the archive. */
export function entryName(name: string): string {
  const clean = posix.normalize(name).replace(/\/+$/, '');
  if (clean === '..' || clean.startsWith('../') || clean.startsWith('/') || name.split('/').includes('..'))
    throw invalid(`the archive has an entry outside of its root: ${JSON.stringify(name).slice(0, 200)}`);
  return clean;
}

const digestName = /^blobs\/sha256\/([0-9a-f]{64})$/;

/** A file that is read by us, not by containerd: everything small that is not a layer. */
function isDocument(name: string): boolean {
  return (
    name.endsWith('.json') || ['oci-layout', 'repositories'].includes(name) || /(^|\/)VERSION$/.test(name)
  );
}

async function readSmall(entry: Entry, name: string): Promise<Buffer> {
  if ((entry.header.size ?? 0) > documentMaxBytes)
    throw invalid(`${name} is larger than ${documentMaxBytes} bytes, which no image needs`);
  return await buffer(entry);
}

async function storeBlob(lease: BlobLease, entry: Entry, name: string): Promise<ArchiveBlob> {
  let head = Buffer.alloc(0);
  async function* watched(): AsyncGenerator<Uint8Array> {
    for await (const chunk of entry as AsyncIterable<Buffer>) {
      if (head.length < 4) head = Buffer.concat([head, chunk.subarray(0, 4)]);
      yield chunk;
    }
  }
  const hex = digestName.exec(name)?.[1];
  const source = hex === undefined ? {} : { digest: `sha256:${hex}` };
  const sizeBytes = entry.header.size ?? 0;
  const stored = await lease.write(watched(), { ...source, sizeBytes });
  return { ...stored, compression: detectCompression(head) };
}

async function readEntry(lease: BlobLease, entry: Entry, name: string): Promise<Item | undefined> {
  const { type, linkname } = entry.header;
  switch (type) {
    case 'directory':
      return undefined;
    case 'symlink':
      // docker save of old engines: a layer that two images share is a link to the other's.
      return { kind: 'link', target: entryName(posix.join(posix.dirname(name), linkname ?? '')) };
    case 'link':
      return { kind: 'link', target: entryName(linkname ?? '') };
    case 'file':
    case 'contiguous-file':
      return isDocument(name)
        ? { kind: 'document', bytes: await readSmall(entry, name) }
        : { kind: 'blob', blob: await storeBlob(lease, entry, name) };
    case 'block-device':
    case 'character-device':
    case 'fifo':
    default:
      throw invalid(`the archive has an entry of type ${type}, which no image has: ${name}`);
  }
}

async function readItems(lease: BlobLease, tar: Readable): Promise<Map<string, Item>> {
  const items = new Map<string, Item>();
  const parser = extract();
  let failure: Error | undefined;
  tar.on('error', (error) => {
    failure = error;
    parser.destroy(error);
  });
  tar.pipe(parser);
  let documentBytes = 0;
  try {
    for await (const entry of parser) {
      const name = entryName(entry.header.name);
      const item = await readEntry(lease, entry, name);
      entry.resume();
      if (item === undefined) continue;
      items.set(name, item);
      if (item.kind === 'document') documentBytes += item.bytes.length;
      if (items.size > entriesMax || documentBytes > documentsMaxBytes)
        throw invalid('the archive has more entries than any image needs');
    }
  } catch (error) {
    throw failure ?? error;
  } finally {
    tar.unpipe(parser);
    tar.destroy();
  }
  return items;
}

/** Ours, containerd's and injected failures as they are; the rest is a broken archive. */
export function explainArchive(error: unknown): unknown {
  if (error instanceof LinkspanError || error instanceof ContainerdError || error instanceof InjectedFault)
    return error;
  return invalid(`the archive is truncated or not a tar: ${messageOf(error)}`, error);
}

/** Reads all of `tar`. Throws imageInvalid for what is truncated, hostile or no archive. */
export async function readArchive(
  client: ContainerdClient,
  lease: BlobLease,
  source: Readable,
): Promise<Archive> {
  const items = await decompress(source)
    .then((tar) => readItems(lease, tar))
    .catch((error: unknown) => Promise.reject(explainArchive(error)));

  function find(given: string): Item | undefined {
    let name = entryName(given);
    for (let links = 0; links <= linksMax; links++) {
      const item = items.get(name);
      if (item?.kind !== 'link') return item;
      name = item.target;
    }
    throw invalid(`${given} is a chain of links in the archive`);
  }

  const missing = (name: string): Error =>
    invalid(`the archive names ${JSON.stringify(name).slice(0, 200)} and does not have it`);

  return {
    has: (name) => find(name) !== undefined,
    blob: (name) => {
      const item = find(name);
      if (item?.kind !== 'blob') throw missing(name);
      return item.blob;
    },
    document: async (name) => {
      const item = find(name);
      if (item?.kind === 'document') return item.bytes;
      if (item?.kind === 'blob') return await readDocument(client, item.blob.digest);
      throw missing(name);
    },
  };
}
