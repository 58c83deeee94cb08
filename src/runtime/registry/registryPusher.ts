/*
 * A client for one repository of an OCI registry (distribution spec 1.1, "Push"), for writing: blobs and manifests. A blob
 * is streamed in one piece, as Docker does; after a connection that broke the registry is asked how much it has, and
 * the rest follows, or all again where it cannot say. How it is spoken to: registryHttp.ts.
 */
import { hasCode } from '../../errors/linkspanError.ts';
import { invalid } from '../images/manifest.ts';
import { type Exchange, openHttp, type RegistryHttp, type RegistryOptions } from './registryHttp.ts';

export interface UploadSource {
  readonly digest: string;
  readonly sizeBytes: number;
  /** The blob's bytes from `offset` on; asked for again after a failure. */
  readonly read: (offset: number) => AsyncIterable<Uint8Array>;
  /** How much is on its way so far; goes back where an upload begins again. */
  readonly onSent: (bytes: number) => void;
}

export interface RegistryPusher {
  hasBlob(digest: string): Promise<boolean>;
  /** True if the registry has the blob now, taken from the repository at path `from` of the same registry. */
  mountBlob(digest: string, from: string): Promise<boolean>;
  /** Throws registryRefused, registryUnreachable. */
  uploadBlob(source: UploadSource): Promise<void>;
  /** Points `tag` at the manifest, which is stored. */
  putManifest(
    tag: string,
    manifest: { readonly bytes: Uint8Array; readonly mediaType: string; readonly digest: string },
  ): Promise<void>;
}

/** Where an upload goes on, and how much of it is there. */
interface Place {
  readonly url: URL;
  readonly offset: number;
}

class HttpPusher implements RegistryPusher {
  readonly #registry: RegistryHttp;

  constructor(registry: RegistryHttp) {
    this.#registry = registry;
  }

  /** The answer's head, where its status is one of `expected`; throws what others mean. */
  async #ask(url: URL, exchange: Exchange, ...expected: readonly number[]): Promise<Response> {
    using answer = await this.#registry.request(url, exchange);
    if (expected.includes(answer.response.status)) return answer.response;
    throw await this.#registry.refusal(answer, url, exchange);
  }

  hasBlob(digest: string): Promise<boolean> {
    const url = this.#registry.url(`blobs/${digest}`);
    return this.#registry.persist(
      async () => (await this.#ask(url, { method: 'HEAD' }, 200, 404)).status === 200,
    );
  }

  #start(search = ''): Promise<{ readonly isThere: boolean; readonly place: Place }> {
    const url = this.#registry.url(`blobs/uploads/${search}`);
    const exchange: Exchange = { method: 'POST', body: () => new Uint8Array() };
    return this.#registry.persist(async () => {
      const { status, headers } = await this.#ask(url, exchange, 201, 202);
      const location = this.#registry.follow(headers.get('location'), url);
      return { isThere: status === 201, place: { url: location, offset: 0 } };
    });
  }

  async mountBlob(digest: string, from: string): Promise<boolean> {
    const query = new URLSearchParams({ mount: digest, from });
    const { isThere, place } = await this.#start(`?${query.toString()}`);
    // The registry would rather be sent it, and waits for that.
    if (!isThere) await this.#cancel(place.url);
    return isThere;
  }

  async #cancel(url: URL): Promise<void> {
    await this.#ask(url, { method: 'DELETE' }, 204).catch(() => undefined);
  }

  async uploadBlob(source: UploadSource): Promise<void> {
    const { patience } = this.#registry;
    let { place } = await this.#start();
    for (let attempt = 1; ; attempt++) {
      let isLost = false;
      try {
        return await this.#send(source, place);
      } catch (error) {
        // What was taken up may be refused where the registry lost count; a new upload is not.
        isLost = place.offset > 0 && hasCode(error, 'registryRefused');
        const mayPass = isLost || hasCode(error, 'registryUnreachable');
        if (attempt >= patience.attempts || !mayPass) {
          if (!this.#registry.options.signal.aborted) await this.#cancel(place.url);
          throw error;
        }
      }
      await this.#registry.pause(attempt);
      // The end of it may have come through, and only the answer not.
      if (await this.hasBlob(source.digest)) return;
      place = (isLost ? undefined : await this.#find(place, source)) ?? (await this.#start()).place;
    }
  }

  async #send(source: UploadSource, { url, offset }: Place): Promise<void> {
    const { digest, sizeBytes, read, onSent } = source;
    async function* counted(): AsyncGenerator<Uint8Array> {
      let sent = offset;
      for await (const part of read(offset)) {
        yield part;
        sent += part.length;
        onSent(sent);
      }
    }
    const range = offset === 0 ? {} : { 'content-range': `${offset}-${sizeBytes - 1}` };
    const headers = { 'content-type': 'application/octet-stream', ...range };
    const patch: Exchange = { method: 'PATCH', headers, body: counted };
    const { headers: answered } =
      offset === sizeBytes && offset > 0
        ? { headers: new Headers({ location: url.href }) }
        : await this.#ask(url, patch, 202, 201, 204);
    const end = this.#registry.follow(answered.get('location'), url);
    end.searchParams.set('digest', digest);
    await this.#ask(end, { method: 'PUT', body: () => new Uint8Array(), isSlow: true }, 201, 204);
  }

  /** What the registry has of a broken upload; undefined where it does not say, or has given it up. */
  async #find({ url }: Place, { sizeBytes }: UploadSource): Promise<Place | undefined> {
    try {
      const { headers } = await this.#ask(url, {}, 204);
      const last = Number(/^(?:bytes=)?0-(\d+)$/.exec(headers.get('range') ?? '')?.[1] ?? Number.NaN);
      // `0-0` is what registries say of nothing, too.
      const offset = last === 0 ? 0 : last + 1;
      if (!(offset <= sizeBytes)) return undefined;
      const location = headers.get('location');
      return { url: location === null ? url : this.#registry.follow(location, url), offset };
    } catch {
      return undefined;
    }
  }

  async putManifest(
    tag: string,
    { bytes, mediaType, digest }: Parameters<RegistryPusher['putManifest']>[1],
  ): Promise<void> {
    const url = this.#registry.url(`manifests/${tag}`);
    const body = new Uint8Array(bytes);
    const exchange: Exchange = { method: 'PUT', headers: { 'content-type': mediaType }, body: () => body };
    const { headers } = await this.#registry.persist(() => this.#ask(url, exchange, 200, 201, 202));
    const stored = headers.get('docker-content-digest');
    if (stored !== null && stored !== digest)
      throw invalid(`the registry has stored ${tag} as ${stored}, and it is ${digest}`);
  }
}

/** `mountsFrom`: paths of the same registry that blobs may be taken from. Throws registryUnreachable, registryRefused. */
export async function openPusher(
  options: RegistryOptions,
  mountsFrom: readonly string[],
): Promise<RegistryPusher> {
  const scopes = [
    `repository:${options.reference.path}:pull,push`,
    ...mountsFrom.map((path) => `repository:${path}:pull`),
  ];
  return new HttpPusher(await openHttp(options, { action: 'push', scopes }));
}
