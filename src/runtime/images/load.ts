/*
 * What an image archive means: docker-save's manifest.json (all engines write it), or an OCI layout's index.json.
 * Yields images that are stored and unpacked under the lease, with the names they should get.
 */
import type { Readable } from 'node:stream';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Archive, ArchiveBlob } from './archive.ts';
import { readArchive } from './archive.ts';
import type { BlobLease } from './blobs.ts';
import type { ImageProgress } from './images.ts';
import {
  type BlobDescriptor,
  fitsPlatform,
  formatPlatform,
  hostPlatform,
  type IndexEntry,
  invalid,
  type Manifest,
  mediaTypes,
  type Platform,
  parseConfig,
  parseIndex,
  parseManifest,
  parseSaved,
  type SavedImage,
  selectPlatform,
  sha256Of,
} from './manifest.ts';
import { parseReference, type Reference, withDefaultTag } from './reference.ts';
import { type LayerWatch, type StoredImage, storeImage, type UnpackDependencies } from './unpack.ts';

export interface LoadedImage {
  readonly stored: StoredImage;
  readonly names: readonly Reference[];
}

export interface LoadOptions {
  /** Only what is for it; absent = everything, of an index what fits this machine. */
  readonly platform: Platform | undefined;
  readonly onProgress: (progress: ImageProgress) => void;
}

const layerTypes = {
  none: mediaTypes.dockerLayer,
  gzip: mediaTypes.dockerLayerGzip,
  // Docker has no media type for zstd.
  zstd: mediaTypes.ociLayerZstd,
} as const;

function toLayer(blob: ArchiveBlob): BlobDescriptor {
  return { mediaType: layerTypes[blob.compression], digest: blob.digest, sizeBytes: blob.sizeBytes };
}

/** The manifest's document as we write it, fields in the order of the specification. */
export function formatManifest(
  manifest: Manifest,
  mediaType: string | undefined = mediaTypes.dockerManifest,
): Buffer {
  const descriptor = ({ mediaType, digest, sizeBytes }: BlobDescriptor): object => ({
    mediaType,
    size: sizeBytes,
    digest,
  });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: descriptor(manifest.config),
      layers: manifest.layers.map(descriptor),
    }),
  );
}

/** Reports a layer's unpacking as Docker's load does. */
function layerProgress(onProgress: (progress: ImageProgress) => void): LayerWatch {
  return {
    onLayer: ({ digest, sizeBytes }, isDone) =>
      onProgress({
        id: digest.slice(7, 19),
        status: 'Loading layer',
        currentBytes: isDone ? sizeBytes : 0,
        totalBytes: sizeBytes,
      }),
  };
}

async function loadSaved(
  deps: UnpackDependencies,
  lease: BlobLease,
  archive: Archive,
  saved: SavedImage,
  { platform, onProgress }: LoadOptions,
): Promise<LoadedImage | undefined> {
  const configBytes = await archive.document(saved.config);
  if (platform !== undefined && !fitsPlatform(parseConfig(configBytes), platform)) return undefined;
  const digest = sha256Of(configBytes);
  const named = /([0-9a-f]{64})(?:\.json)?$/.exec(saved.config)?.[1];
  if (named !== undefined && digest !== `sha256:${named}`)
    throw invalid(`the config ${saved.config} does not have the digest that its name gives`);
  const names = saved.tags.map((tag) => withDefaultTag(parseReference(tag)));
  const { sizeBytes } = await lease.write(configBytes, { digest });
  const manifest: Manifest = {
    config: { mediaType: mediaTypes.dockerConfig, digest, sizeBytes },
    layers: saved.layers.map((name) => toLayer(archive.blob(name))),
  };
  const bytes = formatManifest(manifest);
  const image = { bytes, mediaType: mediaTypes.dockerManifest, manifest };
  return { stored: await storeImage(deps, lease, image, layerProgress(onProgress)), names };
}

const blobName = (digest: string): string => `blobs/sha256/${digest.slice('sha256:'.length)}`;

/** The name that writers of OCI layouts put on an index entry; a bare tag names nothing by itself. */
function nameOf(entry: IndexEntry): Reference | undefined {
  const reference = entry.annotations['org.opencontainers.image.ref.name'];
  const name =
    entry.annotations['io.containerd.image.name'] ??
    (reference !== undefined && /[/:]/.test(reference) ? reference : undefined);
  return name === undefined ? undefined : withDefaultTag(parseReference(name));
}

async function loadEntry(
  deps: UnpackDependencies,
  lease: BlobLease,
  archive: Archive,
  entry: IndexEntry,
  options: LoadOptions,
): Promise<StoredImage | undefined> {
  const { platform, onProgress } = options;
  const bytes = await archive.document(blobName(entry.digest));
  const manifest = parseManifest(bytes);
  if (manifest === undefined) {
    const inner = selectPlatform(parseIndex(bytes), platform ?? hostPlatform());
    if (inner === undefined && platform !== undefined) return undefined;
    if (inner === undefined)
      throw invalid(`the archive has no image for linux/${hostPlatform().architecture}`);
    if (parseManifest(await archive.document(blobName(inner.digest))) === undefined)
      throw invalid('the index names an index that names an index');
    return await loadEntry(deps, lease, archive, inner, options);
  }
  for (const { digest } of [manifest.config, ...manifest.layers]) archive.blob(blobName(digest));
  if (platform !== undefined) {
    const config = await archive.document(blobName(manifest.config.digest));
    if (!fitsPlatform(parseConfig(config), platform)) return undefined;
  }
  const mediaType = entry.mediaType === '' ? mediaTypes.ociManifest : entry.mediaType;
  const image = { bytes, mediaType, manifest, digest: entry.digest };
  return await storeImage(deps, lease, image, layerProgress(onProgress));
}

/**
 * Reads the archive and stores every image in it that is asked for. Throws imageInvalid; imageNotFound, with Docker's text,
 * where it has none for the platform.
 */
export async function loadArchive(
  deps: UnpackDependencies,
  lease: BlobLease,
  tar: Readable,
  options: LoadOptions,
): Promise<readonly LoadedImage[]> {
  const archive = await readArchive(deps.client, lease, tar);
  const loaded: LoadedImage[] = [];
  if (archive.has('manifest.json')) {
    for (const saved of parseSaved(await archive.document('manifest.json'))) {
      const image = await loadSaved(deps, lease, archive, saved, options);
      if (image !== undefined) loaded.push(image);
    }
  } else if (archive.has('index.json')) {
    for (const entry of parseIndex(await archive.document('index.json'))) {
      const name = nameOf(entry);
      const stored = await loadEntry(deps, lease, archive, entry, options);
      if (stored === undefined) continue;
      loaded.push({ stored, names: name === undefined ? [] : [name] });
    }
  } else throw invalid('the archive has neither manifest.json nor index.json: it is not an image');
  if (loaded.length > 0) return loaded;
  if (options.platform === undefined) throw invalid('the archive has no image');
  throw new LinkspanError(
    'imageNotFound',
    `no images providing the requested platform ${formatPlatform(options.platform)} found`,
  );
}
