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
  TmpfsOptions?: Record<string, unknown>;
}

function parseFlagBool(value: string, key: string): boolean {
  if (['1', 't', 'true'].includes(value.toLowerCase())) return true;
  if (['0', 'f', 'false'].includes(value.toLowerCase())) return false;
  throw new CliError(`invalid value for ${key}: ${value}`, 125);
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
      mount.ReadOnly = parseFlagBool(value, key);
      return;
    case 'consistency':
      mount.Consistency = value.toLowerCase();
      return;
    case 'bind-propagation':
      mount.BindOptions = { ...mount.BindOptions, Propagation: value.toLowerCase() };
      return;
    case 'bind-create-src':
      mount.BindOptions = { ...mount.BindOptions, CreateMountpoint: parseFlagBool(value, key) };
      return;
    case 'bind-recursive':
      return setRecursive(mount, value);
    case 'volume-nocopy':
      mount.VolumeOptions = { ...mount.VolumeOptions, NoCopy: parseFlagBool(value, key), DriverConfig: {} };
      return;
    case 'volume-subpath':
      mount.VolumeOptions = { ...mount.VolumeOptions, Subpath: value, DriverConfig: {} };
      return;
    case 'tmpfs-size':
      mount.TmpfsOptions = { ...mount.TmpfsOptions, SizeBytes: sizeOf(value, key) };
      return;
    case 'tmpfs-mode':
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
  if (mount.VolumeOptions !== undefined && mount.Type !== 'volume')
    throw new CliError(`cannot mix 'volume-*' options with mount type '${mount.Type}'`, 125);
  if (mount.BindOptions !== undefined && mount.Type !== 'bind')
    throw new CliError(`cannot mix 'bind-*' options with mount type '${mount.Type}'`, 125);
  if (mount.TmpfsOptions !== undefined && mount.Type !== 'tmpfs')
    throw new CliError(`cannot mix 'tmpfs-*' options with mount type '${mount.Type}'`, 125);
  return mount;
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
