/*
 * What a container's root file system has, as a layer in the content store: all of it (export), or what it has beside its
 * image (commit). containerd reads and packs it, through mounts of its own that last as long as the call.
 */
import { randomBytes } from 'node:crypto';
import type { ContainerdClient } from '../containerd/client.ts';
import type { Mount } from '../containerd/messages.ts';
import { toLinkspanError } from '../containerd/status.ts';
import { type Blob, type BlobLease, takeLease } from './blobs.ts';
import { mediaTypes } from './manifest.ts';
import { snapshotter } from './unpack.ts';

/** Packing many GB on a slow disk. */
const diffDeadlineMs = 3_600_000;

/** Overlay options that are about writing, or name the folders that we put together ourselves. */
const isOwnOption = (option: string): boolean => /^(?:upperdir|workdir|lowerdir)=/.test(option);

function readOnlyOverlay(layers: readonly string[], options: readonly string[]): readonly Mount[] {
  const [only, ...others] = layers;
  if (only === undefined) return [];
  if (others.length === 0) return [{ type: 'bind', source: only, target: '', options: ['ro', 'rbind'] }];
  const lower = `lowerdir=${layers.join(':')}`;
  return [{ type: 'overlay', source: 'overlay', target: '', options: [...options, lower] }];
}

/**
 * From the mounts of a writable overlayfs snapshot: the same read-only, and those of what it stands on. Read-only, because
 * the kernel takes an upper folder for one writable mount only, and the container may have it.
 */
export function readOnlyMounts(mounts: readonly Mount[]): {
  readonly whole: readonly Mount[];
  readonly parent: readonly Mount[];
} {
  const [mount] = mounts;
  if (mount === undefined || mounts.length > 1) throw new Error(`a snapshot of ${mounts.length} mounts`);
  if (mount.type === 'bind') return { whole: readOnlyOverlay([mount.source], []), parent: [] };
  if (mount.type !== 'overlay') throw new Error(`a snapshot mount of type ${mount.type}`);
  const value = (key: string): string[] =>
    mount.options.flatMap((option) => (option.startsWith(`${key}=`) ? [option.slice(key.length + 1)] : []));
  const lower = value('lowerdir').flatMap((list) => list.split(':'));
  const options = mount.options.filter((option) => !isOwnOption(option));
  return {
    whole: readOnlyOverlay([...value('upperdir'), ...lower], options),
    parent: readOnlyOverlay(lower, options),
  };
}

/** Stores an uncompressed layer under the lease: what the container's root file system has and `from` has not. */
export async function storeDiff(
  client: ContainerdClient,
  lease: BlobLease,
  containerId: string,
  from: 'parent' | 'nothing',
): Promise<Blob> {
  const { mounts } = await client.call('Snapshots.Mounts', { snapshotter, key: containerId });
  const { whole, parent } = readOnlyMounts(mounts);
  const { signal } = lease;
  const { diff } = await client.call(
    'Diff.Diff',
    {
      left: from === 'parent' ? parent : [],
      right: whole,
      media_type: mediaTypes.ociLayer,
      ref: `linkspan-${randomBytes(8).toString('hex')}`,
    },
    { lease: lease.id, deadlineMs: diffDeadlineMs, ...(signal === undefined ? {} : { signal }) },
  );
  return { digest: diff.digest, sizeBytes: Number(diff.size) };
}

/** See ImageStore.exportContainer. */
export async function* exportContainer(
  client: ContainerdClient,
  containerId: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { lease, end } = await takeLease(client, signal).catch((error: unknown) =>
    Promise.reject(toLinkspanError(error)),
  );
  try {
    const { digest } = await storeDiff(client, lease, containerId, 'nothing');
    const options = { deadlineMs: Infinity, signal };
    for await (const { data } of client.stream('Content.Read', { digest }, options)) yield data;
  } catch (error) {
    throw toLinkspanError(error);
  } finally {
    // A lease that stays is deleted at the next start.
    await end(true).catch(() => undefined);
  }
}
