/*
 * The folders of volumes, `<data root>/volumes/NAME/_data` as Docker has them: made, filled, measured and removed.
 * Each step that changes the disk passes the seam.
 */
import { mkdirSync } from 'node:fs';
import { chmod, chown, lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Seam } from '../../base/seam.ts';
import { measureFolder } from './folderSize.ts';
import { isVolumeName } from './names.ts';

/** What is copied into a volume is collected here first, beside its `_data`. */
const copyName = '_copy';

/** `none`, `file`: nothing was copied, as there is nothing, or no folder, to copy. */
export type CopyOutcome = 'copied' | 'none' | 'file';

/** Also owner and mode; what `to` has got meanwhile stays. */
async function moveContents(from: string, to: string): Promise<void> {
  const { uid, gid, mode } = await lstat(from);
  await chown(to, uid, gid);
  await chmod(to, mode);
  for (const name of await readdir(from)) {
    const isThere = await lstat(join(to, name)).catch(() => undefined);
    if (isThere === undefined) await rename(join(from, name), join(to, name));
  }
}

export class VolumeFolders {
  readonly #root: string;
  readonly #seam: Seam;

  /** Makes the folder of all volumes, which only root may list. */
  constructor(root: string, seam: Seam) {
    this.#root = root;
    this.#seam = seam;
    mkdirSync(root, { recursive: true, mode: 0o701 });
  }

  /** Where the volume's files are. */
  dataOf(name: string): string {
    return join(this.#root, name, '_data');
  }

  /** Names that a volume may have; nothing in them is looked at. */
  async list(): Promise<readonly string[]> {
    return (await readdir(this.#root)).filter(isVolumeName);
  }

  /** True if it has a `_data` folder. */
  async hasData(name: string): Promise<boolean> {
    const info = await lstat(this.dataOf(name)).catch(() => undefined);
    return info?.isDirectory() === true;
  }

  async create(name: string): Promise<void> {
    this.#seam.step(`create volume folder ${name}`);
    await mkdir(join(this.#root, name), { recursive: true, mode: 0o701 });
    await mkdir(this.dataOf(name), { recursive: true, mode: 0o755 });
  }

  /** With all that is in it, so that nothing may be mounted there; success if it is gone. */
  async remove(name: string): Promise<void> {
    this.#seam.step(`remove volume folder ${name}`);
    await rm(join(this.#root, name), { recursive: true, force: true });
  }

  /** What a copy that was cut short has left; success if there is none. */
  async removeDraft(name: string): Promise<void> {
    await rm(join(this.#root, name, copyName), { recursive: true, force: true });
  }

  /**
   * Lets `copy` fill an empty volume; one that has something stays as it is. Where nobody sees the volume yet it gets all
   * or nothing, whatever ends the copying; `isSeen`: what is at the top of the copy comes one after the other, each whole.
   * With nothing to copy the volume keeps its owner and mode. A container that has it is never followed by its links.
   */
  async fill(name: string, isSeen: boolean, copy: (target: string) => Promise<CopyOutcome>): Promise<void> {
    const data = this.dataOf(name);
    if ((await readdir(data)).length > 0) return;
    const draft = join(this.#root, name, copyName);
    await this.removeDraft(name);
    this.#seam.step(`fill volume folder ${name}`);
    await mkdir(draft, { mode: 0o755 });
    try {
      if ((await copy(draft)) !== 'copied') return;
      // Takes the place of an empty folder only.
      if (!isSeen) await rename(draft, data);
      else await moveContents(draft, data);
    } finally {
      await this.removeDraft(name);
    }
  }

  /** What its files take, each counted once, in bytes. What goes away meanwhile counts nothing. */
  async sizeBytes(name: string): Promise<number> {
    return await measureFolder(this.dataOf(name));
  }
}
