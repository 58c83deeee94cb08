/*
 * A container's /etc/passwd and /etc/group. One that has never run has its image's, which are read once an image;
 * afterwards its own, since programs in it may have changed them.
 */
import type { AccountFiles } from '../../runtime/oci/users.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { type Container, zeroTime } from '../model.ts';

/** Images whose files are remembered; the oldest goes first. */
const keptImages = 64;

export class AccountReader {
  readonly #runtime: Pick<Runtime, 'readRootfsFile'>;
  readonly #ofImage = new Map<string, AccountFiles>();

  constructor(runtime: Pick<Runtime, 'readRootfsFile'>) {
    this.#runtime = runtime;
  }

  /** Empty texts for files that are not there. */
  async read(container: Container): Promise<AccountFiles> {
    const isFresh = container.startedAt === zeroTime;
    const known = isFresh ? this.#ofImage.get(container.imageId) : undefined;
    if (known !== undefined) return known;
    const [passwd, group] = await Promise.all(
      ['/etc/passwd', '/etc/group'].map(async (path) => {
        const bytes = await this.#runtime.readRootfsFile(container.id, path);
        return bytes?.toString('utf8') ?? '';
      }),
    );
    const files = { passwd: passwd ?? '', group: group ?? '' };
    if (isFresh) this.#remember(container.imageId, files);
    return files;
  }

  #remember(imageId: string, files: AccountFiles): void {
    const [oldest] = this.#ofImage.keys();
    if (this.#ofImage.size >= keptImages && oldest !== undefined) this.#ofImage.delete(oldest);
    this.#ofImage.set(imageId, files);
  }
}
