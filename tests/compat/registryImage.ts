/*
 * A small image as a registry holds it: blobs by digest, a manifest, and an index over it. Layers are gzipped tars,
 * made from the busybox archive that the fixture builds and from a few files, so that there is something to do side
 * by side.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { extract, pack } from 'tar-stream';

export interface RegistryImage {
  /** Go's name. */
  readonly architecture: string;
  /** Config and layers by digest. */
  readonly blobs: ReadonlyMap<string, Buffer>;
  readonly manifest: Buffer;
  readonly manifestDigest: string;
  readonly index: Buffer;
  readonly indexDigest: string;
  readonly configDigest: string;
  /** From the bottom up. */
  readonly layerDigests: readonly string[];
}

export const manifestType = 'application/vnd.oci.image.manifest.v1+json';
export const indexType = 'application/vnd.oci.image.index.v1+json';

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The layer of a docker-save archive of one layer. */
async function readLayer(archive: Buffer): Promise<Buffer> {
  const reader = extract();
  reader.end(archive);
  let found: Buffer | undefined;
  for await (const entry of reader) {
    const content = await buffer(entry);
    if (content.length > (found?.length ?? 0)) found = content;
  }
  if (found === undefined) throw new Error('the archive has no layer');
  return found;
}

function fileLayer(name: string, content: string): Promise<Buffer> {
  const tar = pack();
  tar.entry({ name, mtime: new Date(0) }, content);
  tar.finalize();
  return buffer(tar);
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

const descriptor = (mediaType: string, bytes: Buffer): object => ({
  mediaType,
  size: bytes.length,
  digest: digestOf(bytes),
});

/** An index over these, in this order. */
export function makeIndex(
  images: readonly { readonly manifest: Buffer; readonly architecture: string }[],
): Buffer {
  const manifests = images.map(({ manifest, architecture }) => ({
    ...descriptor(manifestType, manifest),
    platform: { os: 'linux', architecture },
  }));
  return json({ schemaVersion: 2, mediaType: indexType, manifests });
}

/** `extraLayers` small layers stand on busybox's; `architecture` is what config and index say. */
export async function makeRegistryImage(
  archivePath: string,
  extraLayers: number,
  architecture: string = process.arch === 'x64' ? 'amd64' : process.arch,
): Promise<RegistryImage> {
  const tars = [await readLayer(readFileSync(archivePath))];
  for (let i = 0; i < extraLayers; i++)
    tars.push(await fileLayer(`layer${i}`, `${i}\n`.repeat(1000 * (i + 1))));
  const layers = tars.map((tar) => gzipSync(tar));
  const config = json({
    architecture,
    os: 'linux',
    config: { Cmd: ['/bin/sh'], Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: tars.map(digestOf) },
    history: tars.map((_, i) => ({ created: '2024-01-01T00:00:00Z', created_by: `layer ${i}` })),
    created: '2024-01-01T00:00:00Z',
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: manifestType,
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: layers.map((bytes) => descriptor('application/vnd.oci.image.layer.v1.tar+gzip', bytes)),
  });
  const index = makeIndex([{ manifest, architecture }]);
  return {
    architecture,
    blobs: new Map([config, ...layers].map((bytes) => [digestOf(bytes), bytes])),
    manifest,
    manifestDigest: digestOf(manifest),
    index,
    indexDigest: digestOf(index),
    configDigest: digestOf(config),
    layerDigests: layers.map(digestOf),
  };
}
