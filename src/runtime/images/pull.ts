/*
 * An image from a registry into the store: which manifest, then config and layers, a few side by side, each checked
 * against its digest while it is stored; layers are unpacked in order as they arrive. Progress lines are Docker's.
 * Names are for the caller to give. How a registry is spoken to: registry/registryClient.ts.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Logger } from '../../base/logger.ts';
import { listTags, openRegistry, type RegistryClient } from '../registry/registryClient.ts';
import { type RegistryOptions, usualPatience } from '../registry/registryHttp.ts';
import { type BlobLease, readDocument } from './blobs.ts';
import type { ImageProgress } from './images.ts';
import {
  type BlobDescriptor,
  chainIds,
  documentMaxBytes,
  fitsPlatform,
  formatPlatform,
  hostPlatform,
  invalid,
  type Manifest,
  mediaTypes,
  type Platform,
  parseConfig,
  parseIndex,
  parseManifest,
  parsePlatform,
  selectPlatform,
  sha256Of,
} from './manifest.ts';
import { familiarName, familiarReference, hubDomain, type Reference } from './reference.ts';
import { type StoredImage, snapshotter, storeImage, type UnpackDependencies } from './unpack.ts';

/** Docker's default for `--max-concurrent-downloads`. */
const downloadsAtOnce = 3;
/** Between two progress lines of one layer, in bytes at least; clients redraw a terminal at each. */
const progressStepBytes = 512 * 1024;

export interface PullOptions extends Omit<RegistryOptions, 'reference'> {
  readonly platform?: string;
  /** True for an image (by id) that is here already: then nothing is said of its layers. */
  readonly isKnown: (imageId: string) => boolean;
}

export interface PulledImage {
  readonly stored: StoredImage;
  /** Of what the name points at: an index, or the manifest itself. */
  readonly digest: string;
}

interface Resolved {
  readonly digest: string;
  readonly manifestDigest: string;
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly manifest: Manifest;
}

async function fetchManifest(
  registry: RegistryClient,
  tagOrDigest: string,
): Promise<{ readonly bytes: Buffer; readonly mediaType: string; readonly digest: string }> {
  const { bytes, mediaType } = await registry.manifest(tagOrDigest);
  const digest = sha256Of(bytes);
  if (tagOrDigest.includes(':') && digest !== tagOrDigest)
    throw invalid(`manifest verification failed for digest ${tagOrDigest}`);
  return { bytes, mediaType, digest };
}

async function resolve(registry: RegistryClient, tagOrDigest: string, platform: Platform): Promise<Resolved> {
  const named = await fetchManifest(registry, tagOrDigest);
  const direct = parseManifest(named.bytes);
  if (direct !== undefined) return { ...named, manifestDigest: named.digest, manifest: direct };
  const entry = selectPlatform(parseIndex(named.bytes), platform);
  if (entry === undefined)
    throw new LinkspanError(
      'imageNotFound',
      `no matching manifest for ${formatPlatform(platform)} in the manifest list entries`,
    );
  const chosen = await fetchManifest(registry, entry.digest);
  const manifest = parseManifest(chosen.bytes);
  if (manifest === undefined) throw invalid('the index names another index for this platform');
  return { ...chosen, digest: named.digest, manifestDigest: chosen.digest, manifest };
}

function shortDigest(digest: string): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}

/** The layers of a manifest, each once: an empty layer is often there several times. */
function distinct(layers: readonly BlobDescriptor[]): readonly BlobDescriptor[] {
  return [...new Map(layers.map((layer) => [layer.digest, layer])).values()];
}

type Say = (layer: BlobDescriptor, status: string, currentBytes?: number) => void;

async function* watched(
  parts: AsyncIterable<Uint8Array>,
  layer: BlobDescriptor,
  say: Say,
): AsyncGenerator<Uint8Array> {
  let length = 0;
  let saidBytes = 0;
  for await (const part of parts) {
    length += part.length;
    if (length - saidBytes >= progressStepBytes || length >= layer.sizeBytes) {
      saidBytes = length;
      say(layer, 'Downloading', Math.min(length, layer.sizeBytes));
    }
    yield part;
  }
  say(layer, 'Verifying Checksum');
}

interface Downloads extends AsyncDisposable {
  /** Resolves when the layer is in the store, rejects as the first failure of any. */
  arrived(digest: string): Promise<void>;
}

/** Fetches `layers`, a few at a time. The first failure ends all through `stop`; disposing waits for what still runs. */
function startDownloads(
  registry: RegistryClient,
  lease: BlobLease,
  layers: readonly BlobDescriptor[],
  stop: AbortController,
  say: Say,
): Downloads {
  const arrivals = new Map(layers.map(({ digest }) => [digest, Promise.withResolvers<void>()]));
  const queue = [...layers];

  async function fetchLayer(layer: BlobDescriptor): Promise<void> {
    const { digest, sizeBytes } = layer;
    await lease.write(watched(registry.blob(digest, sizeBytes), layer, say), {
      digest,
      sizeBytes,
      mismatchText: `filesystem layer verification failed for digest ${digest}`,
    });
    say(layer, 'Download complete');
    arrivals.get(digest)?.resolve();
  }

  async function fetchQueued(): Promise<void> {
    try {
      for (let layer = queue.shift(); layer !== undefined; layer = queue.shift()) await fetchLayer(layer);
    } catch (error) {
      queue.length = 0;
      for (const { reject } of arrivals.values()) reject(error);
      stop.abort();
    }
  }

  // Whoever waits for a layer hears of a failure; where nobody does, it is no unhandled rejection.
  for (const { promise } of arrivals.values()) promise.catch(() => {});
  const running = Array.from({ length: downloadsAtOnce }, fetchQueued);
  return {
    arrived: (digest) => arrivals.get(digest)?.promise ?? Promise.resolve(),
    [Symbol.asyncDispose]: async () => {
      queue.length = 0;
      stop.abort();
      await Promise.all(running);
    },
  };
}

async function fetchConfig(
  deps: UnpackDependencies,
  registry: RegistryClient,
  lease: BlobLease,
  { digest, sizeBytes }: BlobDescriptor,
): Promise<Buffer> {
  if (sizeBytes > documentMaxBytes) throw invalid('the image config is too large');
  if (!(await lease.hold(digest)))
    await lease.write(registry.blob(digest, sizeBytes), {
      digest,
      sizeBytes,
      mismatchText: `image config verification failed for digest ${digest}`,
    });
  return await readDocument(deps.client, digest);
}

/** What was asked for by `--platform` and is a single image must be for it. */
function checkPlatform(given: string | undefined, config: Buffer, reference: Reference): void {
  if (given === undefined) return;
  const wanted = parsePlatform(given);
  const actual: Platform = parseConfig(config);
  if (fitsPlatform(actual, wanted)) return;
  throw new LinkspanError(
    'imageNotFound',
    `image with reference ${familiarReference(reference)} was found but does not provide the specified ` +
      `platform (${formatPlatform(wanted)}): it is for ${formatPlatform(actual)}`,
  );
}

/** Layers that are in the store, unpacked or not. */
async function findHeld(
  lease: BlobLease,
  manifest: Manifest,
  chain: readonly string[],
): Promise<{ readonly stored: ReadonlySet<string>; readonly unpacked: ReadonlySet<string> }> {
  const stored = new Set<string>();
  const unpacked = new Set<string>();
  for (const [i, { digest }] of manifest.layers.entries()) {
    if (!(await lease.hold(digest))) continue;
    stored.add(digest);
    if (await lease.holdSnapshot(snapshotter, chain[i] ?? '')) unpacked.add(digest);
  }
  return { stored, unpacked };
}

/**
 * Stores and unpacks what `reference` (with tag or digest) points at, under the lease. Throws imageNotFound,
 * registryRefused, registryUnreachable, imageInvalid.
 */
async function pullImage(
  deps: UnpackDependencies,
  lease: BlobLease,
  reference: Reference,
  options: PullOptions,
  onProgress: (progress: ImageProgress) => void,
): Promise<PulledImage> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const platform = options.platform === undefined ? hostPlatform() : parsePlatform(options.platform);
  const tagOrDigest = reference.digest ?? reference.tag ?? 'latest';
  const registry = await openRegistry({ ...options, reference, signal });
  const found = await resolve(registry, tagOrDigest, platform);
  const { manifest } = found;
  onProgress({ tag: tagOrDigest, status: `Pulling from ${familiarName(reference)}` });
  const configBytes = await fetchConfig(deps, registry, lease, manifest.config);
  checkPlatform(options.platform, configBytes, reference);

  const isQuiet = options.isKnown(manifest.config.digest);
  const say: Say = ({ digest, sizeBytes }, status, currentBytes) => {
    const amount = currentBytes === undefined ? {} : { currentBytes, totalBytes: sizeBytes };
    if (!isQuiet) onProgress({ id: shortDigest(digest), status, ...amount });
  };
  const held = await findHeld(lease, manifest, chainIds(parseConfig(configBytes).diffIds));
  const layers = distinct(manifest.layers);
  const missing = layers.filter(({ digest }) => !held.stored.has(digest));
  for (const layer of layers)
    say(layer, held.unpacked.has(layer.digest) ? 'Already exists' : 'Pulling fs layer');
  for (const layer of missing.slice(downloadsAtOnce)) say(layer, 'Waiting');

  await using downloads = startDownloads(registry, lease, missing, stop, say);
  const stored = await storeImage(
    deps,
    lease,
    {
      bytes: found.bytes,
      mediaType: found.mediaType === '' ? mediaTypes.ociManifest : found.mediaType,
      manifest,
      digest: found.manifestDigest,
    },
    {
      arrived: ({ digest }) => downloads.arrived(digest),
      onLayer: (layer, isDone) => {
        if (held.unpacked.has(layer.digest)) return;
        if (isDone) say(layer, 'Pull complete');
        else say(layer, 'Extracting', layer.sizeBytes);
      },
    },
  );
  return { stored, digest: found.digest };
}

/** A mirror that does not answer well is not waited for long: another place follows. */
const mirrorPatience = { ...usualPatience, attempts: 2 };

/** Where an image may come from besides its registry. */
interface Mirrors {
  readonly mirrors: readonly string[];
  readonly logger: Logger;
}

/**
 * What `work` has from the first place that has it: for what is of Docker Hub the mirrors, then itself. What is wrong with
 * a mirror is logged; thrown is what the last place says. Mirrors are not shown credentials of Docker Hub.
 */
async function fromAny<O extends RegistryOptions, T>(
  options: O,
  { mirrors, logger }: Mirrors,
  work: (there: O) => Promise<T>,
): Promise<T> {
  for (const baseUrl of options.reference.domain === hubDomain ? mirrors : []) {
    try {
      return await work({ ...options, credentials: {}, baseUrl, patience: mirrorPatience });
    } catch (error) {
      if (options.signal.aborted || !(error instanceof LinkspanError)) throw error;
      logger.warn({ mirror: baseUrl, reason: error.message }, 'nothing comes from a mirror');
    }
  }
  return await work(options);
}

/** As `pullImage`, from the first place that has it. */
export async function pullFromAny(
  deps: UnpackDependencies,
  lease: BlobLease,
  reference: Reference,
  { mirrors, logger, ...own }: PullOptions & Mirrors,
  onProgress: (progress: ImageProgress) => void,
): Promise<PulledImage> {
  return await fromAny({ ...own, reference }, { mirrors, logger }, (there) =>
    pullImage(deps, lease, reference, there, onProgress),
  );
}

/** As `listTags`, from the first place that has them. */
export async function listTagsOfAny({
  mirrors,
  logger,
  ...own
}: RegistryOptions & Mirrors): Promise<readonly string[]> {
  return await fromAny(own, { mirrors, logger }, listTags);
}
