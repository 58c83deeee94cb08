/*
 * The volumes of driver `local`: records in the store (`volumes/<name>`), folders on the disk, and which containers have
 * which. A volume's record says `creating` before its folder is there, and `removing` before it goes; a restart undoes
 * the one and finishes the other. Folders without a record, which a lost store leaves, become volumes again, as with
 * Docker. A volume with a `device` is what is mounted on its folder, from the first start of a container that has it to the
 * last end. Who uses what is not stored: it is counted up from the containers' records once, and kept up as they change.
 */
import { lookup } from 'node:dns/promises';
import type { Clock } from '../../base/clock.ts';
import { newId } from '../../base/ids.ts';
import type { Logger } from '../../base/logger.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import type { Seam } from '../../base/seam.ts';
import { timestamp } from '../../base/timestamp.ts';
import { hasCode, LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { HostMount, HostMounts } from '../../runtime/hostMounts.ts';
import type { Store, Write } from '../../store/store.ts';
import type { Volumes } from '../engine.ts';
import type { EventLog } from '../events.ts';
import type { Container, ContainerId, MountPoint, Volume, VolumeMount, VolumeRequest } from '../model.ts';
import { type CopyOutcome, VolumeFolders } from './folders.ts';
import { checkVolumeName } from './names.ts';
import { checkVolumeOptions, hostMountOf, mountFailure, serverOf, withAddress } from './volumeOptions.ts';
import { VolumeUsers } from './volumeUsers.ts';

const prefix = 'volumes/';

/** Docker's mark of a volume that nobody named. */
export const anonymousLabel = 'com.docker.volume.anonymous';

export interface VolumesDependencies {
  readonly store: Store;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly seam: Seam;
  readonly hostMounts: HostMounts;
  /** `<data root>/volumes`; made if missing. */
  readonly folder: string;
}

/** What one container that is being created has asked for; disposed unconfirmed, it gives everything back. */
export interface VolumeClaim extends AsyncDisposable {
  /** Makes the volume unless there is one of that name; empty = an anonymous one. Codes volumeInvalid, driverNotFound. */
  take(request: VolumeRequest): Promise<Volume>;
  /** Has a volume that there is, for it is another container's too. Code volumeNotFound. */
  share(name: string): Promise<void>;
  /** What belongs into the transaction that writes the container's record. */
  readonly writes: readonly Write[];
  /** That transaction was done. */
  confirm(): void;
}

function volumesOf(mounts: readonly MountPoint[]): readonly VolumeMount[] {
  return mounts.filter((mount) => mount.type === 'volume');
}

function checkRequest({ name, driver, options }: VolumeRequest): void {
  if (driver !== '' && driver !== 'local')
    throw new LinkspanError(
      'driverNotFound',
      `create ${name}: error looking up volume plugin ${driver}: plugin ${JSON.stringify(driver)} not found`,
    );
  checkVolumeOptions(name, options ?? {});
}

/** With the address of the server that it names. Code runtimeFailed if that has none. */
async function withServer(what: HostMount): Promise<HostMount> {
  const server = serverOf(what);
  if (server === undefined) return what;
  const { address } = await lookup(server, { order: 'ipv4first' }).catch((error: unknown) => {
    const text = `error resolving passed in network volume address: ${messageOf(error)}`;
    throw new LinkspanError('runtimeFailed', text, { cause: error });
  });
  return withAddress(what, address);
}

export class LocalVolumes implements Volumes {
  readonly #deps: VolumesDependencies;
  readonly #folders: VolumeFolders;
  readonly #records = new Map<string, Volume>();
  readonly #users = new VolumeUsers();
  readonly #mutex = new KeyedMutex();
  /** Made for a container whose creation is under way, and asked for by nobody else since. */
  readonly #provisional = new Set<string>();

  constructor(deps: VolumesDependencies) {
    this.#deps = deps;
    this.#folders = new VolumeFolders(deps.folder, deps.seam);
  }

  /** Call once, with all containers' records, before anything else. */
  async recover(containers: readonly Container[]): Promise<void> {
    const { store, logger } = this.#deps;
    for (const { id, mounts, state } of containers) {
      const volumes = volumesOf(mounts ?? []);
      for (const { name } of volumes) this.#users.add(name, id);
      if (state === 'running' || state === 'paused')
        for (const { name } of volumes) this.#users.addRun(name, id);
    }
    const records = (await store.list(prefix)).entries.map(({ value }) => value as Volume);
    for (const record of records) this.#records.set(record.name, record);
    await this.#unmountUnused();
    for (const record of records) {
      if (record.state === 'ready') continue;
      if (this.#users.of(record.name).length > 0) {
        // A removal that failed, and could not say so.
        await this.#put({ ...record, state: 'ready' });
        continue;
      }
      logger.info({ volume: record.name, was: record.state }, 'removing a volume that was left half-made');
      // Its record keeps the intent for the next start.
      await this.#destroy(record).catch((error: unknown) => {
        logger.warn({ volume: record.name, err: error }, 'could not remove a volume that was left half-made');
      });
    }
    for (const name of await this.#folders.list()) {
      // One that has a record may be mounted from a server that does not answer: that one is not looked at.
      const isKnown = this.#records.has(name);
      if (!isKnown && !(await this.#folders.hasData(name))) continue;
      await this.#folders.removeDraft(name).catch((error: unknown) => {
        logger.warn({ volume: name, err: error }, 'could not remove what a copy has left');
      });
      if (isKnown) continue;
      logger.info({ volume: name }, 'found the folder of a volume that has no record');
      await this.#put({ name, state: 'ready', createdAt: timestamp(this.#deps.clock) });
    }
  }

  list(): readonly Volume[] {
    return [...this.#records.values()]
      .filter(({ state }) => state === 'ready')
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(name: string): Volume {
    const found = this.#find(name);
    if (found === undefined) throw new LinkspanError('volumeNotFound', `get ${name}: no such volume`);
    return found;
  }

  pathOf(name: string): string {
    return this.#folders.dataOf(name);
  }

  sizeBytes(name: string): Promise<number> {
    return this.#folders.sizeBytes(name);
  }

  users(name: string): readonly ContainerId[] {
    return this.#users.of(name);
  }

  async create(request: VolumeRequest): Promise<Volume> {
    checkRequest(request);
    if (request.name !== '') return await this.#ensure(request);
    const volume = await this.#makeAnonymous(request);
    const ready: Volume = { ...volume, state: 'ready' };
    await this.#put(ready);
    return ready;
  }

  async remove(name: string, isForced: boolean): Promise<void> {
    if (isForced && this.#find(name) === undefined) return;
    await this.#mutex.run(name, async () => {
      const volume = this.get(name);
      const users = this.#users.of(name);
      if (users.length > 0)
        throw new LinkspanError('volumeInUse', `remove ${name}: volume is in use - [${users.join(', ')}]`);
      await this.#removeUnused(volume);
    });
  }

  async prune(
    select: (volume: Volume) => boolean,
  ): Promise<{ readonly names: readonly string[]; readonly reclaimedBytes: number }> {
    const names: string[] = [];
    let reclaimedBytes = 0;
    for (const volume of this.list()) {
      if (this.#users.of(volume.name).length > 0 || !select(volume)) continue;
      const sizeBytes = await this.#folders.sizeBytes(volume.name);
      try {
        await this.remove(volume.name, false);
      } catch (error) {
        if (hasCode(error, 'volumeInUse') || hasCode(error, 'volumeNotFound')) continue;
        this.#deps.logger.warn({ volume: volume.name, err: error }, 'prune skipped a volume');
        continue;
      }
      names.push(volume.name);
      reclaimedBytes += sizeBytes;
    }
    this.#emit('prune', '', { reclaimed: String(reclaimedBytes) });
    return { names, reclaimedBytes };
  }

  /** For a container that is being created. */
  claim(id: ContainerId): VolumeClaim {
    const taken = new Map<string, Volume>();
    let isConfirmed = false;
    const pending = (): readonly Volume[] => [...taken.values()].filter(({ state }) => state === 'creating');
    return {
      take: async (request) => {
        checkRequest(request);
        const isAnonymous = request.name === '';
        const volume = isAnonymous ? await this.#makeAnonymous(request, id) : await this.#ensure(request, id);
        if (!taken.has(volume.name)) taken.set(volume.name, volume);
        return volume;
      },
      share: async (name) => {
        const volume = await this.#mutex.run(name, () => {
          const found = this.get(name);
          this.#users.add(name, id);
          this.#provisional.delete(name);
          return Promise.resolve(found);
        });
        if (!taken.has(name)) taken.set(name, volume);
      },
      get writes() {
        return pending().map((volume) => ({ key: prefix + volume.name, put: { ...volume, state: 'ready' } }));
      },
      confirm: () => {
        isConfirmed = true;
        for (const name of taken.keys()) this.#provisional.delete(name);
        for (const volume of pending()) this.#records.set(volume.name, { ...volume, state: 'ready' });
      },
      [Symbol.asyncDispose]: async () => {
        if (isConfirmed) return;
        for (const name of taken.keys()) {
          this.#users.delete(name, id);
          if (this.#provisional.has(name)) await this.#removeIfUnused(name);
        }
      },
    };
  }

  /** An empty volume that is no mount gets what `copy` puts into a folder. */
  async fill(name: string, copy: (target: string) => Promise<CopyOutcome>): Promise<void> {
    if (this.#isMount(name)) return;
    await this.#mutex.run(name, () => this.#folders.fill(name, this.#users.hasRuns(name), copy));
  }

  /**
   * Before a start. Waits for who fills one of the volumes, as that puts another folder in its place. Codes volumeNotFound
   * if one is gone, runtimeFailed if one cannot be mounted: call `end` then too.
   */
  async begin({ id, mounts }: Container): Promise<void> {
    const volumes = volumesOf(mounts ?? []);
    for (const { name } of volumes) this.get(name);
    for (const { name, target, isReadOnly } of volumes)
      await this.#mutex.run(name, async () => {
        const volume = this.get(name);
        if (!this.#users.hasRuns(name)) await this.#mount(volume);
        this.#users.addRun(name, id);
        this.#emit('mount', name, {
          driver: 'local',
          container: id,
          destination: target,
          'read/write': String(!isReadOnly),
          propagation: '',
        });
      });
  }

  /** After the end of a run, or a start that failed; no-op if that was done. */
  async end({ id, mounts }: Container): Promise<void> {
    for (const { name } of volumesOf(mounts ?? []))
      await this.#mutex.run(name, async () => {
        if (!this.#users.deleteRun(name, id)) return;
        this.#emit('unmount', name, { driver: 'local', container: id });
        if (this.#isMount(name) && !this.#users.hasRuns(name))
          await this.#deps.hostMounts.unmount(this.pathOf(name));
      });
  }

  /** Something is mounted as the volume while it is used. */
  #isMount(name: string): boolean {
    return hostMountOf(this.#records.get(name)?.options) !== undefined;
  }

  /** For its first run. */
  async #mount({ name, options }: Volume): Promise<void> {
    const what = hostMountOf(options);
    if (what === undefined) return;
    const { hostMounts } = this.#deps;
    const path = this.pathOf(name);
    await hostMounts.unmount(path);
    const resolved = await withServer(what);
    try {
      await hostMounts.mount(path, resolved);
    } catch (error) {
      throw new LinkspanError('runtimeFailed', mountFailure(path, resolved, messageOf(error)), {
        cause: error,
      });
    }
  }

  /** What a daemon that died has left mounted. What an administrator has mounted on the folder of another volume stays. */
  async #unmountUnused(): Promise<void> {
    const { hostMounts, folder, logger } = this.#deps;
    for (const path of await hostMounts.list(folder)) {
      const [name = ''] = path.slice(folder.length + 1).split('/');
      const isOurs = path === this.pathOf(name) && this.#isMount(name);
      if (!isOurs || this.#users.hasRuns(name)) continue;
      await hostMounts.unmount(path).catch((error: unknown) => {
        logger.error({ volume: name, err: error }, 'could not unmount a volume that nobody has');
      });
    }
  }

  /** The container goes away; its anonymous volumes that nobody else has too, if `removesVolumes`. Can be called again. */
  async release({ id, mounts, removesVolumes }: Container): Promise<void> {
    for (const { name, isAnonymous } of volumesOf(mounts ?? [])) {
      this.#users.delete(name, id);
      if (removesVolumes === true && isAnonymous) await this.#removeIfUnused(name);
    }
  }

  #find(name: string): Volume | undefined {
    const found = this.#records.get(name);
    return found?.state === 'ready' ? found : undefined;
  }

  /** Under the name's mutex, so that nobody removes it before `user` counts. */
  async #ensure(request: VolumeRequest, user?: ContainerId): Promise<Volume> {
    const { name } = request;
    return await this.#mutex.run(name, async () => {
      const found = this.#find(name);
      if (found === undefined) {
        checkVolumeName(name);
        // Of a removal that failed: what is still there belongs to nobody.
        if (this.#records.get(name)?.state === 'removing') await this.#removeFolder(name);
      }
      const volume = found ?? (await this.#make({ ...(await this.#begin(request, name)), state: 'ready' }));
      if (user !== undefined) this.#users.add(name, user);
      if (user === undefined || found !== undefined) this.#provisional.delete(name);
      else this.#provisional.add(name);
      return volume;
    });
  }

  async #makeAnonymous(request: VolumeRequest, user?: ContainerId): Promise<Volume> {
    const name = newId<'volume'>();
    const labels = { ...request.labels, [anonymousLabel]: '' };
    const volume = await this.#begin({ ...request, labels }, name);
    await this.#make(volume);
    if (user !== undefined) {
      this.#users.add(name, user);
      this.#provisional.add(name);
    }
    return volume;
  }

  /** The intent. */
  async #begin({ labels, options }: VolumeRequest, name: string): Promise<Volume> {
    const volume: Volume = {
      name,
      state: 'creating',
      createdAt: timestamp(this.#deps.clock),
      ...(labels !== undefined && { labels }),
      ...(options !== undefined && { options }),
    };
    await this.#put(volume);
    return volume;
  }

  /** The folder, and the record as given; undone if something fails. */
  async #make(volume: Volume): Promise<Volume> {
    try {
      await this.#folders.create(volume.name);
      if (volume.state === 'ready') await this.#put(volume);
    } catch (error) {
      await this.#destroy(volume).catch((cause: unknown) => {
        this.#deps.logger.warn({ volume: volume.name, err: cause }, 'could not undo a volume');
      });
      throw error;
    }
    this.#emit('create', volume.name, { driver: 'local' });
    return volume;
  }

  async #removeIfUnused(name: string): Promise<void> {
    await this.#mutex.run(name, async () => {
      const volume = this.#records.get(name);
      if (volume !== undefined && this.#users.of(name).length === 0) await this.#removeUnused(volume);
    });
  }

  /** With the mutex held. Where its files cannot be removed it stays what it was. */
  async #removeUnused(volume: Volume): Promise<void> {
    await this.#put({ ...volume, state: 'removing' });
    try {
      await this.#destroy(volume);
    } catch (error) {
      await this.#put(volume);
      throw error;
    }
    this.#emit('destroy', volume.name, { driver: 'local' });
  }

  async #destroy({ name }: Volume): Promise<void> {
    this.#provisional.delete(name);
    await this.#removeFolder(name);
    await this.#deps.store.txn({ write: [{ key: prefix + name, del: true }] });
    this.#records.delete(name);
  }

  /** Unmounted before, or else what is mounted would be removed with it. Where that fails nothing is removed. */
  async #removeFolder(name: string): Promise<void> {
    await this.#deps.hostMounts.unmount(this.pathOf(name));
    await this.#folders.remove(name);
  }

  async #put(volume: Volume): Promise<void> {
    await this.#deps.store.txn({ write: [{ key: prefix + volume.name, put: volume }] });
    this.#records.set(volume.name, volume);
  }

  #emit(action: string, name: string, attributes: Readonly<Record<string, string>>): void {
    this.#deps.events.emit({ type: 'volume', action, actorId: name, attributes });
  }
}
