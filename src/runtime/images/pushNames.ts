/*
 * What the name given to `push` means, and what is left behind: one tag or all of a repository, each pushed and then
 * known by its digest too. Order and texts are Docker's (moby, distribution/push.go).
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { openPusher } from '../registry/registryPusher.ts';
import type { RegistryOptions } from '../registry/registryHttp.ts';
import { readDocument, withLease } from './blobs.ts';
import type { ImageProgress, RegistryCredentials } from './images.ts';
import { parseManifest } from './manifest.ts';
import { type ImageName, listNames } from './names.ts';
import { pushImage } from './push.ts';
import { familiarName, familiarReference, formatName, parseReference, type Reference } from './reference.ts';
import { type StoredImage, toBlob, type UnpackDependencies } from './unpack.ts';

/** Repositories that layers may be mounted from: each makes the token's scope longer. */
const mountsMax = 5;

interface PushNames {
  readonly deps: UnpackDependencies;
  readonly insecureRegistries: RegistryOptions['insecureRegistries'];
  /** Gives the image `digest` beside its names; `changed` is what it is stored as from now on. */
  readonly keep: (name: ImageName, digest: Reference, changed: StoredImage | undefined) => Promise<void>;
}

/** The tags to push, all of one repository. Throws imageNotFound with Docker's texts. */
function chooseTags(given: Reference, names: readonly ImageName[]): readonly ImageName[] {
  const own = names.filter(({ reference }) => reference && formatName(reference) === formatName(given));
  if (own.length === 0)
    throw new LinkspanError(
      'imageNotFound',
      `An image does not exist locally with the tag: ${familiarName(given)}`,
    );
  const tags = own.filter(({ reference }) => reference?.tag !== undefined);
  if (given.tag === undefined) {
    if (tags.length > 0) return tags;
    throw new LinkspanError('imageNotFound', `no tags to push for ${familiarName(given)}`);
  }
  const named = tags.filter(({ reference }) => reference?.tag === given.tag);
  if (named.length > 0) return named;
  throw new LinkspanError('imageNotFound', `tag does not exist: ${familiarReference(given)}`);
}

/** Where in the same registry blobs are known to be: by digest, the path of a repository. */
async function findMounts(
  { client }: UnpackDependencies,
  given: Reference,
  names: readonly ImageName[],
): Promise<ReadonlyMap<string, string>> {
  const mounts = new Map<string, string>();
  const paths = new Set<string>();
  for (const { reference, record } of names) {
    // What has a digest was pulled from there, or pushed there.
    if (reference?.digest === undefined || reference.domain !== given.domain) continue;
    const { path } = reference;
    if (path === given.path || (paths.size >= mountsMax && !paths.has(path))) continue;
    const bytes = await readDocument(client, record.target.digest).catch(() => undefined);
    const layers = bytes === undefined ? undefined : parseManifest(bytes)?.layers;
    for (const { digest } of layers ?? []) {
      paths.add(path);
      mounts.set(digest, path);
    }
  }
  return mounts;
}

/** See ImageStore.push. */
export async function pushNames(
  { deps, insecureRegistries, keep }: PushNames,
  ref: string,
  options: { readonly credentials?: RegistryCredentials; readonly signal?: AbortSignal },
  onProgress: (progress: ImageProgress) => void,
): Promise<void> {
  const given = parseReference(ref);
  onProgress({ status: `The push refers to repository [${formatName(given)}]` });
  if (given.digest !== undefined) throw new LinkspanError('requestInvalid', 'cannot push a digest reference');
  const all = await listNames(deps.client);
  const tags = chooseTags(given, all);
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ...(options.signal === undefined ? [] : [options.signal])]);
  const mounts = await findMounts(deps, given, all);
  const pusher = await openPusher(
    { reference: given, credentials: options.credentials ?? {}, insecureRegistries, signal },
    [...new Set(mounts.values())],
  );
  for (const name of tags)
    await withLease(deps.client, signal, async (lease) => {
      const request = {
        tag: name.reference?.tag ?? '',
        target: toBlob(name.record.target),
        mountFrom: (digest: string) => mounts.get(digest),
        signal,
        stop: () => stop.abort(),
      };
      const { manifest, changed } = await pushImage(deps, lease, pusher, request, onProgress);
      const { domain, path } = given;
      await keep(name, { domain, path, digest: manifest.digest }, changed);
    });
}
