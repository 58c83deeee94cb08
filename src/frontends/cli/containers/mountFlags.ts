/*
 * `--mount`, `--volume` and `--tmpfs` as the API's Mounts, Binds, Volumes and Tmpfs. Pure.
 */
import { CliError } from '../cliError.ts';
import { splitPair } from '../flags.ts';
import { splitCsv } from '../text/csv.ts';
import { parseMemoryBytes } from '../text/units.ts';

interface Mount {
  Type: string;
  Source?: string;
  Target?: string;
  ReadOnly?: boolean;
  Consistency?: string;
  BindOptions?: Record<string, unknown>;
  VolumeOptions?: Record<string, unknown>;
  ImageOptions?: Record<string, unknown>;
  TmpfsOptions?: Record<string, unknown>;
}

function parseFlagBool(value: string, key: string): boolean {
  if (['1', 't', 'true'].includes(value.toLowerCase())) return true;
  if (['0', 'f', 'false'].includes(value.toLowerCase())) return false;
  throw new CliError(`invalid value for ${key}: ${value}`, 125);
}

/** As Go leaves false out. */
function whenTrue(key: string, isTrue: boolean): Record<string, true> {
  return isTrue ? { [key]: true } : {};
}

/** Docker sends a driver's record with every option of a volume, empty where no driver is named. */
function setVolumeOption(mount: Mount, change: Record<string, unknown>): void {
  mount.VolumeOptions = { DriverConfig: {}, ...mount.VolumeOptions, ...change };
}

function setDriverConfig(mount: Mount, change: (before: Record<string, unknown>) => object): void {
  const before = mount.VolumeOptions?.['DriverConfig'] as Record<string, unknown> | undefined;
  setVolumeOption(mount, { DriverConfig: { ...before, ...change(before ?? {}) } });
}

/** `name=value` or a bare name added to a map that may not be there yet. */
function withPair(map: unknown, text: string): Record<string, string> {
  const [name, value] = splitPair(text);
  return { ...(map as Record<string, string> | undefined), [name]: value };
}

function setMountField(mount: Mount, key: string, value: string): void {
  switch (key) {
    case 'type':
      mount.Type = value.toLowerCase();
      return;
    case 'source':
    case 'src':
      mount.Source = value.startsWith('.') && /^\.{1,2}(\/|$)/.test(value) ? absolutePath(value) : value;
      return;
    case 'target':
    case 'dst':
    case 'destination':
      mount.Target = value;
      return;
    case 'readonly':
    case 'ro':
      if (parseFlagBool(value, key)) mount.ReadOnly = true;
      else delete mount.ReadOnly;
      return;
    case 'consistency':
      mount.Consistency = value.toLowerCase();
      return;
    case 'bind-propagation':
      mount.BindOptions = { ...mount.BindOptions, Propagation: value.toLowerCase() };
      return;
    case 'bind-create-src':
      mount.BindOptions = {
        ...mount.BindOptions,
        ...whenTrue('CreateMountpoint', parseFlagBool(value, key)),
      };
      return;
    case 'bind-nonrecursive':
      mount.BindOptions = { ...mount.BindOptions, ...whenTrue('NonRecursive', parseFlagBool(value, key)) };
      return;
    case 'bind-recursive':
      return setRecursive(mount, value);
    case 'volume-nocopy':
      return setVolumeOption(mount, whenTrue('NoCopy', parseFlagBool(value, key)));
    case 'volume-subpath':
      return setVolumeOption(mount, { Subpath: value });
    case 'volume-label':
      return setVolumeOption(mount, { Labels: withPair(mount.VolumeOptions?.['Labels'], value) });
    case 'volume-driver':
      return setDriverConfig(mount, () => ({ Name: value }));
    case 'volume-opt':
      return setDriverConfig(mount, ({ Options }) => ({ Options: withPair(Options, value) }));
    case 'image-subpath':
      mount.ImageOptions = { ...mount.ImageOptions, Subpath: value };
      return;
    case 'tmpfs-size':
      mount.TmpfsOptions = { ...mount.TmpfsOptions, SizeBytes: sizeOf(value, key) };
      return;
    case 'tmpfs-mode':
      if (!/^[0-7]+$/.test(value)) throw new CliError(`invalid value for ${key}: ${value}`, 125);
      mount.TmpfsOptions = { ...mount.TmpfsOptions, Mode: Number.parseInt(value, 8) };
      return;
    default:
      throw new CliError(`unexpected key '${key}' in '${key}=${value}'`, 125);
  }
}

function setRecursive(mount: Mount, value: string): void {
  const options: Readonly<Record<string, Record<string, unknown>>> = {
    enabled: {},
    disabled: { NonRecursive: true },
    writable: { ReadOnlyNonRecursive: true },
    readonly: { ReadOnlyForceRecursive: true },
  };
  const chosen = options[value];
  if (chosen === undefined)
    throw new CliError(
      `invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`,
      125,
    );
  mount.BindOptions = { ...mount.BindOptions, ...chosen };
}

function sizeOf(value: string, key: string): number {
  const bytes = parseMemoryBytes(value);
  if (bytes === undefined) throw new CliError(`invalid value for ${key}: ${value}`, 125);
  return bytes;
}

function absolutePath(path: string): string {
  const parts: string[] = [];
  for (const part of `${process.cwd()}/${path}`.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** One `--mount` value. Throws CliError. */
export function parseMountFlag(text: string): Mount {
  const mount: Mount = { Type: 'volume' };
  for (const field of splitCsv(text)) {
    const [rawKey, value] = splitPair(field);
    const key = rawKey.toLowerCase();
    if (key !== rawKey.trim().toLowerCase())
      throw new CliError(`invalid option '${rawKey}' in '${field}': option should not have whitespace`, 125);
    const isSwitch = ['readonly', 'ro', 'volume-nocopy', 'bind-nonrecursive'].includes(key);
    if (!field.includes('=') && !isSwitch)
      throw new CliError(`invalid field '${field}' must be a key=value pair`, 125);
    setMountField(mount, key, field.includes('=') ? value : 'true');
  }
  if (mount.Target === undefined) throw new CliError('target is required', 125);
  checkMix(mount);
  checkRecursive(mount);
  return mount;
}

const optionsOfType = {
  volume: 'VolumeOptions',
  image: 'ImageOptions',
  bind: 'BindOptions',
  tmpfs: 'TmpfsOptions',
} as const;

function checkMix(mount: Mount): void {
  for (const [type, field] of Object.entries(optionsOfType))
    if (mount[field] !== undefined && mount.Type !== type)
      throw new CliError(`cannot mix '${type}-*' options with mount type '${mount.Type}'`, 125);
}

function checkRecursive({ BindOptions: options, ReadOnly }: Mount): void {
  const name = options?.['ReadOnlyNonRecursive'] === true ? 'writable' : 'readonly';
  if (name === 'readonly' && options?.['ReadOnlyForceRecursive'] !== true) return;
  const needs = (what: string): CliError =>
    new CliError(`option 'bind-recursive=${name}' requires '${what}' to be specified in conjunction`, 125);
  if (ReadOnly !== true) throw needs('readonly');
  if (name === 'readonly' && options?.['Propagation'] !== 'rprivate')
    throw needs('bind-propagation=rprivate');
}

/** `-v` values: with a colon a bind (relative host paths made absolute), without one an anonymous volume. */
export function planVolumes(values: readonly string[]): {
  binds: string[] | null;
  volumes: Record<string, object>;
} {
  const binds: string[] = [];
  const volumes: Record<string, object> = {};
  for (const value of values) {
    const [host = '', ...rest] = value.split(':');
    if (rest.length === 0) volumes[host] = {};
    else binds.push([/^\.{1,2}(\/|$)/.test(host) ? absolutePath(host) : host, ...rest].join(':'));
  }
  return { binds: binds.length === 0 ? null : binds, volumes };
}

/** `--tmpfs /path:options`. */
export function planTmpfs(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => {
      const [path = '', ...options] = value.split(':');
      return [path, options.join(':')];
    }),
  );
}
