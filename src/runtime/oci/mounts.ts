/*
 * The mounts of a container: the kernel file systems that every one has (Docker Engine 28's list), the engine's
 * files over /etc, and what the user binds or wants as tmpfs. OCI runtime spec 1.0.2 `mounts`. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { ViewMount } from '../runtime.ts';

export interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** What a user asks for. */
export type MountRequest =
  | {
      readonly type: 'bind';
      readonly source: string;
      readonly target: string;
      readonly isReadOnly: boolean;
      readonly propagation?: string;
      /** Absent: mounts below come along, and are read-only with it; `writable`: they keep their own mode. */
      readonly below?: 'none' | 'writable' | 'readonly';
    }
  | { readonly type: 'tmpfs'; readonly target: string; readonly options: string }
  /** As the runtime says that an image is mounted. */
  | { readonly type: 'image'; readonly target: string; readonly view: ViewMount };

/** Host paths of the files that the engine writes for a container. */
export interface EtcFiles {
  readonly hosts: string;
  readonly hostname: string;
  readonly resolvConf: string;
}

const propagations = new Set(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave']);

function mount(destination: string, type: string, source: string, options: string): OciMount {
  return { destination, type, source, options: options.split(',') };
}

/** proc, dev, devpts, sysfs, cgroup, mqueue and shm. Privileged containers may write to sysfs and cgroups. */
export function kernelMounts(options: {
  readonly isPrivileged: boolean;
  readonly shmSizeBytes: number;
  /** Without one there is no /dev/shm. */
  readonly hasShm: boolean;
  /** What is bound to /dev/shm; undefined = it has its own. */
  readonly shmSource: string | undefined;
}): readonly OciMount[] {
  const { shmSource, shmSizeBytes } = options;
  const shm =
    shmSource === undefined
      ? mount('/dev/shm', 'tmpfs', 'shm', `nosuid,noexec,nodev,mode=1777,size=${shmSizeBytes}`)
      : mount('/dev/shm', 'bind', shmSource, 'rbind,rprivate');
  const access = options.isPrivileged ? 'rw' : 'ro';
  return [
    mount('/proc', 'proc', 'proc', 'nosuid,noexec,nodev'),
    mount('/dev', 'tmpfs', 'tmpfs', 'nosuid,strictatime,mode=755,size=65536k'),
    mount('/dev/pts', 'devpts', 'devpts', 'nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5'),
    mount('/sys', 'sysfs', 'sysfs', `nosuid,noexec,nodev,${access}`),
    mount('/sys/fs/cgroup', 'cgroup', 'cgroup', `${access},nosuid,noexec,nodev`),
    // Shows the queues of the IPC namespace that it is mounted from, the host's too.
    mount('/dev/mqueue', 'mqueue', 'mqueue', 'nosuid,noexec,nodev'),
    ...(options.hasShm ? [shm] : []),
  ];
}

/** The engine's files; writable, so that a container may change its own hosts file. */
export function etcMounts(files: EtcFiles): readonly OciMount[] {
  return [
    mount('/etc/resolv.conf', 'bind', files.resolvConf, 'rbind,rprivate'),
    mount('/etc/hostname', 'bind', files.hostname, 'rbind,rprivate'),
    mount('/etc/hosts', 'bind', files.hosts, 'rbind,rprivate'),
  ];
}

/** tmpfs(5) options that Docker lets through; the rest would change more than the mount. */
const tmpfsFlags = new Set(
  (
    'exec noexec nosuid suid dev nodev ro rw sync async dirsync atime noatime diratime nodiratime relatime ' +
    'norelatime strictatime nostrictatime mand nomand bind rbind private rprivate shared rshared slave rslave'
  ).split(' '),
);
const tmpfsSettings = new Set(['size', 'mode', 'uid', 'gid', 'nr_inodes', 'nr_blocks', 'mpol']);

function checkTmpfsOption(option: string): string {
  const [name = '', value] = option.split('=', 2);
  if (value === undefined ? tmpfsFlags.has(name) : tmpfsSettings.has(name)) return option;
  throw new LinkspanError('containerConfigInvalid', `invalid tmpfs option ${JSON.stringify(option)}`);
}

function tmpfsMount(target: string, text: string): OciMount {
  const own = text
    .split(',')
    .filter((option) => option !== '')
    .map(checkTmpfsOption);
  return {
    destination: target,
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['noexec', 'nosuid', 'nodev', ...own],
  };
}

function checkTarget(target: string): void {
  if (!target.startsWith('/')) {
    throw new LinkspanError(
      'containerConfigInvalid',
      `invalid mount path: '${target}' mount path must be absolute`,
    );
  }
  if (/^\/+$/.test(target)) {
    throw new LinkspanError(
      'containerConfigInvalid',
      "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
    );
  }
}

/** One user mount in OCI's form. Throws containerConfigInvalid for a relative target or an unknown option. */
export function userMount(request: MountRequest): OciMount {
  checkTarget(request.target);
  if (request.type === 'tmpfs') return tmpfsMount(request.target, request.options);
  if (request.type === 'image') {
    const { type, source, options } = request.view;
    return { destination: request.target, type, source, options: [...new Set(['ro', ...options])] };
  }
  const propagation = request.propagation ?? 'rprivate';
  if (!propagations.has(propagation)) {
    throw new LinkspanError(
      'containerConfigInvalid',
      `invalid mount config for type "bind": invalid propagation ${propagation}`,
    );
  }
  const { isReadOnly, below } = request;
  // A runtime that does not know `rro` (runc before 1.1) takes `ro` alone.
  const access = !isReadOnly ? ['rw'] : below === 'none' || below === 'writable' ? ['ro'] : ['ro', 'rro'];
  return {
    destination: request.target,
    type: 'bind',
    source: request.source,
    options: [below === 'none' ? 'bind' : 'rbind', ...access, propagation],
  };
}

/**
 * Puts user mounts over the default ones: one with the same target replaces it (a bind over /dev/shm, say), and
 * parents come before children, so that none hides another: a volume at /etc leaves /etc/hosts what it is.
 */
export function mergeMounts(base: readonly OciMount[], user: readonly OciMount[]): readonly OciMount[] {
  const replaced = new Set(user.map((entry) => entry.destination));
  const depth = (entry: OciMount): number =>
    entry.destination.split('/').filter((part) => part !== '').length;
  const kept = base.filter((entry) => !replaced.has(entry.destination));
  const isFile = ({ type }: OciMount): boolean => type === 'bind';
  const late = [...kept.filter(isFile), ...user].toSorted((a, b) => depth(a) - depth(b));
  return [...kept.filter((entry) => !isFile(entry)), ...late];
}
