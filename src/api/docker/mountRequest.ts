/*
 * Mounts as users write them: `-v source:target[:options]`, `--mount` and `--tmpfs`, into the engine's. Named and
 * anonymous volumes are refused. Texts are those of Engine 28.
 */
import { isAbsolute, resolve } from 'node:path';
import type { MountSpec } from '../../engine/model.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { HostConfigBody, MountBody } from './containerBody.ts';

const propagations: readonly string[] = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];
/** Options that change nothing here: SELinux labels, and hints for other platforms. */
const ignoredOptions: readonly string[] = ['rw', 'z', 'Z', 'consistent', 'cached', 'delegated', 'default'];

function invalid(message: string): LinkspanError {
  return new LinkspanError('containerConfigInvalid', message);
}

function refuseVolume(text: string): LinkspanError {
  return new LinkspanError(
    'notImplemented',
    `volumes are not supported yet: ${text} names one; bind a directory`,
  );
}

/** Parses one `-v` value. Throws codes containerConfigInvalid and notImplemented (volumes). */
export function parseBind(text: string): MountSpec {
  const problem = (why: string): LinkspanError => invalid(`invalid volume specification: '${text}'${why}`);
  const [source = '', target, options = '', ...rest] = text.split(':');
  if (rest.length > 0 || source === '' || target === '') throw problem('');
  if (target === undefined) throw refuseVolume(text);
  if (!isAbsolute(target)) throw problem(`: invalid mount path: '${target}' mount path must be absolute`);
  if (resolve('/', target) === '/') throw problem(": invalid specification: destination can't be '/'");
  const words = options === '' ? [] : options.split(',');
  const unknown = words.find(
    (word) => word !== 'ro' && !ignoredOptions.includes(word) && !propagations.includes(word),
  );
  if (unknown !== undefined && !(unknown === 'nocopy' && !isAbsolute(source)))
    throw invalid(`invalid mode: ${options}`);
  if (!isAbsolute(source)) throw refuseVolume(text);
  const propagation = words.find((word) => propagations.includes(word));
  return {
    type: 'bind',
    source: resolve('/', source),
    target: resolve('/', target),
    isReadOnly: words.includes('ro'),
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

function toMount(mount: MountBody): MountSpec {
  const problem = (why: string): LinkspanError =>
    invalid(`invalid mount config for type "${mount.Type}": ${why}`);
  if (!['bind', 'tmpfs', 'volume', 'image', 'npipe', 'cluster'].includes(mount.Type))
    throw invalid(`mount type unknown: "${mount.Type}"`);
  if (mount.Target === '') throw problem('field Target must not be empty');
  if (!isAbsolute(mount.Target))
    throw problem(`invalid mount path: '${mount.Target}' mount path must be absolute`);
  const target = resolve('/', mount.Target);
  if (target === '/') throw problem("invalid specification: destination can't be '/'");
  if (mount.Type === 'tmpfs') {
    if (mount.Source !== '') throw problem('field Source must not be specified');
    return { type: 'tmpfs', target, options: tmpfsOptions(mount) };
  }
  if (mount.Type !== 'bind')
    throw new LinkspanError('notImplemented', `mounts of type ${mount.Type} are not supported yet`);
  const { Propagation, NonRecursive, CreateMountpoint, ReadOnlyForceRecursive } = mount.BindOptions;
  if (mount.Source === '') throw problem('field Source must not be empty');
  if (!isAbsolute(mount.Source))
    throw problem(`invalid mount path: '${mount.Source}' mount path must be absolute`);
  if (Propagation !== '' && !propagations.includes(Propagation))
    throw problem(`invalid propagation mode: ${Propagation}`);
  if (NonRecursive)
    throw new LinkspanError('notImplemented', 'non-recursive bind mounts are not supported yet');
  if (ReadOnlyForceRecursive)
    throw new LinkspanError('notImplemented', 'recursively read-only bind mounts are not supported yet');
  return {
    type: 'bind',
    source: resolve('/', mount.Source),
    target,
    isReadOnly: mount.ReadOnly,
    ...(Propagation !== '' && { propagation: Propagation }),
    createSource: CreateMountpoint,
  };
}

/** All mounts in the order Binds, Mounts, Tmpfs; throws code containerConfigInvalid if two have one target. */
export function toMounts(config: HostConfigBody): readonly MountSpec[] {
  const mounts: readonly MountSpec[] = [
    ...(config.Binds ?? []).map(parseBind),
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
