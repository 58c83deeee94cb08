/*
 * A client for one repository of an OCI registry (distribution spec 1.1), for reading: manifests and blobs. It takes up
 * broken downloads where they ended. Digests are for the caller to check. How it is spoken to: registryHttp.ts.
 */
import { hasCode } from '../../errors/linkspanError.ts';
import { documentMaxBytes, mediaTypes } from '../images/manifest.ts';
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
