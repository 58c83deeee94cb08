/*
 * What the files of a folder take. Containers may change it meanwhile: each step is one name below a folder that is held
 * open, and follows no link, so that it never leads out.
 */
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, opendir } from 'node:fs/promises';

/** Files with several names that are remembered; more are counted again. */
const linkedMax = 1_000_000;
/** Each level holds a folder open. */
const depthMax = 200;
const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** Bytes of the regular files below `path`, each counted once; what cannot be looked at counts nothing. */
export async function measureFolder(path: string): Promise<number> {
  const seen = new Set<string>();
  const measure = async (at: string, depth: number): Promise<number> => {
    const folder: FileHandle | undefined = await open(at, flags).catch(() => undefined);
    if (folder === undefined) return 0;
    try {
      let sum = 0;
      const inside = `/proc/self/fd/${folder.fd}`;
      const entries = await opendir(inside).catch(() => []);
      for await (const entry of entries) {
        const name = `${inside}/${entry.name}`;
        if (entry.isDirectory()) {
          if (depth < depthMax) sum += await measure(name, depth + 1);
          continue;
        }
        const info = await lstat(name).catch(() => undefined);
        if (info?.isFile() !== true || seen.has(`${info.dev}:${info.ino}`)) continue;
        if (info.nlink > 1 && seen.size < linkedMax) seen.add(`${info.dev}:${info.ino}`);
        sum += info.size;
      }
      return sum;
    } finally {
      await folder.close();
    }
  };
  return await measure(path, 0);
}
