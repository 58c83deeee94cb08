/*
 * A client for one repository of an OCI registry (distribution spec 1.1), for reading: manifests and blobs. It takes up
 * broken downloads where they ended. Digests are for the caller to check. How it is spoken to: registryHttp.ts.
 */
import { hasCode } from '../../errors/linkspanError.ts';
import { documentMaxBytes, invalid, mediaTypes } from '../images/manifest.ts';
import { isTag } from '../images/reference.ts';
import { unreachable } from './failures.ts';
import { openHttp, readSmall, type RegistryHttp, type RegistryOptions } from './registryHttp.ts';

export interface RegistryClient {
  /** By tag or digest. Throws imageNotFound, registryRefused, registryUnreachable. */
  manifest(tagOrDigest: string): Promise<{ readonly bytes: Buffer; readonly mediaType: string }>;
  /** The bytes of a blob, `sizeBytes` of them or more if the registry lies; connections may change in between. */
  blob(digest: string, sizeBytes: number): AsyncGenerator<Uint8Array>;
}

const accept = [
  mediaTypes.ociIndex,
  mediaTypes.dockerIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerManifest,
].join(', ');

async function* blobFrom(registry: RegistryHttp, url: URL, offset: number): AsyncGenerator<Uint8Array> {
  const exchange = { headers: offset === 0 ? {} : { range: `bytes=${offset}-` } };
  using answer = await registry.request(url, exchange);
  const { status, headers } = answer.response;
  if (status !== 200 && status !== 206) throw await registry.refusal(answer, url, exchange);
  const start = status === 206 ? /^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1] : '0';
  // A server without ranges begins anew: what is there already is skipped.
  let skip = offset - Number(start ?? Number.NaN);
  if (!(skip >= 0)) throw unreachable(url.href, new Error('the answer is not the range that was asked for'));
  for await (const part of answer.body()) {
    const fresh = part.subarray(Math.min(skip, part.length));
    skip -= part.length - fresh.length;
    if (fresh.length > 0) yield fresh;
  }
}

/** Throws registryUnreachable, registryRefused. */
export async function openRegistry(options: RegistryOptions): Promise<RegistryClient> {
  const scopes = [`repository:${options.reference.path}:pull`];
  const registry = await openHttp(options, { action: 'pull', scopes });
  const { patience } = registry;

  async function* blob(digest: string, sizeBytes: number): AsyncGenerator<Uint8Array> {
    const url = registry.url(`blobs/${digest}`);
    let offset = 0;
    for (let attempt = 1; ; attempt++) {
      try {
        for await (const part of blobFrom(registry, url, offset)) {
          offset += part.length;
          yield part;
        }
        if (offset >= sizeBytes) return;
        throw unreachable(url.href, new Error(`unexpected EOF after ${offset} of ${sizeBytes} bytes`));
      } catch (error) {
        if (attempt >= patience.attempts || !hasCode(error, 'registryUnreachable')) throw error;
      }
      await registry.pause(attempt);
    }
  }

  return {
    blob,
    manifest: (tagOrDigest) =>
      registry.persist(async () => {
        const url = registry.url(`manifests/${tagOrDigest}`);
        const exchange = { headers: { accept } };
        using answer = await registry.request(url, exchange);
        if (!answer.response.ok) throw await registry.refusal(answer, url, exchange);
        const bytes = await readSmall(answer.body(), 'the manifest', documentMaxBytes);
        const mediaType = answer.response.headers.get('content-type')?.split(';')[0]?.trim() ?? '';
        return { bytes, mediaType };
      }),
  };
}

interface TagPage {
  readonly found: readonly string[];
  readonly next: URL | undefined;
}

/** Pages of tags that are asked for at most: one has a hundred and more. */
const tagPagesMax = 1000;
const tagsMax = 100_000;

/**
 * Where `link`, the header of the page at `at`, leads; undefined from the last page. Always at the same origin: a registry
 * behind a proxy may name itself otherwise, and no other place is to be shown what this one was.
 */
function nextPage(link: string | null, at: URL): URL | undefined {
  const given = /<([^>]*)>; *rel="?next"?/.exec(link ?? '')?.[1];
  if (given === undefined) return undefined;
  const target = URL.parse(given, at);
  if (target === null) throw invalid('the list of tags goes on at what is no address');
  const next = new URL(at);
  next.pathname = target.pathname;
  next.search = target.search;
  return next;
}

/** All tags of the repository, in its order. Throws imageNotFound, registryRefused, registryUnreachable, imageInvalid. */
export async function listTags(options: RegistryOptions): Promise<readonly string[]> {
  const scopes = [`repository:${options.reference.path}:pull`];
  const registry = await openHttp(options, { action: 'pull', scopes });
  const tags = new Set<string>();
  let url: URL | undefined = registry.url('tags/list');
  for (let page = 0; url !== undefined; page++) {
    if (page === tagPagesMax) throw invalid(`the list of tags has more than ${tagPagesMax} pages`);
    const at: URL = url;
    const { found, next }: TagPage = await registry.persist(async () => {
      using answer = await registry.request(at, {});
      if (!answer.response.ok) throw await registry.refusal(answer, at, {});
      const bytes = await readSmall(answer.body(), 'the list of tags', documentMaxBytes);
      return { found: parseTags(bytes), next: nextPage(answer.response.headers.get('link'), at) };
    });
    const before = tags.size;
    for (const tag of found) tags.add(tag);
    if (tags.size > tagsMax) throw invalid(`the repository has more than ${tagsMax} tags`);
    if (next !== undefined && tags.size === before)
      throw invalid('a page of the list of tags has nothing new, and is not the last');
    url = next;
  }
  return [...tags];
}

function parseTags(bytes: Buffer): readonly string[] {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw invalid('the list of tags is no JSON');
  }
  const tags = typeof value === 'object' && value !== null && 'tags' in value ? (value.tags ?? []) : [];
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string' && isTag(tag)))
    throw invalid('the list of tags has what is no tag');
  return tags as readonly string[];
}
