/*
 * An image from the store to a registry: layers a few side by side, those first that are on top, then the config and the
 * manifest. Layers that lie uncompressed in the store are compressed on the way, and kept so: the image has another
 * manifest then, and its digest is the one that the registry shows. Progress lines are Docker's.
 */
import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import type { RegistryPusher } from '../registry/registryPusher.ts';
import { type BlobLease, readDocument } from './blobs.ts';
import { throughTransform } from './compression.ts';
import { rememberDiffId } from './diffIds.ts';
import type { ImageProgress } from './images.ts';
import { formatManifest } from './load.ts';
import {
  type BlobDescriptor,
  invalid,
  type Manifest,
  mediaTypes,
  parseConfig,
  parseManifest,
} from './manifest.ts';
import { type StoredImage, storeImage, type UnpackDependencies } from './unpack.ts';

/** Docker's default for `--max-concurrent-uploads`. */
const uploadsAtOnce = 5;
/** Between two progress lines of one layer, in bytes at least. */
const progressStepBytes = 512 * 1024;

export interface PushRequest {
  /** The tag to give it there. */
  readonly tag: string;
  /** Of the manifest in the store. */
  readonly target: BlobDescriptor;
  /** Path of another repository of the registry that has this blob; undefined if none is known. */
  readonly mountFrom: (digest: string) => string | undefined;
  readonly signal: AbortSignal;
  /** Fires the signal: one layer has failed. */
  readonly stop: () => void;
}

export interface PushedImage {
  readonly manifest: BlobDescriptor;
  /** The image as it is stored now, where that is new. */
  readonly changed: StoredImage | undefined;
}

const compressedTypes: Readonly<Record<string, string>> = {
  [mediaTypes.dockerLayer]: mediaTypes.dockerLayerGzip,
  [mediaTypes.ociLayer]: mediaTypes.ociLayerGzip,
};

interface PushedLayer {
  readonly blob: BlobDescriptor;
  readonly diffId: string;
}

type Say = (diffId: string, status: string, currentBytes?: number, totalBytes?: number) => void;

class Push {
  readonly #deps: UnpackDependencies;
  readonly #lease: BlobLease;
  readonly #pusher: RegistryPusher;
  readonly #request: PushRequest;
  readonly #say: Say;

  constructor(
    deps: UnpackDependencies,
    lease: BlobLease,
    pusher: RegistryPusher,
    request: PushRequest,
    say: Say,
  ) {
    this.#deps = deps;
    this.#lease = lease;
    this.#pusher = pusher;
    this.#request = request;
    this.#say = say;
  }

  async *#read(digest: string, offset: number): AsyncGenerator<Uint8Array> {
    const request = { digest, offset: String(offset) };
    const options = { deadlineMs: Infinity, signal: this.#request.signal };
    for await (const { data } of this.#deps.client.stream('Content.Read', request, options)) yield data;
  }

  async #compress({ blob, diffId }: PushedLayer): Promise<BlobDescriptor> {
    const mediaType = compressedTypes[blob.mediaType];
    if (mediaType === undefined) return blob;
    this.#request.signal?.throwIfAborted();
    const plain = Readable.from(this.#read(blob.digest, 0), { objectMode: false });
    const stored = await this.#lease.write(
      throughTransform(plain, createGzip()) as AsyncIterable<Uint8Array>,
    );
    await rememberDiffId(this.#deps.client, stored.digest, diffId);
    return { mediaType, ...stored };
  }

  /** What the registry has the layer as. */
  async layer(layer: PushedLayer): Promise<BlobDescriptor> {
    const { diffId } = layer;
    const blob = await this.#compress(layer);
    const { digest, sizeBytes } = blob;
    if (await this.#pusher.hasBlob(digest)) {
      this.#say(diffId, 'Layer already exists');
      return blob;
    }
    const from = this.#request.mountFrom(layer.blob.digest) ?? this.#request.mountFrom(digest);
    // A registry that will not say what is elsewhere may well take the blob.
    if (from !== undefined && (await this.#pusher.mountBlob(digest, from).catch(() => false))) {
      this.#say(diffId, `Mounted from ${from}`);
      return blob;
    }
    let saidBytes = 0;
    await this.#pusher.uploadBlob({
      digest,
      sizeBytes,
      read: (offset) => this.#read(digest, offset),
      onSent: (sent) => {
        if (Math.abs(sent - saidBytes) < progressStepBytes && sent < sizeBytes) return;
        saidBytes = sent;
        this.#say(diffId, 'Pushing', sent, sizeBytes);
      },
    });
    this.#say(diffId, 'Pushed');
    return blob;
  }

  async config({ digest, sizeBytes }: BlobDescriptor): Promise<void> {
    if (await this.#pusher.hasBlob(digest)) return;
    const read = (offset: number): AsyncIterable<Uint8Array> => this.#read(digest, offset);
    await this.#pusher.uploadBlob({ digest, sizeBytes, read, onSent: () => {} });
  }
}

/** Runs `work` on each, a few at a time; the first failure calls `stop`, and is thrown when none runs any more. */
async function eachAtOnce<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  stop: () => void,
): Promise<void> {
  const queue = [...items];
  const failures: unknown[] = [];
  const run = async (): Promise<void> => {
    try {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    } catch (error) {
      failures.push(error);
      queue.length = 0;
      stop();
    }
  };
  await Promise.all(Array.from({ length: uploadsAtOnce }, run));
  if (failures.length > 0) throw failures[0];
}

/** Throws registryRefused, registryUnreachable, and imageInvalid where the store lacks a part of the image. */
export async function pushImage(
  deps: UnpackDependencies,
  lease: BlobLease,
  pusher: RegistryPusher,
  request: PushRequest,
  onProgress: (progress: ImageProgress) => void,
): Promise<PushedImage> {
  const { target, tag } = request;
  if (!(await lease.hold(target.digest)))
    throw invalid(`${target.digest} of the image is missing in the store`);
  const bytes = await readDocument(deps.client, target.digest);
  const manifest = parseManifest(bytes);
  if (manifest === undefined) throw invalid('the image is kept as an index');
  for (const { digest } of [manifest.config, ...manifest.layers])
    if (!(await lease.hold(digest))) throw invalid(`${digest} of the image is missing in the store`);
  const { diffIds } = parseConfig(await readDocument(deps.client, manifest.config.digest));

  const say: Say = (diffId, status, currentBytes, totalBytes) =>
    onProgress({
      id: diffId.slice('sha256:'.length, 'sha256:'.length + 12),
      status,
      ...(currentBytes === undefined ? {} : { currentBytes }),
      ...(totalBytes === undefined ? {} : { totalBytes }),
    });
  const push = new Push(deps, lease, pusher, request, say);
  const all = manifest.layers.map((blob, i): PushedLayer => ({ blob, diffId: diffIds[i] ?? '' })).reverse();
  const layers = [...new Map(all.map((layer) => [layer.blob.digest, layer])).values()];
  for (const { diffId } of layers) say(diffId, 'Preparing');
  for (const { diffId } of layers.slice(uploadsAtOnce)) say(diffId, 'Waiting');
  const pushed = new Map<string, BlobDescriptor>();
  await eachAtOnce(
    layers,
    async (layer) => void pushed.set(layer.blob.digest, await push.layer(layer)),
    request.stop,
  );
  await push.config(manifest.config);

  const isSame = [...pushed].every(([digest, blob]) => digest === blob.digest);
  const sent: Manifest = {
    config: manifest.config,
    layers: manifest.layers.map((blob) => pushed.get(blob.digest) ?? blob),
  };
  const document = isSame ? bytes : formatManifest(sent, target.mediaType);
  const changed = isSame
    ? undefined
    : await storeImage(deps, lease, { bytes: document, mediaType: target.mediaType, manifest: sent });
  const stored = changed?.manifest ?? target;
  await pusher.putManifest(tag, { bytes: document, mediaType: target.mediaType, digest: stored.digest });
  const { digest, sizeBytes } = stored;
  onProgress({ status: `${tag}: digest: ${digest} size: ${sizeBytes}` });
  onProgress({ status: '', pushed: { tag, digest, sizeBytes } });
  return { manifest: stored, changed };
}
