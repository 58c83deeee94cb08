/*
 * Volumes in memory for the tests of the API: names and labels, no folders. Not for use outside tests.
 */
import type { Volumes } from '../../../engine/engine.ts';
import type { ContainerId, Volume, VolumeRequest } from '../../../engine/model.ts';
import { LinkspanError } from '../../../errors/linkspanError.ts';

export class FakeVolumes implements Volumes {
  readonly volumes: Map<string, Volume> = new Map();
  /** By volume. */
  readonly containers: Map<string, readonly ContainerId[]> = new Map();

  list(): readonly Volume[] {
    return [...this.volumes.values()];
  }

  get(name: string): Volume {
    const found = this.volumes.get(name);
    if (found === undefined) throw new LinkspanError('volumeNotFound', `get ${name}: no such volume`);
    return found;
  }

  pathOf(name: string): string {
    return `/var/lib/linkspan/volumes/${name}/_data`;
  }

  users(name: string): readonly ContainerId[] {
    return this.containers.get(name) ?? [];
  }

  sizeBytes(): Promise<number> {
    return Promise.resolve(7);
  }

  create({ name, labels, options }: VolumeRequest): Promise<Volume> {
    const volume: Volume = {
      name,
      state: 'ready',
      createdAt: '2026-11-24T04:16:06.123456789Z',
      ...(labels && { labels }),
      ...(options && { options }),
    };
    this.volumes.set(name, volume);
    return Promise.resolve(volume);
  }

  remove(name: string): Promise<void> {
    this.get(name);
    this.volumes.delete(name);
    return Promise.resolve();
  }

  prune(
    select: (volume: Volume) => boolean,
  ): Promise<{ readonly names: readonly string[]; readonly reclaimedBytes: number }> {
    const names = this.list().flatMap((volume) => (select(volume) ? [volume.name] : []));
    for (const name of names) this.volumes.delete(name);
    return Promise.resolve({ names, reclaimedBytes: 7 });
  }
}
