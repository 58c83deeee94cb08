/*
 * Mounts as users write them: `-v [source:]target[:options]`, `--mount` and `--tmpfs`, into the engine's. Texts are those
 * of Engine 28.
 */
import { isAbsolute, resolve } from 'node:path';
import type { MountSpec } from '../../engine/model.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { ContainerBody, HostConfigBody, MountBody } from './containerBody.ts';

const propagations: readonly string[] = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];
/** Of each of these a mount has at most one. SELinux labels and hints for other platforms change nothing here. */
const modeGroups: readonly (readonly string[])[] = [
  ['ro', 'rw'],
  ['z', 'Z'],
  propagations,
  ['nocopy'],
  ['consistent', 'cached', 'delegated', 'default'],
];

function invalid(message: string): LinkspanError {
  return new LinkspanError('containerConfigInvalid', message);
}

function wordsOf(mode: string): readonly string[] {
  return mode === '' ? [] : mode.split(',');
}

function isMode(mode: string): boolean {
  const words = wordsOf(mode);
  return (
    words.every((word) => modeGroups.some((group) => group.includes(word))) &&
    modeGroups.every((group) => words.filter((word) => group.includes(word)).length <= 1)
  );
}

/** Why `target` is none, in the words that follow "invalid mount config"; undefined if it is one. */
function targetProblem(target: string): string | undefined {
  if (target === '') return 'field Target must not be empty';
  if (resolve('/', target) === '/') return "invalid specification: destination can't be '/'";
  return isAbsolute(target) ? undefined : `invalid mount path: '${target}' mount path must be absolute`;
}

/** Parses one `-v` value; `driver` is that of `--volume-driver`. Throws code containerConfigInvalid. */
export function parseBind(text: string, driver = ''): MountSpec {
  const spec = `invalid volume specification: '${text}'`;
  const parts = text.split(':');
  if (parts.length > 3 || parts[0] === '') throw invalid(spec);
  // A target and a mode make no volume.
  if (parts.length === 2 && isMode(parts[1] ?? '')) throw invalid(spec);
  const [source = '', target = '', mode = ''] = parts.length === 1 ? ['', ...parts] : parts;
  if (!isMode(mode)) throw invalid(`invalid mode: ${mode}`);
  const type = isAbsolute(source) ? 'bind' : 'volume';
  const words = wordsOf(mode);
  const propagation = words.find((word) => propagations.includes(word));
  const problem =
    targetProblem(target) ??
    (type === 'volume' && propagation !== undefined
      ? 'field BindOptions must not be specified'
      : undefined) ??
    (type === 'bind' && words.includes('nocopy') ? 'field VolumeOptions must not be specified' : undefined);
  if (problem !== undefined) throw invalid(`${spec}: invalid mount config for type "${type}": ${problem}`);
  const common = { target: resolve('/', target), isReadOnly: words.includes('ro') };
  if (type === 'volume') return { type, source, ...common, copies: !words.includes('nocopy'), mode, driver };
  return {
    type,
    source: resolve('/', source),
    ...common,
    ...(propagation !== undefined && { propagation }),
    createSource: true,
  };
}

function tmpfsOptions(mount: MountBody): string {
  const { SizeBytes, Mode } = mount.TmpfsOptions;
  return [
    mount.ReadOnly ? 'ro' : '',
    SizeBytes > 0 ? `size=${SizeBytes}` : '',
    Mode > 0 ? `mode=${Mode.toString(8)}` : '',
  ]
    .filter((word) => word !== '')
    .join(',');
}

type Problem = (why: string) => LinkspanError;

function toVolume(mount: MountBody, target: string, problem: Problem): MountSpec {
  const { Source, ReadOnly, VolumeOptions } = mount;
  const { Propagation, NonRecursive, CreateMountpoint, ReadOnlyForceRecursive } = mount.BindOptions;
  if (Propagation !== '' || NonRecursive || CreateMountpoint || ReadOnlyForceRecursive)
    throw problem('field BindOptions must not be specified');
  const subpath = VolumeOptions?.Subpath ?? '';
  if (subpath !== '') {
    if (Source === '') throw problem('must not set Subpath when using anonymous volumes');
    if (isAbsolute(subpath) || !resolve('/-', subpath).startsWith('/-'))
      throw problem('subpath must be a relative path within the volume');
  }
  if (Source === '' && ReadOnly) throw problem('must not set ReadOnly mode when using anonymous volumes');
  const { Name: driver = '', Options: options } = VolumeOptions?.DriverConfig ?? {};
  const labels = VolumeOptions?.Labels;
  return {
    type: 'volume',
    source: Source,
    target,
    isReadOnly: ReadOnly,
    copies: VolumeOptions?.NoCopy !== true,
    driver,
    ...(subpath !== '' && { subpath }),
    ...(options !== undefined && { options }),
    ...(labels !== undefined && { labels }),
  };
}

/** What becomes of mounts below the source. */
function belowOf({ BindOptions }: MountBody): 'none' | 'writable' | 'readonly' | undefined {
  if (BindOptions.NonRecursive) return 'none';
  if (BindOptions.ReadOnlyForceRecursive) return 'readonly';
  return BindOptions.ReadOnlyNonRecursive ? 'writable' : undefined;
}

function toBindMount(mount: MountBody, target: string, problem: Problem): MountSpec {
  const { Propagation, CreateMountpoint } = mount.BindOptions;
  if (mount.Source === '') throw problem('field Source must not be empty');
  if (Propagation !== '' && !propagations.includes(Propagation))
    throw problem(`invalid propagation mode: ${Propagation}`);
  if (mount.VolumeOptions !== undefined) throw problem('field VolumeOptions must not be specified');
  if (!isAbsolute(mount.Source))
    throw problem(`invalid mount path: '${mount.Source}' mount path must be absolute`);
  const below = belowOf(mount);
  return {
    type: 'bind',
    source: resolve('/', mount.Source),
    target,
    isReadOnly: mount.ReadOnly,
    ...(Propagation !== '' && { propagation: Propagation }),
    ...(below !== undefined && { below }),
    createSource: CreateMountpoint,
  };
}

function toMount(mount: MountBody): MountSpec {
  const problem: Problem = (why) => invalid(`invalid mount config for type "${mount.Type}": ${why}`);
  if (!['bind', 'tmpfs', 'volume', 'image', 'npipe', 'cluster'].includes(mount.Type))
    throw invalid(`mount type unknown: "${mount.Type}"`);
  const wrong = targetProblem(mount.Target);
  if (wrong !== undefined) throw problem(wrong);
  const target = resolve('/', mount.Target);
  switch (mount.Type) {
    case 'bind':
      return toBindMount(mount, target, problem);
    case 'volume':
      return toVolume(mount, target, problem);
    case 'tmpfs':
      if (mount.Source !== '') throw problem('field Source must not be specified');
      return { type: 'tmpfs', target, options: tmpfsOptions(mount) };
    case 'image':
      if (mount.Source === '') throw problem('field Source must not be empty');
      if (mount.ImageOptions.Subpath !== '')
        throw new LinkspanError('notImplemented', 'image-subpath is not supported yet');
      return { type: 'image', source: mount.Source, target, isReadOnly: true };
    default:
      throw new LinkspanError('notImplemented', `mounts of type ${mount.Type} are not supported yet`);
  }
}

/** All mounts in the order Binds, Mounts, Tmpfs; throws code containerConfigInvalid if two have one target. */
export function toMounts(config: HostConfigBody): readonly MountSpec[] {
  const mounts: readonly MountSpec[] = [
    ...(config.Binds ?? []).map((text) => parseBind(text, config.VolumeDriver)),
    ...(config.Mounts ?? []).map(toMount),
    ...Object.entries(config.Tmpfs).map(
      ([target, options]): MountSpec => ({ type: 'tmpfs', target: resolve('/', target), options }),
    ),
  ];
  const seen = new Set<string>();
  for (const { target } of mounts) {
    if (seen.has(target)) throw invalid(`Duplicate mount point: ${target}`);
    seen.add(target);
  }
  return mounts;
}

/** Targets of anonymous volumes (`-v /path`). Throws code containerConfigInvalid. */
export function toVolumes(body: Pick<ContainerBody, 'Volumes'>): readonly string[] {
  return Object.keys(body.Volumes).map((text) => {
    const problem = targetProblem(text);
    if (problem === undefined) return resolve('/', text);
    throw invalid(
      `invalid volume specification: '${text}': invalid mount config for type "volume": ${problem}`,
    );
  });
}
