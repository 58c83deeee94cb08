/*
 * What images take on the disk: the unpacked layers, each counted once, and how much of each image others have too.
 */
import type { ContainerdClient } from '../containerd/client.ts';
import { unless } from '../containerd/status.ts';
import type { Image, ImagesUsage } from './images.ts';
import { chainIds } from './manifest.ts';
import { snapshotter } from './unpack.ts';

/** Layers that go away meanwhile count nothing. */
export async function measureImages(
  client: ContainerdClient,
  images: readonly Image[],
): Promise<ImagesUsage> {
  const chains = images.map((image) => ({ image, layers: chainIds(image.diffIds) }));
  const usersOf = new Map<string, number>();
  for (const layer of chains.flatMap(({ layers }) => layers))
    usersOf.set(layer, (usersOf.get(layer) ?? 0) + 1);
  const sizes = new Map<string, number>();
  for (const key of usersOf.keys()) {
    const usage = await unless(client.call('Snapshots.Usage', { snapshotter, key }), 'notFound');
    sizes.set(key, Number(usage?.size ?? 0));
  }
  const sum = (layers: readonly string[]): number =>
    layers.reduce((total, layer) => total + (sizes.get(layer) ?? 0), 0);
  return {
    layersBytes: sum([...sizes.keys()]),
    sharedBytes: new Map(
      chains.map(({ image, layers }) => [
        image.id,
        sum(layers.filter((layer) => (usersOf.get(layer) ?? 0) > 1)),
      ]),
    ),
  };
}
