/*
 * A container as an image: the image that it was made from, one more layer, and a config of its own. Field by field as
 * Docker's engine writes them (moby, image.NewChildImage).
 */
import { type BlobLease, readDocument } from './blobs.ts';
import type { CommitOptions, Image } from './images.ts';
import { formatManifest } from './load.ts';
import { type BlobDescriptor, type Manifest, invalid, mediaTypes, parseManifest } from './manifest.ts';
import { storeDiff } from './rootfsDiff.ts';
import { type StoredImage, storeImage, type UnpackDependencies } from './unpack.ts';

/** The digest of a tar without entries (1024 bytes of zeros): such a layer is left out. */
const emptyLayer = 'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef';

interface Commit {
  readonly containerId: string;
  /** What the container was made from. */
  readonly image: Image;
  /** Digest of that image's manifest. */
  readonly target: string;
  readonly options: CommitOptions;
}

/** The layers of the image in the terms of its own manifest, and whether that is an OCI one. */
async function readLayers(
  deps: UnpackDependencies,
  target: string,
): Promise<{ readonly layers: readonly BlobDescriptor[]; readonly isOci: boolean }> {
  const manifest = parseManifest(await readDocument(deps.client, target));
  if (manifest === undefined) throw invalid('the image is kept as an index');
  return { layers: manifest.layers, isOci: manifest.config.mediaType === mediaTypes.ociConfig };
}

/** Stores and unpacks it under the lease. */
export async function commitContainer(
  deps: UnpackDependencies,
  lease: BlobLease,
  { containerId, image, target, options }: Commit,
): Promise<StoredImage> {
  const { layers, isOci } = await readLayers(deps, target);
  // What the image needs must not go while it becomes part of another.
  for (const { digest } of layers) await lease.hold(digest);
  const added = await storeDiff(deps.client, lease, containerId, 'parent');
  const isEmpty = added.digest === emptyLayer;
  const { author, comment, createdBy, config } = options;
  const created = new Date().toISOString();
  const said = {
    created,
    ...(author !== '' && { author }),
    ...(comment !== '' && { comment }),
  };
  const { architecture, os, variant, history, diffIds } = image;
  const document = {
    architecture,
    os,
    ...(variant !== undefined && { variant }),
    ...said,
    config,
    rootfs: { type: 'layers', diff_ids: isEmpty ? diffIds : [...diffIds, added.digest] },
    history: [...history, { ...said, created_by: createdBy, ...(isEmpty && { empty_layer: true }) }],
  };
  const stored = await lease.write(Buffer.from(JSON.stringify(document)));
  const types = isOci
    ? { config: mediaTypes.ociConfig, layer: mediaTypes.ociLayer, manifest: mediaTypes.ociManifest }
    : {
        config: mediaTypes.dockerConfig,
        layer: mediaTypes.dockerLayer,
        manifest: mediaTypes.dockerManifest,
      };
  const manifest: Manifest = {
    config: { mediaType: types.config ?? '', ...stored },
    layers: isEmpty ? layers : [...layers, { mediaType: types.layer ?? '', ...added }],
  };
  const bytes = formatManifest(manifest, types.manifest);
  return await storeImage(deps, lease, { bytes, mediaType: types.manifest ?? '', manifest });
}
