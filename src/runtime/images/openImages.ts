/*
 * The image store over containerd: load, import, tag, remove and look-up. Contract: images.ts. What is kept lives in
 * containerd; leases of an earlier daemon that died half-way are dropped at the start.
 */
import { KeyedMutex } from '../../base/mutex.ts';
import type { Seam } from '../../base/seam.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { ContainerdClient } from '../containerd/client.ts';
import { toLinkspanError } from '../containerd/status.ts';
import { plainBytes, readArchive, writeManifest } from './archive.ts';
import { dropStaleLeases, withLease } from './blobs.ts';
import { applyChanges } from './changes.ts';
import type { Image, ImageStore } from './images.ts';
import { chainIds, hostPlatform, type Manifest, mediaTypes, parsePlatform } from './manifest.ts';
import { ImageRecords, type NamedImage } from './records.ts';
import {
  familiarReference,
  formatReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from './reference.ts';
import { planRemoval } from './removal.ts';
import { type StoredImage, storeImage, type UnpackDependencies } from './unpack.ts';

export interface ImagesDependencies {
  readonly client: ContainerdClient;
  readonly seam: Seam;
}

function notFound(ref: string): LinkspanError {
  return new LinkspanError('imageNotFound', `No such image: ${ref}`);
}

/** The name in `ref`, with `latest` where it has no tag; undefined if it is no name. */
function findReference(ref: string): Reference | undefined {
  try {
    return withDefaultTag(parseReference(ref));
  } catch {
    return undefined;
  }
}

class ContainerdImages implements ImageStore {
  readonly #client: ContainerdClient;
  readonly #seam: Seam;
  readonly #records: ImageRecords;
  readonly #unpack: UnpackDependencies;

  constructor({ client, seam }: ImagesDependencies) {
    this.#client = client;
    this.#seam = seam;
    this.#records = new ImageRecords(client);
    this.#unpack = { client, unpacking: new KeyedMutex() };
  }

  async list(): Promise<readonly Image[]> {
    return (await this.#records.list()).map(({ image }) => image);
  }

  chainId(image: Image): string {
    return chainIds(image.diffIds).at(-1) ?? '';
  }

  async get(ref: string): Promise<Image> {
    return (await this.#find(ref)).named.image;
  }

  pull(ref: string): Promise<Image> {
    parseReference(ref);
    return Promise.reject(
      new LinkspanError(
        'notImplemented',
        `pulling from a registry is not there yet; load or import ${ref} instead`,
      ),
    );
  }

  load: ImageStore['load'] = (tar, onProgress) =>
    guarded(() =>
      withLease(this.#client, undefined, async (lease) => {
        const loaded: string[] = [];
        for (const archived of await readArchive(this.#client, tar, lease)) {
          const stored = await storeImage(this.#unpack, lease, archived, (blob, isDone) => {
            const id = blob.digest.slice(7, 19);
            const currentBytes = isDone ? blob.sizeBytes : 0;
            onProgress({ id, status: 'Loading layer', currentBytes, totalBytes: blob.sizeBytes });
          });
          const references = archived.tags.map((tag) => withDefaultTag(parseReference(tag)));
          await this.#keep(stored, references);
          loaded.push(...(references.length > 0 ? references.map(familiarReference) : [stored.id]));
        }
        return loaded;
      }),
    );

  import: ImageStore['import'] = (tar, options) =>
    guarded(() => {
      const reference = options.ref === undefined ? undefined : withDefaultTag(parseReference(options.ref));
      const platform = options.platform === undefined ? hostPlatform() : parsePlatform(options.platform);
      const config = applyChanges(options.changes);
      return withLease(this.#client, undefined, async (lease) => {
        const layer = await lease.write(plainBytes(tar));
        const created = new Date().toISOString();
        const document = {
          ...platform,
          created,
          comment: options.message,
          config,
          rootfs: { type: 'layers', diff_ids: [layer.digest] },
          history: [{ created, comment: options.message }],
        };
        const stored = await lease.write(Buffer.from(JSON.stringify(document)));
        const manifest: Manifest = {
          config: { mediaType: mediaTypes.ociConfig, ...stored },
          layers: [{ mediaType: mediaTypes.dockerLayer, ...layer }],
        };
        const image = await storeImage(this.#unpack, lease, writeManifest(manifest));
        await this.#keep(image, reference === undefined ? [] : [reference]);
        return await this.get(image.id);
      });
    });

  async tag(ref: string, target: string): Promise<void> {
    const { named } = await this.#find(ref);
    const reference = parseReference(target);
    if (reference.digest !== undefined)
      throw new LinkspanError('requestInvalid', 'refusing to create a tag with a digest reference');
    this.#seam.step('image tag');
    await this.#records.name(withDefaultTag(reference), named.image.id, named.manifest);
  }

  remove: ImageStore['remove'] = async (ref, { isForced, usersOf }) => {
    const { named, reference } = await this.#find(ref);
    const { id } = named.image;
    const plan = planRemoval({
      imageId: id,
      named: reference,
      references: named.references,
      users: usersOf(id),
      isForced,
    });
    this.#seam.step('image remove');
    // The id keeps the image while its names go, so that a failure in between loses nothing.
    await this.#records.keep(id, named.manifest);
    for (const name of plan.untag) await this.#records.unname(name);
    const untagged = plan.untag.map((name) => ({ untagged: familiarReference(name) }));
    const isNamed = named.references.length > plan.untag.length;
    if (!plan.isDeleted && !isNamed) return untagged;
    await this.#records.drop(id);
    return plan.isDeleted ? [...untagged, { deleted: id }] : untagged;
  };

  async #keep(stored: StoredImage, references: readonly Reference[]): Promise<void> {
    this.#seam.step('image record');
    if (references.length === 0) await this.#records.keep(stored.id, stored.manifest);
    for (const reference of references) await this.#records.name(reference, stored.id, stored.manifest);
  }

  /** By name, then by id or a prefix of one (`reference` undefined). */
  async #find(
    ref: string,
  ): Promise<{ readonly named: NamedImage; readonly reference: Reference | undefined }> {
    const all = await guarded(() => this.#records.list());
    const reference = findReference(ref);
    const wanted = reference === undefined ? '' : formatReference(reference);
    const byName = all.find(
      ({ references, image }) =>
        references.some((other) => formatReference(other) === wanted) || image.digests.includes(ref),
    );
    if (byName !== undefined) return { named: byName, reference };
    const hex = ref.replace(/^sha256:/, '');
    const byId = /^[0-9a-f]{1,64}$/.test(hex)
      ? all.filter(({ image }) => image.id.startsWith(`sha256:${hex}`))
      : [];
    const [only] = byId;
    if (only !== undefined && byId.length === 1) return { named: only, reference: undefined };
    throw notFound(reference === undefined ? ref : familiarReference(reference));
  }
}

/** containerd's own failures leave as LinkspanError. */
async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toLinkspanError(error);
  }
}

/** Opens the store and takes back what an earlier daemon left half-way. */
export async function openImages(deps: ImagesDependencies): Promise<ImageStore> {
  await dropStaleLeases(deps.client);
  return new ContainerdImages(deps);
}
