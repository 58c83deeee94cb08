/*
 * Names of images as containerd image records. A record's name is a full reference (`docker.io/library/x:latest`,
 * `docker.io/library/x@sha256:…`), or for an image without a name `linkspan.dangling@<id>`, since a record is also
 * what keeps an image from garbage collection. Labels carry the image's id and size, so that listing reads no blob.
 */
import type { ContainerdClient } from '../containerd/client.ts';
import type { ImageRecord } from '../containerd/messages.ts';
import { unless } from '../containerd/status.ts';
import { chainIds } from './manifest.ts';
import { formatReference, parseReference, type Reference } from './reference.ts';
import { type StoredImage, snapshotter, toDescriptor } from './unpack.ts';

const danglingPrefix = 'linkspan.dangling@';
const idLabel = 'linkspan.config';
const sizeLabel = 'linkspan.size';
const collectDeadlineMs = 300_000;

/** One record. `reference` is undefined for a dangling image. */
export interface ImageName {
  readonly recordName: string;
  readonly reference: Reference | undefined;
  readonly imageId: string;
  readonly sizeBytes: number;
  readonly record: ImageRecord;
}

function toName(record: ImageRecord): ImageName | undefined {
  const imageId = record.labels[idLabel];
  // Records of others (ctr, tests by hand) are not ours to show.
  if (imageId === undefined) return undefined;
  return {
    recordName: record.name,
    reference: record.name.startsWith(danglingPrefix) ? undefined : parseReference(record.name),
    imageId,
    sizeBytes: Number(record.labels[sizeLabel] ?? 0),
    record,
  };
}

export async function listNames(client: ContainerdClient): Promise<readonly ImageName[]> {
  const { images } = await client.call('Images.List', { filters: [] });
  return images.flatMap((record) => toName(record) ?? []);
}

/** Bytes of each layer as it lies unpacked, from the bottom up. */
export async function measureLayers(
  client: ContainerdClient,
  diffIds: readonly string[],
): Promise<readonly number[]> {
  const sizes = await Promise.all(
    chainIds(diffIds).map((key) => client.call('Snapshots.Usage', { snapshotter, key })),
  );
  return sizes.map(({ size }) => Number(size));
}

/** The record of an image that came in, still without a name. */
export async function recordOf(
  client: ContainerdClient,
  stored: StoredImage,
): Promise<Omit<ImageRecord, 'name'>> {
  const sizes = await measureLayers(client, stored.details.diffIds);
  return {
    labels: { [idLabel]: stored.id, [sizeLabel]: String(sizes.reduce((sum, size) => sum + size, 0)) },
    target: toDescriptor(stored.manifest),
  };
}

async function put(client: ContainerdClient, image: ImageRecord): Promise<void> {
  const created = await unless(client.call('Images.Create', { image }), 'alreadyExists');
  if (created === undefined)
    await client.call('Images.Update', { image, update_mask: { paths: ['target', 'labels'] } });
}

/** Keeps an image that has lost its last name. */
export async function putDangling(
  client: ContainerdClient,
  record: Omit<ImageRecord, 'name'>,
): Promise<void> {
  await put(client, { ...record, name: `${danglingPrefix}${record.labels[idLabel]}` });
}

/**
 * Points `reference` at the image, taking it from the one that has it: that one stays as a dangling image if it has
 * no other name. Callers serialise.
 */
export async function putName(
  client: ContainerdClient,
  reference: Reference,
  record: Omit<ImageRecord, 'name'>,
): Promise<void> {
  const imageId = record.labels[idLabel];
  const name = formatReference(reference);
  const names = await listNames(client);
  const before = names.find(({ recordName }) => recordName === name);
  if (before !== undefined && before.imageId !== imageId) {
    const others = names.filter((other) => other.imageId === before.imageId && other !== before);
    if (others.length === 0) await putDangling(client, before.record);
  }
  await put(client, { ...record, name });
  // What was dangling has a name now.
  for (const other of names)
    if (other.imageId === imageId && other.reference === undefined)
      await removeRecord(client, other.recordName, false);
}

/** Removes a record; with `isSync`, what nothing else needs is gone when this resolves. */
export async function removeRecord(client: ContainerdClient, name: string, isSync: boolean): Promise<void> {
  await unless(
    client.call('Images.Delete', { name, sync: isSync }, { deadlineMs: collectDeadlineMs }),
    'notFound',
  );
}
