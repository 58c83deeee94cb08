/*
 * Options of volumes, those of Docker's driver `local` (Engine 28): `type`, `device` and `o` say what is mounted as the
 * volume while containers that have it run. Pure.
 */
import { isIP } from 'node:net';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { HostMount } from '../../runtime/hostMounts.ts';

export type VolumeOptions = Readonly<Record<string, string>>;

/** Each of these needs the ones beside it, in Docker's order. */
const needs: ReadonlyMap<string, readonly string[]> = new Map([
  ['type', ['device']],
  ['device', ['type']],
  ['o', ['device', 'type']],
  ['size', []],
]);

/** Throws code volumeInvalid with Docker's texts. */
export function checkVolumeOptions(name: string, options: VolumeOptions): void {
  const refuse = (why: string): LinkspanError => new LinkspanError('volumeInvalid', `create ${name}: ${why}`);
  for (const key of Object.keys(options))
    if (!needs.has(key)) throw refuse(`invalid option: ${JSON.stringify(key)}`);
  // Docker has them on XFS with project quotas alone.
  if (options['size'] !== undefined) throw refuse('quota size requested but no quota support');
  for (const key of Object.keys(options)) {
    const missing = needs.get(key)?.find((other) => options[other] === undefined);
    if (missing !== undefined) throw refuse(`missing required option: ${JSON.stringify(missing)}`);
  }
}

const bindWords: ReadonlySet<string> = new Set(['bind', 'rbind']);

/** As mount_namespaces(7) has them. */
const propagationWords: ReadonlySet<string> = new Set(
  ['shared', 'slave', 'private', 'unbindable'].flatMap((word) => [word, `r${word}`]),
);

/**
 * What is mounted as a volume with these options; undefined if it is just a folder. A bind of what is shared, as all is
 * where systemd runs, would be a peer of it: who unmounts one of them takes away what is mounted below the other, too.
 */
export function hostMountOf(options: VolumeOptions | undefined): HostMount | undefined {
  const { type = '', device = '', o = '' } = options ?? {};
  if (device === '') return undefined;
  const words = o.split(',').filter((word) => word !== '');
  const isPeer =
    words.some((word) => bindWords.has(word)) && !words.some((word) => propagationWords.has(word));
  return { type, source: device, options: isPeer ? [...words, 'rslave'] : words };
}

/**
 * The host that a network file system is at, which the kernel wants as an address: that of `addr=`, or with cifs the one in
 * the device (`//host/share`). Undefined if it names none, or has an address there.
 */
export function serverOf({ type, source, options }: HostMount): string | undefined {
  if (!/^(?:nfs|cifs|smb)/.test(type)) return undefined;
  const given = options.find((word) => word.startsWith('addr='));
  if (given !== undefined) return given.slice('addr='.length);
  if (type.startsWith('nfs') || options.some((word) => word.startsWith('ip='))) return undefined;
  const host = /^\/\/([^/]+)/.exec(source)?.[1];
  return host === undefined || isIP(host) !== 0 ? undefined : host;
}

/** With the address of its server (`addr=`). */
export function withAddress(mount: HostMount, address: string): HostMount {
  const word = `addr=${address}`;
  const isGiven = mount.options.some((one) => one.startsWith('addr='));
  const options = isGiven
    ? mount.options.map((one) => (one.startsWith('addr=') ? word : one))
    : [...mount.options, word];
  return { ...mount, options };
}

/** What mount(8) says, and what the system call behind it said. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [/does not exist|No such file/i, 'no such file or directory'],
  [/unknown filesystem type/, 'no such device'],
  [/wrong fs type|bad option|bad usage/, 'invalid argument'],
  [/permission denied/i, 'permission denied'],
  [/not a block device/, 'block device required'],
];

/** Up to the next option, or the end. */
function withoutPassword(text: string): string {
  return text.replaceAll(/\b(pass(?:word)?2?=)[^,]*/gi, '$1********');
}

/** Docker's text for a mount at `path` of which mount(8) said `said`. Without the password that may be in either. */
export function mountFailure(path: string, { source, options }: HostMount, said: string): string {
  const reason = reasons.find(([pattern]) => pattern.test(said))?.[1] ?? withoutPassword(said);
  const isFlag = (word: string): boolean =>
    bindWords.has(word) || propagationWords.has(word) || word === 'ro' || word === 'rw';
  const data = options.filter((word) => !isFlag(word));
  const shown = data.length > 0 ? `, data: ${withoutPassword(data.join(','))}` : '';
  return `error while mounting volume '${path}': failed to mount local volume: mount ${source}:${path}${shown}: ${reason}`;
}
