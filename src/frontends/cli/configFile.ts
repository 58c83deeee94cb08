/*
 * The docker CLI's config.json (of `--config`, DOCKER_CONFIG or ~/.docker): what its users have set there holds here too.
 * Credentials in it are credentials.ts.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CliError } from './cliError.ts';
import type { Flags } from './flags.ts';
import type { Io } from './io.ts';

/** A default for `--format` each. */
type FormatKey =
  | 'psFormat'
  | 'imagesFormat'
  | 'networksFormat'
  | 'volumesFormat'
  | 'statsFormat'
  | 'nodesFormat'
  | 'tasksFormat';

interface ProxyConfig {
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  readonly noProxy?: string;
  readonly ftpProxy?: string;
  readonly allProxy?: string;
}

export interface ConfigFile extends Readonly<Partial<Record<FormatKey, string>>> {
  readonly detachKeys?: string;
  /** `KEY=VALUE` each, for every `prune`. */
  readonly pruneFilters?: readonly string[];
  /** By the daemon's address; `default` for all others. */
  readonly proxies?: Readonly<Record<string, ProxyConfig>>;
  readonly HttpHeaders?: Readonly<Record<string, string>>;
}

export function configPath({ env }: Pick<Io, 'env'>): string {
  return join(env['DOCKER_CONFIG'] || join(env['HOME'] || homedir(), '.docker'), 'config.json');
}

/** Empty where there is no file. Throws CliError for one that cannot be read. */
export function readConfigFile(path: string): object {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new CliError(`open ${path}: ${(error as NodeJS.ErrnoException).code ?? 'cannot be read'}`);
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // told below
  }
  throw new CliError(`${path}: invalid JSON`);
}

/** The file, or nothing and a warning. */
export function loadConfig(io: Io): ConfigFile {
  try {
    return readConfigFile(configPath(io));
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    io.err(`WARNING: Error loading config file: ${error.message}\n`);
    return {};
  }
}

/** The command line, and the file beside it. */
interface Choice {
  readonly flags: Flags;
  readonly config: ConfigFile;
}

/** `--format`, else what the file says of it unless only ids are asked for; empty = the plain table. */
export function listFormat({ flags, config }: Choice, key: FormatKey): string {
  const given = flags.text('format');
  if (given !== '') return given;
  // `stats` has no --quiet.
  return key !== 'statsFormat' && flags.bool('quiet') ? '' : (config[key] ?? '');
}

/** `--detach-keys`, else the file's; empty = the daemon's own. */
export function chosenDetachKeys({ flags, config }: Choice): string {
  return flags.text('detach-keys') || (config.detachKeys ?? '');
}

const opposites: Readonly<Record<string, string>> = { label: 'label!', 'label!': 'label' };

/** Those of the command line and of the file; one of the file that contradicts the command line is left out. */
export function withPruneFilters(
  filters: readonly string[],
  { pruneFilters = [] }: ConfigFile,
): readonly string[] {
  const added = pruneFilters.filter((filter) => {
    const [key = '', ...value] = filter.split('=');
    return value.length > 0 && !filters.includes(`${opposites[key] ?? ''}=${value.join('=')}`);
  });
  return [...filters, ...added];
}

/** What `env` lacks of the proxies that the file has for the daemon at `host`, as `NAME=value`. */
export function proxyVariables(
  { proxies = {} }: ConfigFile,
  host: string,
  env: readonly string[],
): readonly string[] {
  const { httpProxy, httpsProxy, noProxy, ftpProxy, allProxy } = proxies[host] ?? proxies['default'] ?? {};
  const names = new Set(env.map((entry) => entry.split('=')[0]));
  return Object.entries({
    HTTP_PROXY: httpProxy,
    HTTPS_PROXY: httpsProxy,
    NO_PROXY: noProxy,
    FTP_PROXY: ftpProxy,
    ALL_PROXY: allProxy,
  }).flatMap(([name, value]) =>
    value === undefined || value === ''
      ? []
      : [name, name.toLowerCase()].filter((each) => !names.has(each)).map((each) => `${each}=${value}`),
  );
}
