/*
 * The face of the image store: what can be run, and how it comes in. Implemented over containerd's content, diff,
 * snapshots and images services. Image ids are digests of config blobs, as Docker shows them.
 */
import type { Readable } from 'node:stream';
import type { ConfigDraft } from './changes.ts';
import type { Healthcheck } from '../oci/healthcheck.ts';

/** What progress lines say while an image comes in. */
export interface ImageProgress {
  /** Short layer id, or undefined for lines about the whole. */
  readonly id?: string;
  /** The tag or digest that a line about the whole is about. */
  readonly tag?: string;
  readonly status: string;
  readonly currentBytes?: number;
  readonly totalBytes?: number;
  /** For programs, instead of a status: what a tag was pushed as. */
  readonly pushed?: { readonly tag: string; readonly digest: string; readonly sizeBytes: number };
}

/** OCI image config, the parts that are used; the rest is kept in `raw` for inspect. */
export interface ImageConfig {
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly exposedPorts: readonly string[];
  readonly volumes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly stopSignal?: string;
  readonly healthcheck?: Healthcheck;
  /** SHELL: what runs commands in shell form; absent = `/bin/sh -c`. */
  readonly shell?: readonly string[];
}

export interface Image {
  /** Digest of the config blob: `sha256:…`, Docker's image id. */
  readonly id: string;
  /** `busybox:latest`, familiar form; empty if untagged. */
  readonly tags: readonly string[];
  /** `name@sha256:…` for pulled ones. */
  readonly digests: readonly string[];
  readonly createdAt: string;
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
  readonly author: string;
  readonly comment: string;
  readonly sizeBytes: number;
  readonly diffIds: readonly string[];
  readonly config: ImageConfig;
  readonly history: readonly unknown[];
}

/** What a container becomes as an image, beside its files. */
export interface CommitOptions {
  /** `mine:1`; absent = the image has no name. */
  readonly ref?: string;
  readonly author: string;
  readonly comment: string;
  /** What the history names as the command that made the files. */
  readonly createdBy: string;
  readonly config: ConfigDraft;
}

export interface RegistryCredentials {
  readonly username?: string;
  readonly password?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}

export interface ImagesUsage {
  /** Of all layers, each once. */
  readonly layersBytes: number;
  /** Image id → bytes of its layers that another image has too. */
  readonly sharedBytes: ReadonlyMap<string, number>;
}

export interface RegistrySettings {
  /** `host`, `host:port` and networks (CIDR) that may be spoken to over plain HTTP; loopback addresses always may. */
  readonly insecure: readonly string[];
  /** Base URLs, as `https://mirror.example`, to pull from before Docker Hub, in this order. */
  readonly mirrors: readonly string[];
}

export interface ImageStore {
  readonly registries: RegistrySettings;
  list(): Promise<readonly Image[]>;
  usage(): Promise<ImagesUsage>;
  /** Layers from the bottom up; the last is the chain id that a container's snapshot stands on. */
  chainId(image: Image): string;
  /** Bytes of each layer as it lies unpacked, from the bottom up. */
  layerSizes(image: Image): Promise<readonly number[]>;
  /**
   * By `name[:tag]`, `name@digest`, id or id prefix. Code imageNotFound, text `No such image: x:latest`, or that it is not
   * for `platform`.
   */
  get(ref: string, platform?: string): Promise<Image>;
  /** Progress ends when the promise of the last step settles; throws what failed. Of all tags the last one counts. */
  pull(
    ref: string,
    options: {
      readonly platform?: string;
      /** Every tag of the repository; `ref` has none then. */
      readonly isAllTags?: boolean;
      readonly credentials?: RegistryCredentials;
      readonly signal?: AbortSignal;
    },
    onProgress: (progress: ImageProgress) => void,
  ): Promise<Image>;
  /**
   * A docker-save or OCI-layout tar; resolves with what was loaded, tags in familiar form or the id. With `platform` only
   * what is for it; throws imageNotFound where that is nothing.
   */
  load(
    tar: Readable,
    onProgress: (progress: ImageProgress) => void,
    platform?: string,
  ): Promise<readonly string[]>;
  /**
   * The images as one archive that `load` takes, ours and Docker's. A name without tag means all its tags. Throws
   * imageNotFound before the first byte, also for what is not of `platform`.
   */
  save(
    names: readonly string[],
    options: { readonly platform?: string; readonly signal: AbortSignal },
  ): AsyncIterable<Uint8Array>;
  /** A root file system tar; `changes` are Dockerfile instructions (CMD, ENV, ENTRYPOINT, …). */
  import(
    tar: Readable,
    options: {
      readonly ref?: string;
      readonly message: string;
      readonly changes: readonly string[];
      readonly platform?: string;
    },
  ): Promise<Image>;
  /**
   * The files of a container, those of its image included and those of its volumes not, as a tar. They are copied
   * first, and what is yielded is from the copy, which goes when the iteration ends: a slow reader holds nothing up.
   */
  exportContainer(containerId: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** A container's image with one more layer: what the container changed. Code imageNotFound where its image is gone. */
  commit(containerId: string, imageId: string, options: CommitOptions): Promise<Image>;
  /**
   * Sends the tag that `ref` names, or all tags of a repository where it names none. Throws imageNotFound,
   * registryRefused, registryUnreachable.
   */
  push(
    ref: string,
    options: {
      readonly platform?: string;
      readonly credentials?: RegistryCredentials;
      readonly signal?: AbortSignal;
    },
    onProgress: (progress: ImageProgress) => void,
  ): Promise<void>;
  /**
   * Asks the registry at `address` (`host:port`, or a URL; '' = Docker Hub) about the credentials. Resolves with a token
   * to show from then on, or ''. Throws registryLoginFailed, registryUnreachable.
   */
  logIn(address: string, credentials: RegistryCredentials, signal: AbortSignal): Promise<string>;
  tag(ref: string, target: string): Promise<void>;
  /** As `docker rmi`: untag, and delete when that was the last tag. `usersOf` names containers (running or not) of an image. */
  remove(
    ref: string,
    options: {
      readonly isForced: boolean;
      readonly usersOf: (imageId: string) => readonly { readonly id: string; readonly isRunning: boolean }[];
    },
  ): Promise<readonly ({ readonly untagged: string } | { readonly deleted: string })[]>;
}
