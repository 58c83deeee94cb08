/*
 * The /dev/shm of containers that share theirs (`--ipc shareable`): a tmpfs on the host, `<folder>/ID`, mounted while the
 * container runs, which it and those that join it (`--ipc container:`) have bound in. Who has joined keeps it where the
 * first one ends.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultShmSizeBytes } from '../../runtime/oci/spec.ts';
import type { HostMounts } from '../../runtime/hostMounts.ts';
import type { Container, ContainerId } from '../model.ts';
import type { ContainerTable } from './containerTable.ts';
import { mountsOf } from './mountPlan.ts';
import { joinedRef } from './sharing.ts';

const target = '/dev/shm';

/** True unless something else is mounted there, which nobody can share. */
function isShareable(container: Container): boolean {
  return container.spec.ipcMode === 'shareable' && !mountsOf(container).some((one) => one.target === target);
}

export class SharedMemory {
  readonly #folder: string;
  readonly #mounts: HostMounts;

  constructor(folder: string, mounts: HostMounts) {
    this.#folder = folder;
    this.#mounts = mounts;
  }

  /** Where the container's is on the host, its own or that of the one that it joins; undefined if it shares none. */
  pathOf(table: ContainerTable, container: Container): string | undefined {
    if (isShareable(container)) {
      const path = this.#pathFor(container.id);
      return existsSync(path) ? path : undefined;
    }
    const ref = joinedRef(container.spec.ipcMode);
    const other = ref === undefined ? undefined : table.findByRef(ref);
    return other === undefined || other.id === container.id ? undefined : this.pathOf(table, other.record);
  }

  /** Before a start; nothing for a container that shares none of its own. */
  async mount(container: Container): Promise<void> {
    if (!isShareable(container)) return;
    await this.unmount(container);
    const path = this.#pathFor(container.id);
    await mkdir(path, { recursive: true, mode: 0o700 });
    const sizeBytes = container.spec.shmSizeBytes ?? defaultShmSizeBytes;
    const options = ['nosuid', 'nodev', 'noexec', 'mode=1777', `size=${sizeBytes}`];
    await this.#mounts.mount(path, { type: 'tmpfs', source: 'shm', options });
  }

  /** After the end; success if it is gone, or never was. */
  async unmount({ id, spec }: Container): Promise<void> {
    if (spec.ipcMode === 'shareable') await this.#remove(id);
  }

  /** At the daemon's start: those of containers that do not run go. */
  async sweep(isRunning: (id: ContainerId) => boolean): Promise<void> {
    const names = await readdir(this.#folder).catch(() => []);
    for (const name of names) if (!isRunning(name as ContainerId)) await this.#remove(name as ContainerId);
  }

  #pathFor(id: ContainerId): string {
    return join(this.#folder, id);
  }

  async #remove(id: ContainerId): Promise<void> {
    const path = this.#pathFor(id);
    if (!existsSync(path)) return;
    await this.#mounts.unmount(path);
    await rmdir(path);
  }
}
