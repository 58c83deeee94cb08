/*
 * Which containers have which volumes, and which of those run: an index over the containers' records, so that nobody
 * has to look through all of them. In memory.
 */
import type { ContainerId } from '../model.ts';

class Pairs {
  readonly #byName = new Map<string, Set<ContainerId>>();

  add(name: string, id: ContainerId): void {
    const ids = this.#byName.get(name) ?? new Set();
    this.#byName.set(name, ids.add(id));
  }

  /** False if there was no such pair. */
  delete(name: string, id: ContainerId): boolean {
    const ids = this.#byName.get(name);
    const wasThere = ids?.delete(id) ?? false;
    if (ids?.size === 0) this.#byName.delete(name);
    return wasThere;
  }

  of(name: string): readonly ContainerId[] {
    return [...(this.#byName.get(name) ?? [])];
  }
}

export class VolumeUsers {
  readonly #containers = new Pairs();
  readonly #runs = new Pairs();

  /** The container's record names the volume, or is about to. */
  add(name: string, id: ContainerId): void {
    this.#containers.add(name, id);
  }

  delete(name: string, id: ContainerId): void {
    this.#containers.delete(name, id);
    this.#runs.delete(name, id);
  }

  of(name: string): readonly ContainerId[] {
    return this.#containers.of(name);
  }

  /** The container runs, or is about to. */
  addRun(name: string, id: ContainerId): void {
    this.#runs.add(name, id);
  }

  /** False if it did not run. */
  deleteRun(name: string, id: ContainerId): boolean {
    return this.#runs.delete(name, id);
  }

  hasRuns(name: string): boolean {
    return this.#runs.of(name).length > 0;
  }
}
