/*
 * The JSON documents of images, parsed strictly since they come from outside: OCI image spec 1.1 manifest, index and
 * config, their Docker schema 2 twins, and docker-save's manifest.json. Pure; each parser throws imageInvalid with
 * a sentence that names the document and what is wrong with it.
 */
import { goArchitecture } from '../../base/architecture.ts';
import { createHash } from 'node:crypto';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Healthcheck } from '../oci/healthcheck.ts';
import type { Image, ImageConfig } from './images.ts';
import { isDigest } from './reference.ts';

/** Largest manifest, index or config that is read, in bytes; registries limit manifests to the same. */
export const documentMaxBytes: number = 4 << 20;
/** overlayfs takes no more lower directories in one page of mount options, nor does Docker. */
const layersMax = 125;

type MediaTypeName =
  | 'dockerManifest'
  | 'dockerIndex'
  | 'dockerConfig'
  | 'dockerLayer'
  | 'dockerLayerGzip'
  | 'ociManifest'
  | 'ociIndex'
  | 'ociConfig'
  | 'ociLayer'
  | 'ociLayerGzip'
  | 'ociLayerZstd';

export const mediaTypes: Readonly<Record<MediaTypeName, string>> = {
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
};

export interface BlobDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface IndexEntry extends BlobDescriptor {
  readonly platform: Platform | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

export interface Manifest {
  readonly config: BlobDescriptor;
  readonly layers: readonly BlobDescriptor[];
}

/** One image of docker-save's manifest.json: names of entries of the tar. */
export interface SavedImage {
  readonly config: string;
  readonly tags: readonly string[];
  readonly layers: readonly string[];
}

/** What a config blob says; `Image` without its names and size. */
export type ImageDetails = Omit<Image, 'id' | 'tags' | 'digests' | 'sizeBytes'>;

type Json = Readonly<Record<string, unknown>>;

/** An imageInvalid error. */
export function invalid(text: string, cause?: unknown): LinkspanError {
  return new LinkspanError('imageInvalid', text, cause === undefined ? {} : { cause });
}

export function sha256Of(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function parseJson(bytes: Uint8Array, what: string): unknown {
  if (bytes.length > documentMaxBytes)
    throw invalid(`${what} is larger than ${documentMaxBytes} bytes, which no image needs`);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid(`${what} is not valid JSON`, error);
  }
}

function asObject(value: unknown, what: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${what} is not an object`);
  return value as Json;
}

function asList(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(`${what} is not a list`);
  return value;
}

/** Text, or '' where the field is absent or null. */
function text(value: unknown, what: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw invalid(`${what} is not text`);
  return value;
}

function texts(value: unknown, what: string): readonly string[] {
  if (value === undefined || value === null) return [];
  return asList(value, what).map((item) => text(item, what));
}

function textMap(value: unknown, what: string): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  return Object.fromEntries(
    Object.entries(asObject(value, what)).map(([key, item]) => [key, text(item, what)]),
  );
}

function keys(value: unknown, what: string): readonly string[] {
  return value === undefined || value === null ? [] : Object.keys(asObject(value, what));
}

function parseDescriptor(value: unknown, what: string): BlobDescriptor {
  const object = asObject(value, what);
  const digest = text(object['digest'], `the digest of ${what}`);
  if (!isDigest(digest))
    throw invalid(`the digest of ${what} is not sha256: ${JSON.stringify(digest).slice(0, 100)}`);
  const sizeBytes = object['size'];
  if (typeof sizeBytes !== 'number' || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
    throw invalid(`the size of ${what} is not a number of bytes`);
  return { mediaType: text(object['mediaType'], `the media type of ${what}`), digest, sizeBytes };
}

function parsePlatformOf(value: unknown): Platform | undefined {
  if (value === undefined || value === null) return undefined;
  const object = asObject(value, 'the platform of a manifest');
  const variant = text(object['variant'], 'a platform variant');
  return {
    os: text(object['os'], 'a platform os'),
    architecture: text(object['architecture'], 'a platform architecture'),
    ...(variant === '' ? {} : { variant }),
  };
}

/** A manifest, or undefined if the document is an index. */
export function parseManifest(bytes: Uint8Array): Manifest | undefined {
  const object = asObject(parseJson(bytes, 'the manifest'), 'the manifest');
  if (object['manifests'] !== undefined) return undefined;
  if (object['schemaVersion'] !== 2)
    throw invalid('the manifest is not of schema version 2; older ones are not supported');
  const layers = asList(object['layers'], 'the list of layers of the manifest').map((layer, i) =>
    parseDescriptor(layer, `layer ${i + 1}`),
  );
  if (layers.length > layersMax) throw invalid(`the image has more than ${layersMax} layers`);
  return { config: parseDescriptor(object['config'], 'the config'), layers };
}

/** The entries of an index or manifest list. */
export function parseIndex(bytes: Uint8Array): readonly IndexEntry[] {
  const object = asObject(parseJson(bytes, 'the index'), 'the index');
  return asList(object['manifests'], 'the list of manifests of the index').map((entry) => ({
    ...parseDescriptor(entry, 'a manifest of the index'),
    platform: parsePlatformOf(asObject(entry, 'a manifest of the index')['platform']),
    annotations: textMap(asObject(entry, 'a manifest of the index')['annotations'], 'an annotation'),
  }));
}

/** docker-save's manifest.json. */
export function parseSaved(bytes: Uint8Array): readonly SavedImage[] {
  return asList(parseJson(bytes, 'manifest.json'), 'manifest.json').map((entry) => {
    const object = asObject(entry, 'an image of manifest.json');
    const layers = texts(object['Layers'], 'Layers of manifest.json');
    if (layers.length > layersMax) throw invalid(`the image has more than ${layersMax} layers`);
    const config = text(object['Config'], 'Config of manifest.json');
    if (config === '') throw invalid('an image of manifest.json names no config');
    return { config, tags: texts(object['RepoTags'], 'RepoTags of manifest.json'), layers };
  });
}

/** Docker's extension of the OCI config (Docker image spec 1.3, `Healthcheck`). */
function parseHealthcheck(value: unknown): Healthcheck | undefined {
  if (value === undefined || value === null) return undefined;
  const object = asObject(value, 'Healthcheck');
  const whole = (name: string): number => {
    const number = object[name] ?? 0;
    if (typeof number !== 'number' || !Number.isInteger(number))
      throw invalid(`${name} of Healthcheck is not a whole number`);
    return number;
  };
  return {
    test: texts(object['Test'], 'Test of Healthcheck'),
    intervalNs: whole('Interval'),
    timeoutNs: whole('Timeout'),
    startPeriodNs: whole('StartPeriod'),
    startIntervalNs: whole('StartInterval'),
    retries: whole('Retries'),
  };
}

function parseProcess(value: unknown): ImageConfig {
  const object = value === undefined || value === null ? {} : asObject(value, 'config of the image config');
  const stopSignal = text(object['StopSignal'], 'StopSignal');
  const healthcheck = parseHealthcheck(object['Healthcheck']);
  const shell = texts(object['Shell'], 'Shell');
  return {
    env: texts(object['Env'], 'Env'),
    entrypoint: texts(object['Entrypoint'], 'Entrypoint'),
    command: texts(object['Cmd'], 'Cmd'),
    workingDir: text(object['WorkingDir'], 'WorkingDir'),
    user: text(object['User'], 'User'),
    exposedPorts: keys(object['ExposedPorts'], 'ExposedPorts'),
    volumes: keys(object['Volumes'], 'Volumes'),
    labels: textMap(object['Labels'], 'Labels'),
    ...(stopSignal === '' ? {} : { stopSignal }),
    ...(healthcheck === undefined ? {} : { healthcheck }),
    ...(shell.length === 0 ? {} : { shell }),
  };
}

/** The config blob of an image. */
export function parseConfig(bytes: Uint8Array): ImageDetails {
  const object = asObject(parseJson(bytes, 'the image config'), 'the image config');
  const rootfs = asObject(object['rootfs'], 'rootfs of the image config');
  const diffIds = texts(rootfs['diff_ids'], 'diff_ids of the image config');
  for (const diffId of diffIds)
    if (!isDigest(diffId)) throw invalid(`a diff id is not sha256: ${JSON.stringify(diffId).slice(0, 100)}`);
  const os = text(object['os'], 'os of the image config');
  if (os !== '' && os !== 'linux') throw invalid(`the image is for ${os}, and this engine runs linux`);
  const variant = text(object['variant'], 'variant of the image config');
  const history = object['history'];
  return {
    createdAt: text(object['created'], 'created of the image config') || '0001-01-01T00:00:00Z',
    architecture: text(object['architecture'], 'architecture of the image config'),
    os: 'linux',
    ...(variant === '' ? {} : { variant }),
    author: text(object['author'], 'author of the image config'),
    comment: text(object['comment'], 'comment of the image config'),
    diffIds,
    config: parseProcess(object['config']),
    history: Array.isArray(history) ? history : [],
  };
}

/** This machine in OCI's words. */
export function hostPlatform(): Platform {
  return { os: 'linux', architecture: goArchitecture };
}

/** Without a variant that says what is so of all of its architecture (containerd/platforms). */
function withoutUsualVariant({ os, architecture, variant }: Platform): Platform {
  const usual: Readonly<Record<string, readonly string[]>> = { amd64: ['v1'], arm64: ['v8', '8'] };
  const isTelling = variant !== undefined && usual[architecture]?.includes(variant) !== true;
  return { os, architecture, ...(isTelling ? { variant } : {}) };
}

/** Whether what is for `actual` is for `wanted`: for any variant where that names none. */
export function fitsPlatform(actual: Platform, wanted: Platform): boolean {
  const [one, other] = [withoutUsualVariant(actual), withoutUsualVariant(wanted)];
  return (
    one.os === other.os &&
    one.architecture === other.architecture &&
    (other.variant === undefined || one.variant === other.variant)
  );
}

/** `linux/arm64/v8`, `arm64` or `linux`; the usual variant is none. Throws requestInvalid. */
export function parsePlatform(given: string): Platform {
  const [first = '', second, variant, ...rest] = given.toLowerCase().split('/');
  const isOs = first === 'linux';
  const architecture = isOs ? (second ?? hostPlatform().architecture) : first;
  if (rest.length > 0 || !/^[a-z0-9_-]+$/.test(architecture) || (!isOs && second !== undefined))
    throw new LinkspanError(
      'requestInvalid',
      `"${given}": unknown operating system or architecture: invalid argument`,
    );
  const aliases: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };
  return withoutUsualVariant({
    os: 'linux',
    architecture: aliases[architecture] ?? architecture,
    ...(variant === undefined ? {} : { variant }),
  });
}

/** `linux/arm64/v8` */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

/** The entry for `wanted`: same system and architecture, the wanted variant if it names one, else rather none. */
export function selectPlatform(entries: readonly IndexEntry[], wanted: Platform): IndexEntry | undefined {
  const { variant } = withoutUsualVariant(wanted);
  const fitting = entries.filter(({ platform }) =>
    platform === undefined ? variant === undefined : fitsPlatform(platform, wanted),
  );
  const exact = fitting.find(
    ({ platform }) => platform === undefined || withoutUsualVariant(platform).variant === variant,
  );
  return exact ?? fitting[0];
}

/** Chain ids from the bottom up (OCI image spec, "Layer ChainID"). */
export function chainIds(diffIds: readonly string[]): readonly string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const parent = chain.at(-1);
    chain.push(parent === undefined ? diffId : sha256Of(Buffer.from(`${parent} ${diffId}`)));
  }
  return chain;
}
