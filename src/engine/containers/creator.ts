/*
 * Creates containers. Order: checks, name, snapshot and record in the runtime, then our own durable record. A crash
 * before the last leaves a runtime container without a record, which recovery removes.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { newId } from '../../base/ids.ts';
import { timestamp } from '../../base/timestamp.ts';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import type { Image } from '../../runtime/images/images.ts';
import { checkLimits, withDefaultSwap } from '../../runtime/oci/limitChecks.ts';
import { checkSpecOptions } from '../../runtime/oci/spec.ts';
import { checkLogConfig, type LogConfig } from '../../runtime/stdio/logOptions.ts';
import {
  type Container,
  type ContainerId,
  type ContainerSpec,
  type MountPoint,
  type VolumeMount,
  zeroTime,
} from '../model.ts';
import type { VolumeClaim } from '../volumes/volumes.ts';
import { emitContainerEvent } from './containerEvents.ts';
import { logAttributesOf } from './containerIo.ts';
import { checkContainerSpec } from './createChecks.ts';
import type { ContainersContext } from './dependencies.ts';
import { parseLink } from './links.ts';
import type { LiveContainer } from './liveContainer.ts';
import { checkName, inventName } from './names.ts';
import { resolveProcess } from './resolvedProcess.ts';
import { planMounts, requestOf, type WantedMount } from './mountPlan.ts';
import { joinedRef } from './sharing.ts';
import { ownHostname, toSpecOptions } from './specValues.ts';

type EtcPaths = Pick<Container, 'hostsPath' | 'hostnamePath' | 'resolvConfPath'>;

function ownPaths(folder: string): EtcPaths {
  return {
    hostsPath: join(folder, 'hosts'),
    hostnamePath: join(folder, 'hostname'),
    resolvConfPath: join(folder, 'resolv.conf'),
  };
}

/** A new container, and what Docker warns of. */
export interface Created {
  readonly live: LiveContainer;
  readonly warnings: readonly string[];
}

/** Without a driver it is the daemon's; what is not said of the daemon's driver is as there. */
function withDefaultLog(given: LogConfig | undefined, otherwise: LogConfig): LogConfig {
  const driver = given === undefined || given.driver === '' ? otherwise.driver : given.driver;
  const options =
    driver === otherwise.driver ? { ...otherwise.options, ...given?.options } : (given?.options ?? {});
  return { driver, options };
}

export class Creator {
  readonly #context: ContainersContext;

  constructor(context: ContainersContext) {
    this.#context = context;
  }

  /** Throws what create may refuse, and leaves nothing behind then. Warns of limits that the kernel cannot hold. */
  async create(given: ContainerSpec, name: string | undefined): Promise<Created> {
    const { images, network, table, host } = this.#context;
    const wantedName = name === undefined || name === '' ? undefined : checkName(name);
    const image = await images.get(given.image);
    await checkContainerSpec(given);
    const { limits, warnings } = checkLimits(given.limits ?? {}, host.limitSupport, false);
    const spec = {
      ...this.#resolveNamespaces(this.#resolveLinks(this.#resolvePeer(given))),
      limits: withDefaultSwap(limits),
      log: withDefaultLog(given.log, this.#context.defaultLog),
    };
    checkLogConfig(spec.log);
    const process = resolveProcess(spec, image.config);
    const id = newId<'container'>();
    const hostname = ownHostname(id, spec, this.#context.hostname);
    const wanted = planMounts(spec, process.volumes ?? [], table);
    checkSpecOptions(toSpecOptions(id, spec, process, hostname, wanted.map(requestOf)), host);
    if (spec.networkMode.type !== 'container') await network.validate(spec);
    const folder = join(this.#context.dataFolder, id);
    const record: Container = {
      id,
      name: wantedName ?? inventName((candidate) => table.isNameTaken(candidate)),
      createdAt: timestamp(this.#context.clock),
      spec,
      process,
      imageId: image.id,
      state: 'created',
      pid: 0,
      exitCode: 0,
      error: '',
      startedAt: zeroTime,
      finishedAt: zeroTime,
      restartCount: 0,
      ...ownPaths(folder),
      logPath: join(folder, spec.log.driver === 'json-file' ? `${id}-json.log` : 'container.log'),
    };
    logAttributesOf(record);
    return { live: await this.#make(record, wanted, image, folder), warnings };
  }

  async #make(
    planned: Container,
    wanted: readonly WantedMount[],
    image: Image,
    folder: string,
  ): Promise<LiveContainer> {
    const { table, runtime, volumes, images, events } = this.#context;
    const { id, name } = planned;
    await using undo = new AsyncDisposableStack();
    table.takeName(name, id);
    undo.defer(() => table.releaseName(name, id));
    undo.defer(() => rmSync(folder, { recursive: true, force: true }));
    mkdirSync(folder, { recursive: true, mode: 0o710 });
    undo.defer(() => runtime.remove(id));
    await runtime.prepare(id, images.chainId(image), { 'linkspan.image': image.id });
    const claim = undo.use(volumes.claim(id));
    const mounts = await this.#settleMounts(wanted, claim);
    const viewed = mounts.filter((mount) => mount.type === 'image');
    for (const [index, { source }] of viewed.entries())
      await runtime.prepareView(id, index, await this.#layersOf(source));
    for (const mount of mounts) if (mount.type === 'volume' && mount.copies) await this.#fill(id, mount);
    const record: Container = { ...planned, ...(mounts.length > 0 && { mounts }) };
    const live = await table.insert(record, claim.writes);
    claim.confirm();
    undo.move();
    emitContainerEvent(events, record, 'create');
    return live;
  }

  /** Volumes made, or found, and named. */
  async #settleMounts(wanted: readonly WantedMount[], claim: VolumeClaim): Promise<readonly MountPoint[]> {
    const mounts: MountPoint[] = [];
    for (const want of wanted) {
      if (want.type === 'wantedVolume') {
        mounts.push({ ...want.mount, name: (await claim.take(want.request)).name });
        continue;
      }
      // `--volumes-from`: from here on it is this container's as much as the other's.
      if (want.type === 'volume') await claim.share(want.name);
      mounts.push(want);
    }
    return mounts;
  }

  /** Not a 404, which would make the docker CLI believe that the container's own image is missing. */
  async #layersOf(ref: string): Promise<string> {
    const { images } = this.#context;
    try {
      return images.chainId(await images.get(ref));
    } catch (error) {
      if (!hasCode(error, 'imageNotFound')) throw error;
      throw new LinkspanError('containerConfigInvalid', error.message, { cause: error });
    }
  }

  /** What the image has where the volume will be. */
  async #fill(id: ContainerId, { name, target, isAnonymous }: VolumeMount): Promise<void> {
    const { volumes, runtime } = this.#context;
    await volumes.fill(name, async (folder) => {
      const outcome = await runtime.copyRootfsFolder(id, target, folder);
      if (outcome !== 'file' || !isAnonymous) return outcome;
      throw new LinkspanError(
        'containerConfigInvalid',
        `cannot mount volume over existing file, file exists ${target}`,
      );
    });
  }

  /** `db:store` on the default network becomes `ID:store`, so that it survives a rename. */
  #resolveLinks(spec: ContainerSpec): ContainerSpec {
    const { table } = this.#context;
    const attachments = spec.attachments.map((request) => {
      if (request.network !== 'bridge' || request.links.length === 0) return request;
      const links = request.links.map(parseLink).map(({ target, alias }) => {
        const peer = table.findByRef(target);
        if (peer === undefined)
          throw new LinkspanError(
            'containerConfigInvalid',
            `could not get container for ${target}: No such container: ${target}`,
          );
        if (peer.record.spec.networkMode.type === 'host')
          throw new LinkspanError(
            'containerConfigInvalid',
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
          );
        return `${peer.id}:${alias}`;
      });
      return { ...request, links };
    });
    return { ...spec, attachments };
  }

  /** `container:NAME` becomes `container:ID` here too; one that does not exist is refused, as Docker does. */
  #resolveNamespaces(spec: ContainerSpec): ContainerSpec {
    const resolve = (mode: string): string => {
      const ref = joinedRef(mode);
      if (ref === undefined || ref === '') return mode;
      const other = this.#context.table.findByRef(ref);
      if (other === undefined) throw new LinkspanError('containerConfigInvalid', `No such container: ${ref}`);
      return `container:${other.id}`;
    };
    const ipcMode = spec.ipcMode === '' ? this.#context.defaultIpcMode : resolve(spec.ipcMode);
    return { ...spec, pidMode: resolve(spec.pidMode), ipcMode };
  }

  /**
   * `container:NAME` becomes `container:ID`, so that it survives a rename. One that does not exist is the start's
   * error: a 404 at create would make the docker CLI believe that the image is missing.
   */
  #resolvePeer(spec: ContainerSpec): ContainerSpec {
    if (spec.networkMode.type !== 'container') return spec;
    const peer = this.#context.table.findByRef(spec.networkMode.container);
    if (peer === undefined) return spec;
    const container: ContainerId = peer.id;
    return {
      ...spec,
      networkMode: { type: 'container', container },
      networkModeText: `container:${container}`,
    };
  }
}
