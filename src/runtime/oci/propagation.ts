/*
 * What a bind's propagation asks of the host and of the container's root (mount_namespaces(7)): mounts get from one to
 * the other only where the source lies on a shared mount, or for `slave` on a shared or slave one, and where the
 * container's root is not private.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { mountPointIn } from '../mountinfo.ts';

/** One of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface MountPoint {
  readonly path: string;
  readonly isShared: boolean;
  readonly isSlave: boolean;
}

/** The mount that `path` lies on, by the text of mountinfo: the last of the longest. */
export function mountPointOf(path: string, mountinfo: string): MountPoint | undefined {
  let found: MountPoint | undefined;
  for (const line of mountinfo.split('\n')) {
    // `36 35 98:0 /root /mnt rw,noatime shared:1 master:2 - ext3 …`
    const words = line.split(' ');
    const at = mountPointIn(words);
    if (at === undefined) continue;
    const isAbove = at === '/' || path === at || path.startsWith(`${at}/`);
    if (!isAbove || (found !== undefined && found.path.length > at.length)) continue;
    const tags = words.slice(6, words.indexOf('-'));
    found = {
      path: at,
      isShared: tags.some((tag) => tag.startsWith('shared:')),
      isSlave: tags.some((tag) => tag.startsWith('master:')),
    };
  }
  return found;
}

interface Bind {
  readonly source: string;
  readonly propagation?: string;
}

/**
 * `linux.rootfsPropagation` that the binds need; undefined for none. Throws runtimeFailed with Docker’s text where
 * a source does not lie on such a mount.
 */
export function rootPropagation(
  binds: readonly Bind[],
  findMount: (source: string) => MountPoint | undefined,
): 'shared' | 'rslave' | undefined {
  let wanted: 'shared' | 'rslave' | undefined;
  for (const { source, propagation = '' } of binds) {
    const kind = propagation.replace(/^r/, '');
    if (kind !== 'shared' && kind !== 'slave') continue;
    const mount = findMount(source);
    const isEnough = mount?.isShared === true || (kind === 'slave' && mount?.isSlave === true);
    if (!isEnough) {
      const what = kind === 'shared' ? 'a shared mount' : 'a shared or slave mount';
      const text = `path ${source} is mounted on ${mount?.path ?? '/'} but it is not ${what}`;
      throw new LinkspanError('runtimeFailed', text);
    }
    if (kind === 'shared') wanted = 'shared';
    else wanted ??= 'rslave';
  }
  return wanted;
}
