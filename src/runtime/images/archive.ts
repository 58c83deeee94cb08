/*
 * Image archives: docker-save (manifest.json) and OCI layout (index.json) tars, plain or gzipped. Every regular file
 * goes into the content store under the lease, so that nothing is written to a path that an archive names; documents
 * are read back from there. Names that leave the archive, files that are not what their digest says and archives that
 * end early are refused with imageInvalid.
 */
import { posix } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { messageOf } from '../../errors/linkspanError.ts';
import type { ContainerdClient } from '../containerd/client.ts';
import { type Blob, type BlobLease, readDocument } from './blobs.ts';
import {
  type BlobDescriptor,
  hostPlatform,
  invalid,
  type Manifest,
  mediaTypes,
  parseIndex,
  parseManifest,
  parseSaved,
  type SavedImage,
  selectPlatform,
} from './manifest.ts';

/** An image found in an archive, its blobs stored. */
export interface ArchivedImage {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  readonly manifest: Manifest;
  readonly digest?: string;
  /** Names as the archive writes them. */
  readonly tags: readonly string[];
}

/** `source` as it is, or unpacked if it begins as gzip does (RFC 1952). */
export async function* plainBytes(source: Readable): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  const first = await chunks.next();
  if (first.done === true) return;
  async function* all(): AsyncGenerator<Uint8Array> {
    yield first.value as Uint8Array;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  }
  if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) {
    yield* all();
    return;
  }
  const gunzip = createGunzip();
  const feeding = (async () => {
    for await (const chunk of all())
      if (!gunzip.write(chunk)) await new Promise((r) => gunzip.once('drain', r));
    gunzip.end();
  })().catch((error: unknown) => gunzip.destroy(error as Error));
  yield* gunzip as AsyncIterable<Uint8Array>;
  await feeding;
}

/** The name of an entry within the archive; throws if it points outside. */
function entryName(name: string): string {
  const clean = posix.normalize(name).replace(/\/$/, '');
  if (posix.isAbsolute(clean) || clean === '..' || clean.startsWith('../'))
    throw invalid(`the archive names a path outside itself: ${JSON.stringify(name)}`);
  return clean;
}

interface Contents {
  readonly files: ReadonlyMap<string, Blob>;
}

/** Digest that an entry's name promises: `blobs/sha256/<hex>` and docker-save's `<hex>.json`. */
function promisedDigest(name: string): string | undefined {
  const hex = /^(?:blobs\/sha256\/)?([0-9a-f]{64})(?:\.json)?$/.exec(name)?.[1];
  return hex === undefined ? undefined : `sha256:${hex}`;
}

async function readEntries(source: Readable, lease: BlobLease): Promise<Contents> {
  const files = new Map<string, Blob>();
  const links = new Map<string, string>();
  const tar = extract();
  // To Node's types a streamx stream is no Writable; it behaves as one.
  const sink = tar as unknown as Writable;
  const feeding = (async () => {
    for await (const chunk of plainBytes(source))
      if (!sink.write(chunk)) await new Promise((resolve) => sink.once('drain', resolve));
    sink.end();
  })().catch((error: unknown) => void sink.destroy(error as Error));
  for await (const entry of tar) {
    const name = entryName(entry.header.name);
    const { type, linkname } = entry.header;
    if (type === 'file' || type === 'contiguous-file') {
      const digest = promisedDigest(name);
      files.set(
        name,
        await lease.write(entry as AsyncIterable<Uint8Array>, digest === undefined ? {} : { digest }),
      );
    } else {
      entry.resume();
      if ((type === 'symlink' || type === 'link') && linkname != null) {
        const base = type === 'symlink' ? posix.dirname(name) : '.';
        links.set(name, entryName(posix.join(base, linkname)));
      }
    }
  }
  await feeding;
  for (const [name, target] of links) {
    const blob = files.get(target);
    if (blob !== undefined) files.set(name, blob);
  }
  return { files };
}

function need(contents: Contents, name: string): Blob {
  const blob = contents.files.get(entryName(name));
  if (blob === undefined) throw invalid(`the archive names ${JSON.stringify(name)} and does not hold it`);
  return blob;
}

/** The document of a manifest that we make ourselves: docker-save and import have none. */
export function writeManifest(manifest: Manifest): Omit<ArchivedImage, 'tags'> {
  const toJson = ({ mediaType, digest, sizeBytes }: BlobDescriptor): object => ({
    mediaType,
    size: sizeBytes,
    digest,
  });
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.dockerManifest,
    config: toJson(manifest.config),
    layers: manifest.layers.map(toJson),
  };
  return { bytes: Buffer.from(JSON.stringify(document)), mediaType: mediaTypes.dockerManifest, manifest };
}

function fromSaved(contents: Contents, saved: SavedImage): ArchivedImage {
  const toDescriptor = (name: string, mediaType: string): BlobDescriptor => ({
    mediaType,
    ...need(contents, name),
  });
  const manifest: Manifest = {
    config: toDescriptor(saved.config, mediaTypes.dockerConfig),
    layers: saved.layers.map((name) => toDescriptor(name, mediaTypes.dockerLayer)),
  };
  return { ...writeManifest(manifest), tags: saved.tags };
}

/** The image that a descriptor of an index leads to, through nested indexes. */
async function followIndex(
  client: ContainerdClient,
  contents: Contents,
  entry: BlobDescriptor,
  depth = 0,
): Promise<Omit<ArchivedImage, 'tags'>> {
  if (depth > 3) throw invalid('the index nests too deep');
  const { digest } = need(contents, `blobs/sha256/${entry.digest.replace('sha256:', '')}`);
  const bytes = await readDocument(client, digest);
  const manifest = parseManifest(bytes);
  if (manifest !== undefined) {
    for (const blob of [manifest.config, ...manifest.layers])
      need(contents, `blobs/sha256/${blob.digest.replace('sha256:', '')}`);
    return { bytes, mediaType: entry.mediaType || mediaTypes.ociManifest, manifest, digest };
  }
  const chosen = selectPlatform(parseIndex(bytes), hostPlatform());
  if (chosen === undefined) throw invalid('the archive holds no image for this platform');
  return followIndex(client, contents, chosen, depth + 1);
}

async function fromLayout(
  client: ContainerdClient,
  contents: Contents,
  index: Blob,
): Promise<ArchivedImage[]> {
  const images: ArchivedImage[] = [];
  for (const entry of parseIndex(await readDocument(client, index.digest))) {
    const name =
      entry.annotations['io.containerd.image.name'] ?? entry.annotations['org.opencontainers.image.ref.name'];
    images.push({ ...(await followIndex(client, contents, entry)), tags: name === undefined ? [] : [name] });
  }
  return images;
}

/** Stores everything and says which images there are. Throws imageInvalid; the lease then takes all back. */
export async function readArchive(
  client: ContainerdClient,
  source: Readable,
  lease: BlobLease,
): Promise<readonly ArchivedImage[]> {
  let contents: Contents;
  try {
    contents = await readEntries(source, lease);
  } catch (error) {
    if (
      error instanceof Error &&
      /unexpected end|invalid tar|incorrect header|premature|writable stream closed|checksum/i.test(
        error.message,
      )
    )
      throw invalid(`the archive is not a whole tar: ${messageOf(error)}`, error);
    throw error;
  }
  const saved = contents.files.get('manifest.json');
  if (saved !== undefined)
    return parseSaved(await readDocument(client, saved.digest)).map((image) => fromSaved(contents, image));
  const index = contents.files.get('index.json');
  if (index === undefined)
    throw invalid(
      'the archive is no image: it holds neither manifest.json nor index.json; a root file system is taken by import',
    );
  return fromLayout(client, contents, index);
}
