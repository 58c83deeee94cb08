/*
 * A root file system tar as an image of one layer, with the config that Dockerfile instructions make.
 */
import type { Readable } from 'node:stream';
import { explainArchive } from './archive.ts';
import type { BlobLease } from './blobs.ts';
import { applyChanges } from './changes.ts';
import { decompress } from './compression.ts';
import { formatManifest } from './load.ts';
import { hostPlatform, mediaTypes, parsePlatform } from './manifest.ts';
import { checkedTar } from './tarCheck.ts';
import { type StoredImage, storeImage, type UnpackDependencies } from './unpack.ts';

export interface ImportOptions {
  readonly message: string;
  readonly changes: readonly string[];
  readonly platform?: string;
}

/** Stores and unpacks it under the lease. Throws requestInvalid for a change, imageInvalid for the tar. */
export async function importRootfs(
  deps: UnpackDependencies,
  lease: BlobLease,
  tar: Readable,
  options: ImportOptions,
): Promise<StoredImage> {
  const config = applyChanges(options.changes);
  const platform = options.platform === undefined ? hostPlatform() : parsePlatform(options.platform);
  // Stored uncompressed, so that the blob's digest is the layer's diff id.
  const layer = await decompress(tar)
    .then((plain) => lease.write(checkedTar(plain as AsyncIterable<Buffer>)))
    .catch((error: unknown) => Promise.reject(explainArchive(error)));
  const created = new Date().toISOString();
  const configBytes = Buffer.from(
    JSON.stringify({
      ...platform,
      created,
      comment: options.message,
      config,
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
      history: [{ created, comment: options.message }],
    }),
  );
  const stored = await lease.write(configBytes);
  const manifest = {
    config: { mediaType: mediaTypes.dockerConfig, ...stored },
    layers: [{ mediaType: mediaTypes.dockerLayer, ...layer }],
  };
  const bytes = formatManifest(manifest);
  return await storeImage(deps, lease, { bytes, mediaType: mediaTypes.dockerManifest, manifest });
}
