/*
 * Options of volumes, those of Docker's driver `local` (Engine 28): `type`, `device` and `o` say what is mounted as the
 * volume while containers that have it run. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { HostMount } from '../../runtime/hostMounts.ts';

export type VolumeOptions = Readonly<Record<string, string>>;

/** Each of these needs the ones beside it, in Docker's order. */
const needs: Readonly<Record<string, readonly string[]>> = {
  type: ['device'],
  device: ['type'],
  o: ['device', 'type'],
  size: [],
};

/** Throws code volumeInvalid with Docker's texts. */
export function checkVolumeOptions(name: string, options: VolumeOptions): void {
  const refuse = (why: string): LinkspanError => new LinkspanError('volumeInvalid', `create ${name}: ${why}`);
  for (const key of Object.keys(options))
    if (needs[key] === undefined) throw refuse(`invalid option: ${JSON.stringify(key)}`);
  // Docker has them on XFS with project quotas alone.
  if (options['size'] !== undefined) throw refuse('quota size requested but no quota support');
  for (const key of Object.keys(options)) {
    const missing = needs[key]?.find((other) => options[other] === undefined);
    if (missing !== undefined) throw refuse(`missing required option: ${JSON.stringify(missing)}`);
  }
}

/** What is mounted as a volume with these options; undefined if it is just a folder. */
export function hostMountOf(options: VolumeOptions | undefined): HostMount | undefined {
  const { type = '', device = '', o = '' } = options ?? {};
  if (device === '') return undefined;
  return { type, source: device, options: o.split(',').filter((word) => word !== '') };
}

/** The host that a network file system is at (`addr=`); undefined if it names none. */
export function serverOf({ type, options }: HostMount): string | undefined {
  if (!/^(?:nfs|cifs|smb)/.test(type)) return undefined;
  return options.find((word) => word.startsWith('addr='))?.slice('addr='.length);
}

/** What mount(8) says, and what the system call behind it said. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [/does not exist|No such file/i, 'no such file or directory'],
  [/unknown filesystem type/, 'no such device'],
  [/wrong fs type|bad option|bad usage/, 'invalid argument'],
  [/permission denied/i, 'permission denied'],
  [/not a block device/, 'block device required'],
];

/** Docker's text for a mount at `path` of which mount(8) said `said`. */
export function mountFailure(path: string, { source, options }: HostMount, said: string): string {
  const reason = reasons.find(([pattern]) => pattern.test(said))?.[1] ?? said;
  const data = options.filter((word) => !['bind', 'rbind', 'ro', 'rw'].includes(word));
  const shown = data.length > 0 ? `, data: ${data.join(',')}` : '';
  return `error while mounting volume '${path}': failed to mount local volume: mount ${source}:${path}${shown}: ${reason}`;
}
