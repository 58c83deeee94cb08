/*
 * containerd's image records: a name each, pointing at a manifest. An image without a name is kept under its id, so
 * that the garbage collector leaves it; what manifests and configs say is read once and remembered by digest.
 */
import type { ContainerdClient } from '../containerd/client.ts';
import { hasStatus, unless } from '../containerd/status.ts';
import { readDocument } from './blobs.ts';
import type { Image } from './images.ts';
import { type BlobDescriptor, type ImageDetails, invalid, parseConfig, parseManifest } from './manifest.ts';
import {
  familiarName,
  familiarReference,
  formatReference,
  isDigest,
  parseReference,
  type Reference,
} from './reference.ts';
import { toDescriptor } from './unpack.ts';

/** One image with every name that points at it. */
export interface NamedImage {
  readonly image: Image;
  readonly manifest: BlobDescriptor;
  readonly references: readonly Reference[];
}

interface Known {
  readonly id: string;
  readonly sizeBytes: number;
  readonly details: ImageDetails;
}

export class ImageRecords {
  readonly #client: ContainerdClient;
  readonly #known = new Map<string, Known>();

  constructor(client: ContainerdClient) {
    this.#client = client;
  }

  /** Newest first. */
  async list(): Promise<readonly NamedImage[]> {
    const { images: records } = await this.#client.call('Images.List', { filters: [] });
    const byId = new Map<string, { manifest: BlobDescriptor; known: Known; references: Reference[] }>();
    for (const { name, target } of records) {
      if (target === null || target === undefined) continue;
      const manifest = {
        mediaType: target.media_type,
        digest: target.digest,
        sizeBytes: Number(target.size),
      };
      const known = await this.#read(manifest.digest);
      const entry = byId.get(known.id) ?? { manifest, known, references: [] };
      byId.set(known.id, entry);
      if (!isDigest(name)) entry.references.push(parseReference(name));
    }
    return [...byId.values()]
      .map(({ manifest, known, references }) => ({
        manifest,
        references,
        image: toImage(known, references, manifest),
      }))
      .sort((a, b) => (a.image.createdAt < b.image.createdAt ? 1 : -1));
  }

  /** Points `reference` at the image; the one that had the name before stays, without it. */
  async name(reference: Reference, id: string, manifest: BlobDescriptor): Promise<void> {
    const before = (await this.list()).find(({ references }) =>
      references.some((other) => formatReference(other) === formatReference(reference)),
    );
    if (before !== undefined && before.image.id !== id && before.references.length === 1)
      await this.#put(before.image.id, before.manifest);
    await this.#put(formatReference(reference), manifest);
    await this.#delete(id, false);
  }

  /** Keeps an image that has no name. */
  keep(id: string, manifest: BlobDescriptor): Promise<void> {
    return this.#put(id, manifest);
  }

  async unname(reference: Reference): Promise<void> {
    await this.#delete(formatReference(reference), false);
  }

  /** Lets the image go, with its blobs and layers that nothing else uses. */
  async drop(id: string): Promise<void> {
    await this.#delete(id, true);
  }

  async #put(name: string, manifest: BlobDescriptor): Promise<void> {
    const image = { name, labels: {}, target: toDescriptor(manifest) };
    try {
      await this.#client.call('Images.Create', { image });
    } catch (error) {
      if (!hasStatus(error, 'alreadyExists')) throw error;
      await this.#client.call('Images.Update', { image, update_mask: { paths: ['target'] } });
    }
  }

  async #delete(name: string, sync: boolean): Promise<void> {
    await unless(this.#client.call('Images.Delete', { name, sync }, { deadlineMs: 300_000 }), 'notFound');
  }

  async #read(digest: string): Promise<Known> {
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    const manifest = parseManifest(await readDocument(this.#client, digest));
    if (manifest === undefined) throw invalid(`${digest} is an index, and an image record points at it`);
    const details = parseConfig(await readDocument(this.#client, manifest.config.digest));
    const sizeBytes = manifest.layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
    const read = { id: manifest.config.digest, sizeBytes, details };
    this.#known.set(digest, read);
    return read;
  }
}

function toImage(known: Known, references: readonly Reference[], manifest: BlobDescriptor): Image {
  const isPulled = references.some(({ digest }) => digest !== undefined);
  const names = isPulled ? new Set(references.map((reference) => familiarName(reference))) : [];
  return {
    ...known.details,
    id: known.id,
    tags: references
      .filter(({ digest }) => digest === undefined)
      .map(familiarReference)
      .toSorted(),
    digests: [...names].map((name) => `${name}@${manifest.digest}`),
    sizeBytes: known.sizeBytes,
  };
}
