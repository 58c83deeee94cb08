/*
 * Images at the edge: the shapes of list, inspect and history (Docker Engine API 1.50), and progress lines.
 */
import type { Image, ImageConfig, ImageProgress } from '../../runtime/images/images.ts';
import { healthcheckShape } from './healthShapes.ts';
import { isAtLeast } from './versions.ts';

type Shape = Record<string, unknown>;

/** What takes time to find out: containers that were made of an image, and how much of it other images have too. */
export interface ImageCounts {
  readonly containers: number;
  readonly sharedBytes: number;
}

/** Counts for each image, of all containers, each looked at once. */
export function countsBy(
  containers: readonly { readonly imageId: string }[],
  sharedBytes: ReadonlyMap<string, number>,
): (imageId: string) => ImageCounts {
  const users = new Map<string, number>();
  for (const { imageId } of containers) users.set(imageId, (users.get(imageId) ?? 0) + 1);
  return (imageId) => ({ containers: users.get(imageId) ?? 0, sharedBytes: sharedBytes.get(imageId) ?? 0 });
}

/** One element of `GET /images/json`; what was not counted is -1. */
export function imageListShape(
  image: Image,
  version: string,
  { containers, sharedBytes }: ImageCounts = { containers: -1, sharedBytes: -1 },
): Shape {
  return {
    Containers: containers,
    Created: Math.trunc(Date.parse(image.createdAt) / 1000),
    Id: image.id,
    Labels: Object.keys(image.config.labels).length === 0 ? null : image.config.labels,
    ParentId: '',
    RepoDigests: image.digests,
    RepoTags: image.tags,
    SharedSize: sharedBytes,
    Size: image.sizeBytes,
    ...(!isAtLeast(version, '1.44') && { VirtualSize: image.sizeBytes }),
  };
}

/** Fields that images never set; clients older than 1.50 still look for them. */
const legacyConfig = {
  Hostname: '',
  Domainname: '',
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Image: '',
};

function keysOf(names: readonly string[]): Shape {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

function orNull<T>(items: readonly T[]): readonly T[] | null {
  return items.length === 0 ? null : items;
}

function configShape(config: ImageConfig, version: string): Shape {
  return {
    ...(!isAtLeast(version, '1.50') && legacyConfig),
    User: config.user,
    ...(config.exposedPorts.length > 0 && { ExposedPorts: keysOf(config.exposedPorts) }),
    Env: orNull(config.env),
    Cmd: orNull(config.command),
    Volumes: config.volumes.length === 0 ? null : keysOf(config.volumes),
    WorkingDir: config.workingDir,
    Entrypoint: orNull(config.entrypoint),
    OnBuild: null,
    Labels: Object.keys(config.labels).length === 0 ? null : config.labels,
    ...(config.stopSignal !== undefined && { StopSignal: config.stopSignal }),
    ...(config.shell !== undefined && { Shell: config.shell }),
    ...(config.healthcheck !== undefined && { Healthcheck: healthcheckShape(config.healthcheck) }),
  };
}

/** `GET /images/{name}/json`. */
export function imageInspectShape(image: Image, version: string): Shape {
  return {
    Id: image.id,
    RepoTags: image.tags,
    RepoDigests: image.digests,
    Parent: '',
    Comment: image.comment,
    Created: image.createdAt,
    ...(!isAtLeast(version, '1.45') && { Container: '' }),
    // Docker has it below 1.45 alone; without it docker-compose 1.29, which asks by the newest version, makes nothing anew.
    ContainerConfig: configShape(image.config, version),
    DockerVersion: '',
    Author: image.author,
    Config: configShape(image.config, version),
    Architecture: image.architecture,
    ...(image.variant !== undefined && { Variant: image.variant }),
    Os: image.os,
    Size: image.sizeBytes,
    ...(!isAtLeast(version, '1.44') && { VirtualSize: image.sizeBytes }),
    GraphDriver: { Data: null, Name: 'overlayfs' },
    RootFS: { Type: 'layers', Layers: image.diffIds },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
  };
}

/** OCI image config, `history`. */
interface HistoryEntry {
  readonly created?: string;
  readonly created_by?: string;
  readonly comment?: string;
  readonly empty_layer?: boolean;
}

/** `GET /images/{name}/history`: newest first; only the newest has an id. `sizes` are those of the layers, oldest first. */
export function historyShape(image: Image, sizes: readonly number[]): readonly Shape[] {
  let layers = 0;
  const entries = (image.history as readonly HistoryEntry[]).map((entry) => ({
    ...entry,
    sizeBytes: entry.empty_layer === true ? 0 : (sizes[layers++] ?? 0),
  }));
  return entries.toReversed().map((entry, index) => ({
    Comment: entry.comment ?? '',
    Created: Math.trunc(Date.parse(entry.created ?? '') / 1000) || 0,
    CreatedBy: entry.created_by ?? '',
    Id: index === 0 ? image.id : '<missing>',
    Size: entry.sizeBytes,
    Tags: index === 0 ? orNull(image.tags) : null,
  }));
}

/** One line of a pull, push or load. Only lines about a layer have details; a terminal redraws those in place. */
export function progressShape({ id, tag, status, currentBytes, totalBytes, pushed }: ImageProgress): Shape {
  if (pushed !== undefined) {
    const { tag, digest, sizeBytes } = pushed;
    return { progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: sizeBytes } };
  }
  if (id === undefined) return { status, ...(tag !== undefined && { id: tag }) };
  const detail = {
    ...(currentBytes !== undefined && { current: currentBytes }),
    ...(totalBytes !== undefined && { total: totalBytes }),
  };
  return { status, progressDetail: detail, id };
}
