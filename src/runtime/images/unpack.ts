/*
 * From stored blobs to an image: layers are applied to snapshots one by one and checked against the config's diff ids,
 * then the manifest is stored with the labels by which containerd's garbage collector finds config, layers and snapshots,
 * and a record per name points at it.
 */
import { randomBytes } from 'node:crypto';
import type { KeyedMutex } from '../../base/mutex.ts';
import type { ContainerdClient } from '../containerd/client.ts';
import type { Descriptor } from '../containerd/messages.ts';
import { ContainerdError, hasStatus, unless } from '../containerd/status.ts';
import type { BlobLease } from './blobs.ts';
import { readDocument } from './blobs.ts';
import { readDiffId, rememberDiffId } from './diffIds.ts';
import {
  type BlobDescriptor,
  chainIds,
  type ImageDetails,
  invalid,
  type Manifest,
  parseConfig,
} from './manifest.ts';

export const snapshotter = 'overlayfs';
/** Unpacking a layer of many GB on a slow disk. */
const applyDeadlineMs = 3_600_000;

export interface UnpackDependencies {
  readonly client: ContainerdClient;
  /** By chain id: two imports that share layers unpack each once. */
  readonly unpacking: KeyedMutex;
}

export function toDescriptor(blob: BlobDescriptor): Descriptor {
  return { media_type: blob.mediaType, digest: blob.digest, size: String(blob.sizeBytes) };
}

export function toBlob({ media_type: mediaType, digest, size }: Descriptor): BlobDescriptor {
  return { mediaType, digest, sizeBytes: Number(size) };
}

/** What Diff.Apply refuses is the layer's fault, unless containerd went away. */
function explainApply(error: unknown, number: number): unknown {
  if (!(error instanceof ContainerdError)) return error;
  if (
    hasStatus(error, 'unavailable', 'cancelled', 'deadlineExceeded') ||
    /no space left|quota/.test(error.message)
  )
    return error;
  return invalid(`layer ${number} cannot be unpacked: ${error.message}`, error);
}

interface Layer {
  readonly blob: BlobDescriptor;
  readonly number: number;
  readonly diffId: string;
  readonly chainId: string;
  readonly parent: string;
}

/** Throws imageInvalid if the layer's bytes are not those that the config names. */
function checkDiffId(layer: Layer, diffId: string): void {
  if (diffId !== layer.diffId)
    throw invalid(
      `layer ${layer.number} does not have the diff id that the config gives: ${diffId}, not ${layer.diffId}`,
    );
}

async function applyLayer(deps: UnpackDependencies, lease: BlobLease, layer: Layer): Promise<void> {
  const { client } = deps;
  const key = `extract-${randomBytes(8).toString('hex')} ${layer.chainId}`;
  const options = { lease: lease.id };
  const { mounts } = await client.call(
    'Snapshots.Prepare',
    { snapshotter, key, parent: layer.parent },
    options,
  );
  try {
    const { applied } = await client
      .call(
        'Diff.Apply',
        { diff: toDescriptor(layer.blob), mounts },
        { ...options, deadlineMs: applyDeadlineMs },
      )
      .catch((error: unknown) => Promise.reject(explainApply(error, layer.number)));
    checkDiffId(layer, applied.digest);
    await rememberDiffId(client, layer.blob.digest, layer.diffId);
    const done = await unless(
      client.call('Snapshots.Commit', { snapshotter, name: layer.chainId, key }, options),
      'alreadyExists',
    );
    if (done !== undefined) return;
    await unless(client.call('Snapshots.Remove', { snapshotter, key }), 'notFound');
    await lease.holdSnapshot(snapshotter, layer.chainId);
  } catch (error) {
    await unless(client.call('Snapshots.Remove', { snapshotter, key }), 'notFound').catch(() => undefined);
    throw error;
  }
}

/** Who hears of the layers, and holds them back. */
export interface LayerWatch {
  /** Resolves once the layer's blob is in the store; absent = all are. */
  readonly arrived?: (blob: BlobDescriptor) => Promise<void>;
  /** Of each layer, before it is unpacked (`isDone` false) and after. */
  readonly onLayer?: (blob: BlobDescriptor, isDone: boolean) => void;
}

/** Makes the snapshots of all layers. */
export async function unpackLayers(
  deps: UnpackDependencies,
  lease: BlobLease,
  manifest: Manifest,
  diffIds: readonly string[],
  watch: LayerWatch = {},
): Promise<void> {
  if (manifest.layers.length !== diffIds.length)
    throw invalid(
      `the manifest has ${manifest.layers.length} layers and the config ${diffIds.length} diff ids`,
    );
  const chain = chainIds(diffIds);
  for (const [i, blob] of manifest.layers.entries()) {
    const chainId = chain[i] ?? '';
    const layer = { blob, number: i + 1, diffId: diffIds[i] ?? '', chainId, parent: chain[i - 1] ?? '' };
    await watch.arrived?.(blob);
    lease.signal?.throwIfAborted();
    await deps.unpacking.run(chainId, async () => {
      watch.onLayer?.(blob, false);
      // What is unpacked already came from another blob perhaps: this one must be what the config says all the same.
      if (await lease.holdSnapshot(snapshotter, chainId))
        checkDiffId(layer, await readDiffId(deps.client, blob.digest, layer.diffId));
      else await applyLayer(deps, lease, layer);
    });
    watch.onLayer?.(blob, true);
  }
}

/** An image that is complete in the store and has no name yet. */
export interface StoredImage {
  /** Digest of the config: the image's id. */
  readonly id: string;
  readonly manifest: BlobDescriptor;
  readonly details: ImageDetails;
}

/**
 * Unpacks and stores the manifest. `bytes` is the manifest's document; config and layers are in the store. Until
 * records name it, only the lease holds it.
 */
export async function storeImage(
  deps: UnpackDependencies,
  lease: BlobLease,
  image: {
    readonly bytes: Uint8Array;
    readonly mediaType: string;
    readonly manifest: Manifest;
    readonly digest?: string;
  },
  watch?: LayerWatch,
): Promise<StoredImage> {
  const { manifest } = image;
  const configBytes = await readDocument(deps.client, manifest.config.digest);
  const details = parseConfig(configBytes);
  await unpackLayers(deps, lease, manifest, details.diffIds, watch);
  const top = chainIds(details.diffIds).at(-1);
  // The config keeps the snapshots, the manifest keeps config and layers (containerd's garbage collection labels).
  await lease.write(configBytes, {
    digest: manifest.config.digest,
    labels: top === undefined ? {} : { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: top },
  });
  const layerLabels = Object.fromEntries(
    manifest.layers.map(({ digest }, i) => [`containerd.io/gc.ref.content.l.${i}`, digest]),
  );
  const stored = await lease.write(image.bytes, {
    ...(image.digest === undefined ? {} : { digest: image.digest }),
    labels: { 'containerd.io/gc.ref.content.config': manifest.config.digest, ...layerLabels },
  });
  return {
    id: manifest.config.digest,
    manifest: { mediaType: image.mediaType, ...stored },
    details,
  };
}
