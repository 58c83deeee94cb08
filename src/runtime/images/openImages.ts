/*
 * The image store over containerd's content, diff, snapshots and images services. It keeps nothing itself but a cache
 * of parsed configs, which cannot change since they are named by digest. Contract: images.ts.
 */
import type { Readable } from 'node:stream';
import type { Logger } from '../../base/logger.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import type { Seam } from '../../base/seam.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { ContainerdClient } from '../containerd/client.ts';
import { toLinkspanError, unless } from '../containerd/status.ts';
import { canceled } from '../registry/registryHttp.ts';
import { logIn } from '../registry/registryLogin.ts';
import { dropStaleLeases, readDocument, takeLease, withLease } from './blobs.ts';
import type { Image, ImageProgress, ImageStore, RegistrySettings } from './images.ts';
import { commitContainer } from './commit.ts';
import { measureImages } from './diskUsage.ts';
import { importRootfs } from './importRootfs.ts';
import { loadArchive } from './load.ts';
import { chainIds, type ImageDetails, parseConfig, parsePlatform } from './manifest.ts';
import { exportContainer } from './rootfsDiff.ts';
import {
  type ImageName,
  listNames,
  measureLayers,
  putDangling,
  putName,
  recordOf,
  removeRecord,
} from './names.ts';
import { listTagsOfAny, pullFromAny } from './pull.ts';
import { pushNames } from './pushNames.ts';
import {
  familiarName,
  familiarReference,
  formatReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from './reference.ts';
import { planRemoval } from './removal.ts';
import { saveImages } from './save.ts';
import { checkPlatform, findWanted, type FoundImage } from './saved.ts';
import { type StoredImage, toBlob, type UnpackDependencies } from './unpack.ts';

export interface ImagesOptions {
  /** Of `openRuntime`; stays the caller's. */
  readonly client: ContainerdClient;
  readonly logger: Logger;
  readonly seam: Seam;
  readonly registries: RegistrySettings;
}

type PullWish = Parameters<ImageStore['pull']>[1];

function notFound(text: string): LinkspanError {
  return new LinkspanError('imageNotFound', `No such image: ${text}`);
}

function isTag(reference: Reference | undefined): reference is Reference {
  return reference?.digest === undefined && reference?.tag !== undefined;
}

function toImage(names: readonly ImageName[], details: ImageDetails): Image {
  const references = names.flatMap(({ reference }) => reference ?? []);
  return {
    ...details,
    id: names[0]?.imageId ?? '',
    tags: references.filter(isTag).map(familiarReference).sort(),
    digests: references
      .filter(({ digest }) => digest !== undefined)
      .map(familiarReference)
      .sort(),
    sizeBytes: names[0]?.sizeBytes ?? 0,
  };
}

const idPattern = /^(?:sha256:)?([0-9a-f]{1,64})$/;

/** Opens the store and drops what an import left that a crash cut off. */
export async function openImages(options: ImagesOptions): Promise<ImageStore> {
  const { client, logger, seam, registries } = options;
  const { insecure: insecureRegistries } = registries;
  const deps: UnpackDependencies = { client, unpacking: new KeyedMutex() };
  const naming = new KeyedMutex();
  const known = new Map<string, ImageDetails>();
  await dropStaleLeases(client).catch((error: unknown) => Promise.reject(toLinkspanError(error)));

  async function detailsOf(id: string): Promise<ImageDetails | undefined> {
    const cached = known.get(id);
    if (cached !== undefined) return cached;
    const bytes = await unless(readDocument(client, id), 'notFound');
    if (bytes === undefined) return undefined;
    const details = parseConfig(bytes);
    known.set(id, details);
    return details;
  }

  async function findAll(): Promise<readonly FoundImage[]> {
    const byId = Map.groupBy(await listNames(client), ({ imageId }) => imageId);
    for (const id of known.keys()) if (!byId.has(id)) known.delete(id);
    const found = await Promise.all(
      [...byId].map(async ([id, names]) => {
        const details = await detailsOf(id);
        if (details === undefined) logger.warn({ image: id }, 'an image has lost its config');
        return details === undefined ? [] : [{ image: toImage(names, details), names }];
      }),
    );
    return found.flat().sort((a, b) => (a.image.createdAt < b.image.createdAt ? 1 : -1));
  }

  /** The image and, where `ref` was a name, that name. Names come before ids, as with Docker. */
  async function find(ref: string): Promise<FoundImage & { readonly named: Reference | undefined }> {
    const all = await findAll();
    const isFullId = /^(?:sha256:)?[0-9a-f]{64}$/.test(ref);
    if (!isFullId && !ref.startsWith('sha256:')) {
      const named = withDefaultTag(parseReference(ref));
      // A name with tag and digest is found by its digest.
      const wanted = formatReference(
        named.digest === undefined ? named : { domain: named.domain, path: named.path, digest: named.digest },
      );
      const byName = all.find(({ names }) => names.some(({ recordName }) => recordName === wanted));
      if (byName !== undefined) return { ...byName, named: parseReference(wanted) };
    }
    const prefix = idPattern.exec(ref)?.[1];
    const byId =
      prefix === undefined ? [] : all.filter(({ image }) => image.id.startsWith(`sha256:${prefix}`));
    const [only] = byId;
    if (only === undefined || byId.length > 1)
      throw notFound(
        isFullId || ref.startsWith('sha256:') ? ref : familiarReference(withDefaultTag(parseReference(ref))),
      );
    return { ...only, named: undefined };
  }

  async function getById(id: string): Promise<Image> {
    const found = (await findAll()).find(({ image }) => image.id === id);
    if (found === undefined) throw notFound(id);
    return found.image;
  }

  /** Gives a stored image its names; without any it is kept as dangling. Runs under the lease that holds the image. */
  async function register(stored: StoredImage, names: readonly Reference[]): Promise<void> {
    const record = await recordOf(client, stored);
    seam.step('image record');
    await naming.run('names', async () => {
      for (const name of names) await putName(client, name, record);
      if (names.length > 0) return;
      const hasName = (await listNames(client)).some(({ imageId }) => imageId === stored.id);
      if (!hasName) await putDangling(client, record);
    });
  }

  async function load(
    tar: Readable,
    onProgress: (progress: ImageProgress) => void,
    given?: string,
  ): Promise<readonly string[]> {
    const platform = given === undefined ? undefined : parsePlatform(given);
    return await withLease(client, undefined, async (lease) => {
      const loaded = await loadArchive(deps, lease, tar, { platform, onProgress });
      for (const { stored, names } of loaded) await register(stored, names);
      return loaded.flatMap(({ stored, names }) =>
        names.length === 0 ? [stored.id] : names.map(familiarReference),
      );
    });
  }

  const save: ImageStore['save'] = async function* (refs, { platform, signal }) {
    const taken = await takeLease(client, signal).catch((error: unknown) =>
      Promise.reject(toLinkspanError(error)),
    );
    try {
      const wanted = await findWanted(refs, await findAll(), find, platform);
      const images = wanted.flatMap(({ found, tags }) => {
        const target = found.names[0]?.record.target;
        return target === undefined ? [] : [{ manifest: toBlob(target), names: [...tags.values()] }];
      });
      yield* saveImages(client, taken.lease, images, signal);
    } catch (error) {
      throw toLinkspanError(error);
    } finally {
      // A lease that stays is deleted at the next start.
      await taken.end(false).catch(() => undefined);
    }
  };

  async function importTar(tar: Readable, wanted: Parameters<ImageStore['import']>[1]): Promise<Image> {
    const name = wanted.ref === undefined ? undefined : withDefaultTag(parseReference(wanted.ref));
    if (name?.digest !== undefined)
      throw new LinkspanError('requestInvalid', 'cannot import digest reference');
    return await withLease(client, undefined, async (lease) => {
      const stored = await importRootfs(deps, lease, tar, wanted);
      await register(stored, name === undefined ? [] : [name]);
      return await getById(stored.id);
    });
  }

  const commit: ImageStore['commit'] = async (containerId, imageId, options) => {
    const name = options.ref === undefined ? undefined : withDefaultTag(parseReference(options.ref));
    if (name?.digest !== undefined)
      throw new LinkspanError('requestInvalid', 'refusing to create a tag with a digest reference');
    return await withLease(client, undefined, async (lease) => {
      const { image, names } = await find(imageId);
      const target = names[0]?.record.target.digest;
      if (target === undefined) throw notFound(imageId);
      const stored = await commitContainer(deps, lease, { containerId, image, target, options });
      await register(stored, name === undefined ? [] : [name]);
      return await getById(stored.id);
    });
  };

  interface Pulled {
    readonly image: Image;
    /** It was known by this name before. */
    readonly isCurrent: boolean;
  }

  async function pullOne(
    given: Reference,
    { platform, credentials = {}, signal }: PullWish & { readonly signal: AbortSignal },
    onProgress: (progress: ImageProgress) => void,
  ): Promise<Pulled> {
    const { domain, path, tag: tagGiven, digest: digestGiven } = given;
    // A digest says all; a tag beside it names nothing.
    const reference = digestGiven === undefined ? given : { domain, path, digest: digestGiven };
    const before = await listNames(client);
    return await withLease(client, signal, async (lease) => {
      const { stored, digest } = await pullFromAny(
        deps,
        lease,
        reference,
        {
          credentials,
          signal,
          insecureRegistries,
          mirrors: registries.mirrors,
          logger,
          isKnown: (id) => before.some(({ imageId }) => imageId === id),
          ...(platform === undefined ? {} : { platform }),
        },
        onProgress,
      );
      const named = digestGiven === undefined && tagGiven !== undefined ? [reference] : [];
      await register(stored, [...named, { domain, path, digest }]);
      onProgress({ status: `Digest: ${digest}` });
      const isCurrent = before.some(
        ({ recordName, imageId }) => recordName === formatReference(reference) && imageId === stored.id,
      );
      return { image: await getById(stored.id), isCurrent };
    });
  }

  const pull: ImageStore['pull'] = async (ref, wanted, onProgress) => {
    const { signal = new AbortController().signal, credentials = {}, isAllTags = false } = wanted;
    const given = parseReference(ref);
    const pullAll = async (): Promise<Image> => {
      const tags = isAllTags
        ? await listTagsOfAny({
            ...{ reference: given, credentials, insecureRegistries, signal },
            ...{ mirrors: registries.mirrors, logger },
          })
        : [];
      const references = isAllTags ? tags.map((tag) => ({ ...given, tag })) : [withDefaultTag(given)];
      const pulled: Pulled[] = [];
      for (const reference of references)
        pulled.push(await pullOne(reference, { ...wanted, signal }, onProgress));
      const last = pulled.at(-1);
      if (last === undefined) throw notFound(familiarName(given));
      const what = pulled.every(({ isCurrent }) => isCurrent)
        ? 'Image is up to date'
        : 'Downloaded newer image';
      const { domain, path, digest } = given;
      const named = digest === undefined ? withDefaultTag(given) : { domain, path, digest };
      onProgress({
        status: `Status: ${what} for ${isAllTags ? familiarName(given) : familiarReference(named)}`,
      });
      return last.image;
    };
    return await pullAll().catch((error: unknown) => Promise.reject(signal.aborted ? canceled() : error));
  };

  /** A name for what was pushed; where layers were compressed for that, all names of the image mean the new manifest. */
  async function keepPushed(
    name: ImageName,
    digest: Reference,
    changed: StoredImage | undefined,
  ): Promise<void> {
    const record = changed === undefined ? name.record : await recordOf(client, changed);
    await naming.run('names', async () => {
      const { target } = name.record;
      const same = (await listNames(client)).filter((other) => other.imageId === name.imageId);
      // Removed meanwhile: the registry has it, and nothing here needs a name for it.
      if (same.length === 0) return;
      if (changed !== undefined)
        for (const { reference, record: other } of same)
          if (
            reference !== undefined &&
            reference.digest === undefined &&
            other.target.digest === target.digest
          )
            await putName(client, reference, record);
      await putName(client, digest, record);
    });
  }

  const push: ImageStore['push'] = async (ref, wanted, onProgress) => {
    if (wanted.platform !== undefined) {
      checkPlatform((await find(ref)).image, familiarReference(parseReference(ref)), wanted.platform);
    }
    return await pushNames({ deps, insecureRegistries, keep: keepPushed }, ref, wanted, onProgress).catch(
      (error: unknown) => Promise.reject(wanted.signal?.aborted === true ? canceled() : error),
    );
  };

  async function tag(ref: string, target: string): Promise<void> {
    const reference = withDefaultTag(parseReference(target));
    if (reference.digest !== undefined)
      throw new LinkspanError('requestInvalid', 'refusing to create a tag with a digest reference');
    await naming.run('names', async () => {
      const [name] = (await find(ref)).names;
      if (name === undefined) throw notFound(ref);
      seam.step('image tag');
      await putName(client, reference, name.record);
    });
  }

  /** Layers of `image` that no other image stands on, from the top down. */
  function ownLayers(image: Image, all: readonly FoundImage[]): readonly string[] {
    const kept = new Set(
      all.flatMap((other) => (other.image.id === image.id ? [] : chainIds(other.image.diffIds))),
    );
    return chainIds(image.diffIds)
      .filter((chainId) => !kept.has(chainId))
      .reverse();
  }

  const remove: ImageStore['remove'] = (ref, { isForced, usersOf }) =>
    naming.run('names', async () => {
      const { image, names, named } = await find(ref);
      const references = names.flatMap(({ reference }) => reference ?? []);
      const users = usersOf(image.id);
      const plan = planRemoval({ imageId: image.id, named, references, users, isForced });
      const gone = new Set(plan.untag.map(formatReference));
      const layers = plan.isDeleted ? ownLayers(image, await findAll()) : [];
      const [first] = names;
      seam.step('image remove');
      if (!plan.isDeleted && gone.size === names.length && first !== undefined)
        await putDangling(client, first.record);
      const records = names
        .map(({ recordName }) => recordName)
        .filter((recordName) => plan.isDeleted || gone.has(recordName));
      for (const recordName of records) await removeRecord(client, recordName, recordName === records.at(-1));
      return [
        ...plan.untag.map((reference) => ({ untagged: familiarReference(reference) })),
        ...(plan.isDeleted ? [image.id, ...layers].map((deleted) => ({ deleted })) : []),
      ];
    });

  /** Failures of containerd leave as LinkspanError. */
  const guard =
    <A extends readonly unknown[], R>(work: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      try {
        return await work(...args);
      } catch (error) {
        throw toLinkspanError(error);
      }
    };

  return {
    registries,
    list: guard(async () => (await findAll()).map(({ image }) => image)),
    usage: guard(
      async () =>
        await measureImages(
          client,
          (await findAll()).map(({ image }) => image),
        ),
    ),
    layerSizes: guard((image: Image) => measureLayers(client, image.diffIds)),
    chainId: (image) => chainIds(image.diffIds).at(-1) ?? '',
    get: guard(async (ref, platform) => {
      const { image } = await find(ref);
      checkPlatform(image, ref, platform);
      return image;
    }),
    pull: guard(pull),
    load: guard(load),
    save,
    import: guard(importTar),
    exportContainer: (containerId, signal) => exportContainer(client, containerId, signal),
    commit: guard(commit),
    push: guard(push),
    logIn: guard((address, credentials, signal) =>
      logIn(address, { credentials, insecureRegistries, signal }),
    ),
    tag: guard(tag),
    remove: guard(remove),
  };
}
