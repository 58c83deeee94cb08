/*
 * The face of building images: a BuildKit does it (--builder), and what it makes comes into our store. Implemented by
 * openBuilder.ts.
 */
import type { OutgoingHttpHeaders } from 'node:http2';
import type { Duplex, Readable } from 'node:stream';
import type { RegistryCredentials } from '../runtime/images/images.ts';
import type { BuildRequest } from './buildRequest.ts';
import type { Exporter, UsageRecord } from './schema.ts';

export interface BuildOptions {
  /** A tar, which may be compressed. Destroyed at the end. Undefined where the request names a remote one. */
  readonly context: Readable | undefined;
  /** By registry, as clients keep them. */
  readonly credentials: Readonly<Record<string, RegistryCredentials>>;
  /** Cancels the build. */
  readonly signal: AbortSignal;
  /** Text for the user's terminal, with its line ends. The build's next text waits for it; the build does not. */
  readonly onText: (text: string) => Promise<void>;
}

/** A build whose client has a session of its own (`serveSession`), from which BuildKit gets what it needs. */
export interface SessionBuildOptions {
  readonly sessionId: string;
  /** Where the result goes instead of into our store; undefined = there. */
  readonly output: Exporter | undefined;
  readonly signal: AbortSignal;
  /** BuildKit's own progress: messages StatusResponse. The next one waits for it. */
  readonly onStatus: (message: Uint8Array) => Promise<void>;
}

export interface BuiltImage {
  /** `sha256:…` */
  readonly id: string;
  /** As the store shows them: `mine:1`. */
  readonly names: readonly string[];
}

export interface Builder {
  /**
   * Resolves once the image is in the store under its names. Throws codes requestInvalid and imageInvalid before
   * anything is asked; builderUnavailable, also for a connection that breaks; buildFailed with BuildKit's own text,
   * and `exitCode` and `command` in its details where a command of the Dockerfile failed.
   */
  build(request: BuildRequest, options: BuildOptions): Promise<BuiltImage>;
  /** The same for a client with a session; resolves with the image's id, or '' for another output. */
  buildInSession(request: BuildRequest, options: SessionBuildOptions): Promise<string>;
  /**
   * Passes a client's calls of BuildKit's API on. `begin` is called once BuildKit is reached: then the client may speak
   * HTTP/2 on `client`, until either side ends it. Throws builderUnavailable before that.
   */
  serveControl(client: Duplex, begin: () => void): Promise<void>;
  /** The same for a session, in which BuildKit calls the client. `metadata` are its x-docker-expose-session-* fields. */
  serveSession(client: Duplex, metadata: OutgoingHttpHeaders, begin: () => void): Promise<void>;
  /** What is in its cache. Throws builderUnavailable, also where the answer does not come. */
  cache(): Promise<readonly UsageRecord[]>;
  /** Resolves with what was removed. Throws builderUnavailable, buildFailed. */
  prune(options: {
    readonly isAll: boolean;
    readonly filters: readonly string[];
    /** What is kept at least. */
    readonly keptBytes: number;
    /** What is kept at most; 0 = no such limit. */
    readonly maxUsedBytes: number;
    /** Of the disk, what is to be free afterwards; 0 = no such limit. */
    readonly minFreeBytes: number;
    readonly keptSinceMs: number;
    /** Breaks off; what is removed stays removed. */
    readonly signal: AbortSignal;
  }): Promise<readonly UsageRecord[]>;
}
