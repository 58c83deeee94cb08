/*
 * From a container's record to the values that runtime/oci builds a spec from. Pure.
 */
import { defaultShmSizeBytes, type NamespaceOwner, type SpecOptions } from '../../runtime/oci/spec.ts';
import type { MountRequest } from '../../runtime/oci/mounts.ts';
import type { Container, ContainerSpec, ResolvedProcess } from '../model.ts';
import { joinedRef } from './sharing.ts';

/** The host name of a container with a name of its own: as given, or the first 12 digits of its id. */
export function ownHostname(
  id: string,
  spec: Pick<ContainerSpec, 'hostname' | 'networkMode' | 'utsMode'>,
  hostname: () => string,
): string {
  if (spec.hostname !== undefined && spec.hostname !== '') return spec.hostname;
  return spec.networkMode.type === 'host' || spec.utsMode === 'host' ? hostname() : id.slice(0, 12);
}

function ownerOf(mode: string): NamespaceOwner {
  if (mode === 'host') return 'host';
  return joinedRef(mode) === undefined ? 'own' : 'other';
}

/** `hostname` is the one that holds at start: a peer's in `container:` mode. */
export function toSpecOptions(
  id: string,
  spec: ContainerSpec,
  process: Pick<ResolvedProcess, 'args' | 'env' | 'workingDir'>,
  hostname: string,
  mounts: readonly MountRequest[],
): SpecOptions {
  return {
    id,
    args: process.args,
    env: process.env,
    workingDir: process.workingDir,
    hostname,
    domainname: spec.domainname ?? '',
    isTty: spec.isTty,
    consoleSize: spec.consoleSize,
    isPrivileged: spec.isPrivileged,
    isReadOnlyRootfs: spec.isReadOnlyRootfs,
    capAdd: spec.capAdd,
    capDrop: spec.capDrop,
    securityOptions: spec.securityOptions,
    mounts,
    sysctls: spec.sysctls,
    shmSizeBytes: spec.shmSizeBytes ?? defaultShmSizeBytes,
    hasHostNetwork: spec.networkMode.type === 'host',
    pidNamespace: ownerOf(spec.pidMode),
    hasInit: spec.hasInit,
    ipcNamespace: ownerOf(spec.ipcMode),
    hasShm: spec.ipcMode !== 'none',
    hasHostUts: spec.utsMode === 'host',
    cgroupNamespace: spec.cgroupNamespace,
    annotations: spec.annotations,
    limits: spec.limits ?? {},
    ulimits: spec.ulimits ?? [],
    devices: spec.devices ?? [],
    deviceRules: spec.deviceRules ?? [],
    cgroupParent: spec.cgroupParent ?? '',
    oomScoreAdj: spec.oomScoreAdj ?? 0,
  };
}

/** Spec values of an existing container; an exec needs none of its mounts. */
export function specOptionsOf(
  { id, spec, process }: Container,
  hostname: string,
  mounts: readonly MountRequest[] = [],
): SpecOptions {
  return toSpecOptions(id, spec, process, hostname, mounts);
}
