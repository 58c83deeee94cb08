/*
 * What images are made of, for others who read it blob by blob: a BuildKit that builds on an image which no registry has.
 */
import type { ContainerdClient } from '../containerd/client.ts';
import { toLinkspanError, unless } from '../containerd/status.ts';
import { listNames } from './names.ts';
import { formatReference } from './reference.ts';

export interface LocalTag {
  /** In full: `docker.io/library/mine:1`. */
  readonly reference: string;
  /** Of its manifest. */
  readonly digest: string;
}

export interface ImageContent {
  /** Tags of images that were neither pulled from nor pushed to the repository of that name. */
  localTags(): Promise<readonly LocalTag[]>;
  /** Undefined for a blob that is not there. */
  sizeOf(digest: string): Promise<number | undefined>;
  /** At most `sizeBytes` from `offset` on. Throws runtimeFailed for a blob that is not there. */
  read(digest: string, offset: number, sizeBytes: number): AsyncIterable<Uint8Array>;
}

/** `client` stays the caller's. */
export function openContent(client: ContainerdClient): ImageContent {
  return {
    localTags: async () => {
      const names = await listNames(client);
      const repositoryOf = (name: (typeof names)[number]): string =>
        `${name.imageId} ${name.reference?.domain}/${name.reference?.path}`;
      const known = new Set(
        names.filter(({ reference }) => reference?.digest !== undefined).map(repositoryOf),
      );
      return names.flatMap((name) =>
        name.reference?.tag === undefined ||
        name.reference.digest !== undefined ||
        known.has(repositoryOf(name))
          ? []
          : [{ reference: formatReference(name.reference), digest: name.record.target.digest }],
      );
    },
    sizeOf: async (digest) => {
      const found = await unless(client.call('Content.Info', { digest }), 'notFound');
      return found === undefined ? undefined : Number(found.info.size);
    },
    read: async function* (digest, offset, sizeBytes) {
      try {
        const wanted = { digest, offset: String(offset), size: String(sizeBytes) };
        for await (const { data } of client.stream('Content.Read', wanted)) yield data;
      } catch (error) {
        throw toLinkspanError(error);
      }
    },
  };
}
