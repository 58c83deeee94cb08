/*
 * Images as an archive that every engine loads: an OCI image layout (OCI image spec 1.1, image-layout.md) with the
 * manifest.json of docker save beside it. Blobs go as they lie in the store, so that manifests keep their digests.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import type { ContainerdClient } from '../containerd/client.ts';
import { type BlobLease, readDocument } from './blobs.ts';
import { type BlobDescriptor, invalid, type Manifest, mediaTypes, parseManifest } from './manifest.ts';
import { familiarReference, formatReference, type Reference } from './reference.ts';

/** What is asked for of one image. */
export interface ImageToSave {
  readonly manifest: BlobDescriptor;
  /** Tags to save it under; none = it has no name in the archive. */
  readonly names: readonly Reference[];
}

interface Documented extends ImageToSave {
  readonly parsed: Manifest;
}

/** The same archive for the same images, whenever it is made. */
const mtime = new Date(0);
const blobName = (digest: string): string => `blobs/sha256/${digest.slice('sha256:'.length)}`;

/** An entry of index.json for each name, with the annotations by which Docker and containerd know it. */
function indexEntries({ manifest, names }: ImageToSave): readonly object[] {
  const { mediaType, digest, sizeBytes } = manifest;
  const descriptor = { mediaType, digest, size: sizeBytes };
  if (names.length === 0) return [descriptor];
  return names.map((name) => ({
    ...descriptor,
    annotations: {
      'io.containerd.image.name': formatReference(name),
      'org.opencontainers.image.ref.name': name.tag,
    },
  }));
}

function savedEntry({ parsed, names }: Documented): object {
  return {
    Config: blobName(parsed.config.digest),
    RepoTags: names.length === 0 ? null : names.map(familiarReference),
    Layers: parsed.layers.map(({ digest }) => blobName(digest)),
  };
}

/** Takes all that `image` needs under the lease. Throws imageInvalid where a part of it is missing. */
async function holdAll(client: ContainerdClient, lease: BlobLease, image: ImageToSave): Promise<Documented> {
  const hold = async (digest: string): Promise<void> => {
    if (!(await lease.hold(digest))) throw invalid(`${digest} of the image is missing in the store`);
  };
  await hold(image.manifest.digest);
  const parsed = parseManifest(await readDocument(client, image.manifest.digest));
  if (parsed === undefined) throw invalid('the image is kept as an index');
  for (const { digest } of [parsed.config, ...parsed.layers]) await hold(digest);
  return { ...image, parsed };
}

async function writeEntries(
  tar: Pack,
  client: ContainerdClient,
  images: readonly Documented[],
  signal: AbortSignal,
): Promise<void> {
  async function* contentOf(digest: string): AsyncGenerator<Uint8Array> {
    const options = { deadlineMs: Infinity, signal };
    for await (const { data } of client.stream('Content.Read', { digest }, options)) yield data;
  }
  const document = (name: string, value: unknown): void =>
    void tar.entry({ name, mtime, mode: 0o644 }, JSON.stringify(value));
  for (const name of ['blobs/', 'blobs/sha256/']) tar.entry({ name, mtime, type: 'directory', mode: 0o755 });
  const blobs = images.flatMap(({ manifest, parsed }) => [manifest, parsed.config, ...parsed.layers]);
  for (const { digest, sizeBytes } of new Map(blobs.map((blob) => [blob.digest, blob])).values()) {
    const entry = tar.entry({ name: blobName(digest), size: sizeBytes, mtime, mode: 0o644 });
    await pipeline(Readable.from(contentOf(digest), { objectMode: false }), entry);
  }
  document('index.json', {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: images.flatMap(indexEntries),
  });
  document('manifest.json', images.map(savedEntry));
  document('oci-layout', { imageLayoutVersion: '1.0.0' });
  tar.finalize();
}

/** The archive of `images`, at the reader's pace. What is missing is found before the first byte. */
export async function* saveImages(
  client: ContainerdClient,
  lease: BlobLease,
  images: readonly ImageToSave[],
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const documented: Documented[] = [];
  for (const image of images) documented.push(await holdAll(client, lease, image));
  const tar = pack();
  const writing = writeEntries(tar, client, documented, signal).catch((error: unknown) =>
    tar.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  try {
    for await (const part of tar as AsyncIterable<Uint8Array>) yield part;
  } finally {
    tar.destroy();
    await writing;
  }
}
