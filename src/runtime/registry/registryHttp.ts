/*
 * Speaking HTTP with one repository of an OCI registry (distribution spec 1.1): finds out how the registry is spoken to,
 * answers its challenges, follows redirects without showing other hosts what it was trusted with, and gives up
 * connections on which nothing moves. What is asked is for registryClient.ts (reading) and registryPusher.ts (writing).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import type { RegistryCredentials } from '../images/images.ts';
import { documentMaxBytes, invalid } from '../images/manifest.ts';
import type { Reference } from '../images/reference.ts';
import { type Authorizer, createAuthorizer } from './authorizer.ts';
import { allowsPlainHttp, registryUrls } from './endpoint.ts';
import { explainAnswer, isCertificateFailure, refusal, unreachable } from './failures.ts';

const redirectsMax = 5;

/** How long to bear with a registry. */
export interface Patience {
  /** Tries of one download or upload in all; Docker's default is the same. */
  readonly attempts: number;
  /** Before the second try; doubles with each. */
  readonly pauseMs: number;
  /** A connection on which nothing moves for so long is given up. */
  readonly stallMs: number;
}

/** Times `stallMs`, for what a registry works on before it answers. */
const slowFactor = 15;

export const usualPatience: Patience = { attempts: 5, pauseMs: 500, stallMs: 60_000 };

export interface RegistryOptions {
  /** Its domain and path say where; texts name it. */
  readonly reference: Reference;
  readonly credentials: RegistryCredentials;
  readonly insecureRegistries: readonly string[];
  readonly signal: AbortSignal;
  /** Base URL to use instead of the domain's own: that of a mirror. */
  readonly baseUrl?: string;
  readonly patience?: Patience;
}

/** What is done there: texts and the scopes of tokens depend on it. */
export interface Access {
  readonly action: 'pull' | 'push' | 'login';
  /** Of the tokens to ask for: `repository:me/app:pull`. */
  readonly scopes: readonly string[];
  /** Hears of a token that may be kept instead of the password. */
  readonly onRefreshToken?: (token: string) => void;
}

/** One request; the body is asked for anew where it has to be sent again. */
export interface Exchange {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: () => AsyncIterable<Uint8Array> | Uint8Array<ArrayBuffer>;
  /** The registry works on it before it answers: it puts a blob of gigabytes together. */
  readonly isSlow?: boolean;
}

/** A response and the watch over its connection. */
export interface Watched extends Disposable {
  readonly response: Response;
  /** The body, in pieces; a connection that breaks or stalls throws registryUnreachable. */
  body(): AsyncGenerator<Uint8Array>;
}

function isPassing(status: number): boolean {
  return status === 429 || status >= 500;
}

/** Throws imageInvalid beyond `maxBytes`. */
export async function readSmall(
  parts: AsyncIterable<Uint8Array>,
  what: string,
  maxBytes: number,
): Promise<Buffer> {
  const kept: Uint8Array[] = [];
  let length = 0;
  for await (const part of parts) {
    length += part.length;
    if (length > maxBytes) throw invalid(`${what} is larger than ${maxBytes} bytes`);
    kept.push(part);
  }
  return Buffer.concat(kept);
}

/** The client went away. */
export function canceled(): LinkspanError {
  return new LinkspanError('requestInvalid', 'context canceled');
}

/** `Get`, as Go names a method in its errors. */
function goName(method: string): string {
  return method.charAt(0) + method.slice(1).toLowerCase();
}

/** A stream for fetch that moves the watch with each piece. */
function watchedBody(parts: AsyncIterable<Uint8Array>, moved: () => void): ReadableStream<Uint8Array> {
  async function* all(): AsyncGenerator<Uint8Array> {
    for await (const part of parts) {
      moved();
      yield part;
    }
  }
  return ReadableStream.from(all());
}

export class RegistryHttp {
  readonly options: RegistryOptions;
  readonly patience: Patience;
  readonly base: URL;
  readonly #access: Access;
  readonly #authorizer: Authorizer;

  constructor(options: RegistryOptions, access: Access, baseUrl: string) {
    this.options = options;
    this.patience = options.patience ?? usualPatience;
    this.base = new URL(baseUrl);
    this.#access = access;
    this.#authorizer = createAuthorizer({ ...options, access, baseUrl });
  }

  /** Sees whether a registry is there. Throws registryUnreachable if not, and what a wrong password gives. */
  async ping(): Promise<void> {
    const url = new URL('/v2/', this.base);
    using answer = await this.#send(url, {}, undefined);
    const { response } = answer;
    if (response.status === 401)
      await this.#authorizer.answer(response.headers.get('www-authenticate') ?? '');
    else if (!response.ok) throw await this.refusal(answer, url, {});
  }

  /** Below the repository: `manifests/latest`. */
  url(path: string): URL {
    return new URL(`/v2/${this.options.reference.path}/${path}`, this.base);
  }

  /** With authorization; one answer to one challenge. */
  async request(url: URL, exchange: Exchange = {}): Promise<Watched> {
    const sent = url.origin === this.base.origin ? this.#authorizer.header() : undefined;
    const answer = await this.#send(url, exchange, sent);
    const { response } = answer;
    if (response.status !== 401 || new URL(response.url).origin !== this.base.origin) return answer;
    const challenge = response.headers.get('www-authenticate') ?? '';
    // Another request may have got a new token since this one was sent.
    const isOutdated = this.#authorizer.header() !== sent;
    try {
      if (!isOutdated && !(await this.#authorizer.answer(challenge))) return answer;
    } catch (error) {
      answer[Symbol.dispose]();
      throw error;
    }
    answer[Symbol.dispose]();
    return await this.#send(url, exchange, this.#authorizer.header());
  }

  /** Where `location` leads; throws registryRefused for what would leave HTTPS or is no HTTP at all. */
  follow(location: string | null, from: URL): URL {
    const target = URL.parse(location ?? '', from);
    const isPlain =
      target?.protocol === 'http:' &&
      from.protocol === 'http:' &&
      (target.origin === this.base.origin || allowsPlainHttp(target.host, this.options.insecureRegistries));
    if (location === null || target === null || (target.protocol !== 'https:' && !isPlain))
      throw new LinkspanError(
        'registryRefused',
        `Get "${from.origin}${from.pathname}": the registry redirects to where no image may come from`,
        { details: { location } },
      );
    return target;
  }

  /** One request with its redirects; the authorization goes to the registry's own origin only. */
  async #send(url: URL, exchange: Exchange, authorization: string | undefined): Promise<Watched> {
    let target = url;
    let trusted = authorization;
    for (let hops = 0; hops <= redirectsMax; hops++) {
      const answer = await this.#fetch(url, target, exchange, trusted);
      if (![301, 302, 303, 307, 308].includes(answer.response.status)) return answer;
      const location = answer.response.headers.get('location');
      answer[Symbol.dispose]();
      target = this.follow(location, target);
      if (target.origin !== this.base.origin) trusted = undefined;
    }
    throw new LinkspanError('registryRefused', `Get "${url.href}": stopped after ${redirectsMax} redirects`);
  }

  /** `shown` is what texts name: where a redirect leads may hold a secret. */
  async #fetch(
    shown: URL,
    target: URL,
    { method = 'GET', headers = {}, body: bodyOf, isSlow = false }: Exchange,
    authorization: string | undefined,
  ): Promise<Watched> {
    const { signal } = this.options;
    const stalled = new AbortController();
    const limitMs = this.patience.stallMs * (isSlow ? slowFactor : 1);
    const timer = setTimeout(() => stalled.abort(new Error(`nothing came for ${limitMs} ms`)), limitMs);
    const fail = (error: unknown): Error => {
      clearTimeout(timer);
      if (signal.aborted) return canceled();
      // What went wrong where the body comes from is not the registry's fault.
      const cause = (error as { cause?: unknown }).cause;
      for (const each of [error, cause]) if (each instanceof LinkspanError) return each;
      const reason: unknown = stalled.signal.aborted ? stalled.signal.reason : error;
      return unreachable(shown.origin + shown.pathname, reason, goName(method));
    };
    const sent = bodyOf?.();
    let response: Response;
    try {
      response = await fetch(target, {
        method,
        redirect: 'manual',
        headers: {
          'accept-encoding': 'identity',
          'user-agent': 'linkspan',
          ...headers,
          ...(authorization === undefined ? {} : { authorization }),
        },
        signal: AbortSignal.any([signal, stalled.signal]),
        ...(sent instanceof Uint8Array && { body: sent }),
        ...(sent !== undefined &&
          !(sent instanceof Uint8Array) && {
            body: watchedBody(sent, () => timer.refresh()),
            duplex: 'half' as const,
          }),
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
  async refusal(answer: Watched, url: URL, { method = 'GET' }: Exchange): Promise<LinkspanError> {
    const { status, headers } = answer.response;
    const body = await readSmall(answer.body(), 'the answer', documentMaxBytes).catch(() => Buffer.alloc(0));
    const problem = explainAnswer(status, headers.get('www-authenticate') ?? '', body.toString('utf8'));
    const shown = url.origin + url.pathname;
    if (!isPassing(status))
      return refusal(this.options.reference, problem, shown, this.#access.action, goName(method));
    const text =
      problem.code === '' ? `status ${status}` : `${problem.code.toLowerCase()}: ${problem.message}`;
    return unreachable(shown, new Error(`received unexpected answer: ${text}`), goName(method));
  }

  /** Tries again what registryUnreachable ended. */
  async persist<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (attempt >= this.patience.attempts || !hasCode(error, 'registryUnreachable')) throw error;
      }
      await this.pause(attempt);
    }
  }

  /** After the failure of try number `attempt`, from 1. */
  async pause(attempt: number): Promise<void> {
    const { signal } = this.options;
    await sleep(this.patience.pauseMs * 2 ** (attempt - 1), undefined, { signal }).catch(() => {
      throw canceled();
    });
  }
}

/**
 * Finds the registry of `reference`: by HTTPS, then by plain HTTP where that is allowed and HTTPS is not spoken there.
 * Throws registryUnreachable, registryRefused.
 */
export async function openHttp(options: RegistryOptions, access: Access): Promise<RegistryHttp> {
  const urls =
    options.baseUrl === undefined
      ? registryUrls(options.reference.domain, options.insecureRegistries)
      : [options.baseUrl];
  for (const [index, url] of urls.entries()) {
    const registry = new RegistryHttp(options, access, url);
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
