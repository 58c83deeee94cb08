/*
 * What a container has mounted: what its request names, over the mounts of other containers (`--volumes-from`), and
 * anonymous volumes where that leaves a `VOLUME` of the image, or a `-v /path`, free. The order and the texts are those
 * of Docker Engine 28. Pure but for looking up the other containers.
 */
import type { MountRequest } from '../../runtime/oci/mounts.ts';
import type { ViewMount } from '../../runtime/runtime.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type {
  Container,
  ContainerSpec,
  MountPoint,
  MountSpec,
  VolumeMount,
  VolumeRequest,
} from '../model.ts';
import type { ContainerTable } from './containerTable.ts';

/** A volume that is still to be made, or found. */
export interface WantedVolume {
  readonly type: 'wantedVolume';
  readonly request: VolumeRequest;
  readonly mount: Omit<VolumeMount, 'name'>;
}

export type WantedMount = MountPoint | WantedVolume;

/** What an existing container has mounted. */
export function mountsOf({ mounts, spec }: Container): readonly MountPoint[] {
  return mounts ?? spec.mounts.filter((mount) => mount.type !== 'volume');
}

/** Of an image that nobody has looked at yet. */
const noView: ViewMount = { type: 'bind', source: '', options: [] };

/** In the runtime's words; `pathOf` tells where a volume's files are, `view` how an image is mounted. */
export function requestFor(
  mount: MountPoint,
  pathOf: (name: string) => string,
  view: ViewMount = noView,
): MountRequest {
  if (mount.type === 'image') return { type: 'image', target: mount.target, view };
  if (mount.type !== 'volume') return mount;
  const { name, target, isReadOnly } = mount;
  return { type: 'bind', source: pathOf(name), target, isReadOnly };
}

/** As `requestFor`, to be checked only: nobody knows yet where the files will be. */
export function requestOf(want: WantedMount): MountRequest {
  return requestFor(want.type === 'wantedVolume' ? { ...want.mount, name: '' } : want, () => '');
}

function targetOf(want: WantedMount): string {
  return want.type === 'wantedVolume' ? want.mount.target : want.target;
}

function toWanted(mount: MountSpec): WantedMount {
  if (mount.type !== 'volume') return mount;
  const { source, target, isReadOnly, mode, driver, options, labels, subpath } = mount;
  // What the image has at the target is nothing of the volume's own top.
  const copies = mount.copies && subpath === undefined;
  return {
    type: 'wantedVolume',
    request: { name: source, driver, ...(options && { options }), ...(labels && { labels }) },
    // To Docker a volume that a request mounts has its label set anew.
    mount: {
      ...{ type: 'volume', target, isReadOnly, copies, mode: mode || 'z', isAnonymous: source === '' },
      ...(subpath !== undefined && { subpath }),
    },
  };
}

/** Options that change nothing here, beside the two that do. */
const inheritedModes: readonly string[] = ['rw', 'ro', 'z', 'Z', 'consistent', 'cached', 'delegated'];

/** The other container's mounts; none of its tmpfs and images, which are nobody else's. */
function inherited(text: string, table: ContainerTable): readonly MountPoint[] {
  const refuse = (why: string): LinkspanError => new LinkspanError('containerConfigInvalid', why);
  if (text === '') throw refuse('volumes-from specification cannot be an empty string');
  const [ref = '', ...rest] = text.split(':');
  const mode = rest.join(':');
  const words = mode === '' ? [] : mode.split(',');
  if (words.some((word) => !inheritedModes.includes(word))) throw refuse(`invalid mode: ${mode}`);
  const isReadOnly = words.includes('ro');
  // Not a 404, which would make the docker CLI believe that the image is missing.
  const other = table.findByRef(ref);
  if (other === undefined) throw refuse(`No such container: ${ref}`);
  return mountsOf(other.record)
    .filter((mount) => mount.type === 'bind' || mount.type === 'volume')
    .map((mount) => ({
      ...mount,
      isReadOnly: mount.isReadOnly || isReadOnly,
      ...(mount.type === 'volume' && { copies: false, mode: '' }),
    }));
}

/** In the order in which they were asked for. Throws code containerConfigInvalid. */
export function planMounts(
  spec: ContainerSpec,
  volumes: readonly string[],
  table: ContainerTable,
): readonly WantedMount[] {
  const byTarget = new Map<string, WantedMount>();
  const add = (want: WantedMount): void => {
    byTarget.delete(targetOf(want));
    byTarget.set(targetOf(want), want);
  };
  for (const text of spec.volumesFrom ?? []) for (const mount of inherited(text, table)) add(mount);
  for (const mount of spec.mounts) add(toWanted(mount));
  for (const target of volumes) {
    if (byTarget.has(target)) continue;
    add({
      type: 'wantedVolume',
      request: { name: '', driver: '' },
      mount: { type: 'volume', target, isReadOnly: false, copies: true, mode: '', isAnonymous: true },
    });
  }
  return [...byTarget.values()];
}
