/*
 * A client for one repository of an OCI registry (distribution spec 1.1), for reading: manifests and blobs over fetch.
 * It finds out how the registry is spoken to, answers its challenges, follows redirects without showing other hosts
 * what it was trusted with, and takes up broken downloads where they ended. Digests are for the caller to check.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import type { RegistryCredentials } from '../images/images.ts';
import { documentMaxBytes, invalid, mediaTypes } from '../images/manifest.ts';
import type { Reference } from '../images/reference.ts';
import { type Authorizer, createAuthorizer } from './authorizer.ts';
import { allowsPlainHttp, registryUrls } from './endpoint.ts';
import { explainAnswer, isCertificateFailure, refusal, unreachable } from './failures.ts';

const redirectsMax = 5;

/** How long to bear with a registry. */
export interface Patience {
  /** Tries of one download in all; Docker's default is the same. */
  readonly attempts: number;
  /** Before the second try; doubles with each. */
  readonly pauseMs: number;
  /** A connection on which nothing comes for so long is given up. */
  readonly stallMs: number;
}

export const usualPatience: Patience = { attempts: 5, pauseMs: 500, stallMs: 60_000 };

export interface RegistryOptions {
  /** Its domain and path say where; texts name it. */
  readonly reference: Reference;
  readonly credentials: RegistryCredentials;
  readonly insecureRegistries: readonly string[];
  readonly signal: AbortSignal;
  readonly patience?: Patience;
}

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

/** A response and the watch over its connection. */
interface Watched extends Disposable {
  readonly response: Response;
  /** The body, in pieces; a connection that breaks or stalls throws registryUnreachable. */
  body(): AsyncGenerator<Uint8Array>;
}

function isPassing(status: number): boolean {
  return status === 429 || status >= 500;
}

async function readSmall(parts: AsyncIterable<Uint8Array>, what: string, maxBytes: number): Promise<Buffer> {
  const kept: Uint8Array[] = [];
  let length = 0;
  for await (const part of parts) {
    length += part.length;
    if (length > maxBytes) throw invalid(`${what} is larger than ${maxBytes} bytes`);
    kept.push(part);
  }
  return Buffer.concat(kept);
}

/** Where `location` leads; throws registryRefused for what would leave HTTPS or is no HTTP at all. */
function redirectTarget(location: string | null, from: URL, insecure: readonly string[]): URL {
  const target = URL.parse(location ?? '', from);
  const isPlain =
    target?.protocol === 'http:' && from.protocol === 'http:' && allowsPlainHttp(target.host, insecure);
  if (target === null || (target.protocol !== 'https:' && !isPlain))
    throw new LinkspanError(
      'registryRefused',
      `Get "${from.origin}${from.pathname}": the registry redirects to where no image may come from`,
      { details: { location } },
    );
  return target;
}

class HttpRegistry implements RegistryClient {
  readonly #options: RegistryOptions;
  readonly #patience: Patience;
  readonly #base: URL;
  readonly #authorizer: Authorizer;

  constructor(options: RegistryOptions, baseUrl: string) {
    this.#options = options;
    this.#patience = options.patience ?? usualPatience;
    this.#base = new URL(baseUrl);
    this.#authorizer = createAuthorizer({ ...options, baseUrl });
  }

  /** Sees whether a registry is there. Throws registryUnreachable if not, and what a wrong password gives. */
  async ping(): Promise<void> {
    const url = new URL('/v2/', this.#base);
    using answer = await this.#send(url, {}, undefined);
    const { response } = answer;
    if (response.status === 401)
      await this.#authorizer.answer(response.headers.get('www-authenticate') ?? '');
    else if (!response.ok) throw await this.#refusal(answer, url);
  }

  manifest(tagOrDigest: string): Promise<{ readonly bytes: Buffer; readonly mediaType: string }> {
    return this.#persist(async () => {
      const url = this.#url(`manifests/${tagOrDigest}`);
      using answer = await this.#get(url, { accept });
      if (!answer.response.ok) throw await this.#refusal(answer, url);
      const bytes = await readSmall(answer.body(), 'the manifest', documentMaxBytes);
      const mediaType = answer.response.headers.get('content-type')?.split(';')[0]?.trim() ?? '';
      return { bytes, mediaType };
    });
  }

  async *blob(digest: string, sizeBytes: number): AsyncGenerator<Uint8Array> {
    const url = this.#url(`blobs/${digest}`);
    let offset = 0;
    for (let attempt = 1; ; attempt++) {
      try {
        for await (const part of this.#blobFrom(url, offset)) {
          offset += part.length;
          yield part;
        }
        if (offset >= sizeBytes) return;
        throw unreachable(url.href, new Error(`unexpected EOF after ${offset} of ${sizeBytes} bytes`));
      } catch (error) {
        if (attempt >= this.#patience.attempts || !hasCode(error, 'registryUnreachable')) throw error;
      }
      await this.#pause(attempt);
    }
  }

  async *#blobFrom(url: URL, offset: number): AsyncGenerator<Uint8Array> {
    using answer = await this.#get(url, offset === 0 ? {} : { range: `bytes=${offset}-` });
    const { status, headers } = answer.response;
    if (status !== 200 && status !== 206) throw await this.#refusal(answer, url);
    const start = status === 206 ? /^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1] : '0';
    // A server without ranges begins anew: what is there already is skipped.
    let skip = offset - Number(start ?? Number.NaN);
    if (!(skip >= 0))
      throw unreachable(url.href, new Error('the answer is not the range that was asked for'));
    for await (const part of answer.body()) {
      const fresh = part.subarray(Math.min(skip, part.length));
      skip -= part.length - fresh.length;
      if (fresh.length > 0) yield fresh;
    }
  }

  #url(path: string): URL {
    return new URL(`/v2/${this.#options.reference.path}/${path}`, this.#base);
  }

  /** GET with authorization; one answer to one challenge. */
  async #get(url: URL, headers: Readonly<Record<string, string>>): Promise<Watched> {
    const sent = this.#authorizer.header();
    const answer = await this.#send(url, headers, sent);
    const { response } = answer;
    if (response.status !== 401 || new URL(response.url).origin !== this.#base.origin) return answer;
    const challenge = response.headers.get('www-authenticate') ?? '';
    // Another download may have got a new token since this one was sent.
    const isOutdated = this.#authorizer.header() !== sent;
    if (!isOutdated && !(await this.#authorizer.answer(challenge))) return answer;
    answer[Symbol.dispose]();
    return await this.#send(url, headers, this.#authorizer.header());
  }

  /** One request with its redirects; the authorization goes to the registry's own origin only. */
  async #send(
    url: URL,
    headers: Readonly<Record<string, string>>,
    authorization: string | undefined,
  ): Promise<Watched> {
    let target = url;
    let trusted = authorization;
    for (let hops = 0; hops <= redirectsMax; hops++) {
      const answer = await this.#fetch(url, target, {
        'accept-encoding': 'identity',
        'user-agent': 'linkspan',
        ...headers,
        ...(trusted === undefined ? {} : { authorization: trusted }),
      });
      if (![301, 302, 303, 307, 308].includes(answer.response.status)) return answer;
      const location = answer.response.headers.get('location');
      answer[Symbol.dispose]();
      target = redirectTarget(location, target, this.#options.insecureRegistries);
      if (target.origin !== this.#base.origin) trusted = undefined;
    }
    throw new LinkspanError('registryRefused', `Get "${url.href}": stopped after ${redirectsMax} redirects`);
  }

  /** `shown` is what texts name: where a redirect leads may hold a secret. */
  async #fetch(shown: URL, target: URL, headers: Readonly<Record<string, string>>): Promise<Watched> {
    const { signal } = this.#options;
    const stalled = new AbortController();
    const timer = setTimeout(
      () => stalled.abort(new Error(`nothing came for ${this.#patience.stallMs} ms`)),
      this.#patience.stallMs,
    );
    const fail = (error: unknown): Error => {
      clearTimeout(timer);
      if (signal.aborted) return canceled();
      return unreachable(shown.href, stalled.signal.aborted ? stalled.signal.reason : error);
    };
    let response: Response;
    try {
      response = await fetch(target, {
        redirect: 'manual',
        headers,
        signal: AbortSignal.any([signal, stalled.signal]),
      });
    } catch (error) {
      throw fail(error);
    }
    async function* body(): AsyncGenerator<Uint8Array> {
      try {
        for await (const part of response.body ?? []) {
          timer.refresh();
          yield part;
        }
      } catch (error) {
        throw fail(error);
      }
    }
    return {
      response,
      body,
      [Symbol.dispose]: () => {
        clearTimeout(timer);
        stalled.abort();
      },
    };
  }

  /** What an answer with an error status is thrown as; server faults are registryUnreachable, as they may pass. */
  async #refusal(answer: Watched, url: URL): Promise<LinkspanError> {
    const { status, headers } = answer.response;
    const body = await readSmall(answer.body(), 'the answer', documentMaxBytes).catch(() => Buffer.alloc(0));
    const problem = explainAnswer(status, headers.get('www-authenticate') ?? '', body.toString('utf8'));
    if (!isPassing(status)) return refusal(this.#options.reference, problem, url.href);
    const text =
      problem.code === '' ? `status ${status}` : `${problem.code.toLowerCase()}: ${problem.message}`;
    return unreachable(url.href, new Error(`received unexpected answer: ${text}`));
  }

  /** Tries again what registryUnreachable ended. */
  async #persist<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (attempt >= this.#patience.attempts || !hasCode(error, 'registryUnreachable')) throw error;
      }
      await this.#pause(attempt);
    }
  }

  async #pause(attempt: number): Promise<void> {
    const { signal } = this.#options;
    await sleep(this.#patience.pauseMs * 2 ** (attempt - 1), undefined, { signal }).catch(() => {
      throw canceled();
    });
  }
}

/** The client went away. */
export function canceled(): LinkspanError {
  return new LinkspanError('requestInvalid', 'context canceled');
}

/**
 * Finds the registry of `reference`: by HTTPS, then by plain HTTP where that is allowed and HTTPS is not spoken there.
 * Throws registryUnreachable, registryRefused.
 */
export async function openRegistry(options: RegistryOptions): Promise<RegistryClient> {
  const urls = registryUrls(options.reference.domain, options.insecureRegistries);
  for (const [index, url] of urls.entries()) {
    const registry = new HttpRegistry(options, url);
    try {
      await registry.ping();
      return registry;
    } catch (error) {
      const mayTryNext = hasCode(error, 'registryUnreachable') && !isCertificateFailure(error.cause);
      if (index === urls.length - 1 || !mayTryNext) throw error;
    }
  }
  throw new Error('a registry has no address');
}
