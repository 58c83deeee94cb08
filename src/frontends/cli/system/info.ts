/*
 * `info`: the daemon's /info, as text in Docker's layout or through a template.
 */
import { CliError } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { flag } from '../flags.ts';
import { formatUsage } from '../inspection.ts';
import { dockerShape } from '../template/dockerShape.ts';
import { compileTemplate } from '../template/evaluator.ts';
import { TemplateError } from '../template/lexer.ts';
import { toTyped } from '../template/values.ts';
import { parseJson } from '../text/goJson.ts';
import { formatBinarySize } from '../text/units.ts';
import { formatSwarm, type SwarmOfInfo } from './infoSwarm.ts';
import { clientVersion } from './version.ts';

interface Info {
  readonly [name: string]: unknown;
  readonly Plugins?: Readonly<Record<string, readonly string[] | null>>;
  readonly DriverStatus?: readonly (readonly [string, string])[] | null;
  readonly SecurityOptions?: readonly string[] | null;
  readonly RegistryConfig?: {
    readonly InsecureRegistryCIDRs?: readonly string[] | null;
    readonly IndexConfigs?: Readonly<
      Record<string, { readonly Name: string; readonly Secure: boolean }>
    > | null;
    readonly Mirrors?: readonly string[] | null;
  } | null;
  readonly DefaultAddressPools?: readonly { readonly Base: string; readonly Size: number }[] | null;
  readonly Warnings?: readonly string[] | null;
  readonly Labels?: readonly string[] | null;
  readonly Swarm?: SwarmOfInfo;
}

function line(depth: number, name: string, value: unknown): string {
  const isShown = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
  return isShown && value !== '' ? `${' '.repeat(depth)}${name}: ${value}\n` : '';
}

function commitOf(value: unknown): string {
  return typeof value === 'object' && value !== null && 'ID' in value ? String(value.ID) : '';
}

function plugins(info: Info): string {
  const { Volume, Network, Log } = info.Plugins ?? {};
  return [
    ' Plugins:\n',
    line(2, 'Volume', (Volume ?? []).join(' ')),
    line(2, 'Network', (Network ?? []).join(' ')),
    line(2, 'Log', (Log ?? []).join(' ')),
  ].join('');
}

function security(info: Info): string {
  const options = info.SecurityOptions ?? [];
  if (options.length === 0) return '';
  const rows = options.flatMap((option) => {
    const pairs = option.split(',').map((each) => each.split('='));
    return pairs.map(([key = '', ...value]) =>
      key === 'name'
        ? `  ${value.join('=')}\n`
        : `   ${key[0]?.toUpperCase() ?? ''}${key.slice(1)}: ${value.join('=')}\n`,
    );
  });
  return ` Security Options:\n${rows.join('')}`;
}

/** Hosts that are named, then networks. */
function insecureOf({
  RegistryConfig,
}: {
  readonly RegistryConfig?: Info['RegistryConfig'];
}): readonly string[] {
  const hosts = Object.values(RegistryConfig?.IndexConfigs ?? {}).filter(({ Secure }) => !Secure);
  return [...hosts.map(({ Name }) => Name), ...(RegistryConfig?.InsecureRegistryCIDRs ?? [])];
}

function listOf(title: string, rows: readonly string[]): string {
  return rows.length === 0 ? '' : ` ${title}:\n${rows.map((row) => `  ${row}\n`).join('')}`;
}

/** The text of /info. Pure. */
export function formatInfo(info: Info): string {
  const pools = (info.DefaultAddressPools ?? []).map(({ Base, Size }) => `Base: ${Base}, Size: ${Size}`);
  return [
    'Server:\n',
    line(1, 'Containers', info['Containers']),
    line(2, 'Running', info['ContainersRunning']),
    line(2, 'Paused', info['ContainersPaused']),
    line(2, 'Stopped', info['ContainersStopped']),
    line(1, 'Images', info['Images']),
    line(1, 'Server Version', info['ServerVersion']),
    line(1, 'Storage Driver', info['Driver']),
    ...(info.DriverStatus ?? []).map(([name, value]) => line(2, name, value)),
    line(1, 'Logging Driver', info['LoggingDriver']),
    line(1, 'Cgroup Driver', info['CgroupDriver']),
    line(1, 'Cgroup Version', info['CgroupVersion']),
    plugins(info),
    formatSwarm(info.Swarm),
    line(
      1,
      'Runtimes',
      Object.keys(info['Runtimes'] ?? {})
        .sort()
        .join(' '),
    ),
    line(1, 'Default Runtime', info['DefaultRuntime']),
    line(1, 'Init Binary', info['InitBinary']),
    line(1, 'containerd version', commitOf(info['ContainerdCommit'])),
    line(1, 'runc version', commitOf(info['RuncCommit'])),
    line(1, 'init version', commitOf(info['InitCommit'])),
    security(info),
    line(1, 'Kernel Version', info['KernelVersion']),
    line(1, 'Operating System', info['OperatingSystem']),
    line(1, 'OSType', info['OSType']),
    line(1, 'Architecture', info['Architecture']),
    line(1, 'CPUs', info['NCPU']),
    line(1, 'Total Memory', formatBinarySize(Number(info['MemTotal'] ?? 0))),
    line(1, 'Name', info['Name']),
    line(1, 'ID', info['ID']),
    line(1, 'Docker Root Dir', info['DockerRootDir']),
    line(1, 'Debug Mode', info['Debug'] ?? false),
    line(1, 'HTTP Proxy', info['HttpProxy']),
    line(1, 'HTTPS Proxy', info['HttpsProxy']),
    line(1, 'No Proxy', info['NoProxy']),
    listOf('Labels', info.Labels ?? []),
    line(1, 'Experimental', info['ExperimentalBuild'] ?? false),
    listOf('Insecure Registries', insecureOf(info)),
    listOf('Registry Mirrors', info.RegistryConfig?.Mirrors ?? []),
    line(1, 'Live Restore Enabled', info['LiveRestoreEnabled'] ?? false),
    listOf('Default Address Pools', pools),
  ].join('');
}

function formatClient(host: string): string {
  return `Client:\n Version:    ${clientVersion}\n Host:       ${host}\n Debug Mode: false\n\n`;
}

export const infoCommand: Command = {
  paths: ['info', 'system info'],
  summary: 'Display system-wide information',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [flag('-f, --format', 'string', formatUsage)],
  examples: [['How many containers run', "info -f '{{.ContainersRunning}}'"]],
  run: async ({ client, flags, io }) => {
    const format = flags.text('format');
    if (format === '') io.out(formatClient(client.host));
    const json = parseJson(await client.text('GET', '/info')) as Info;
    if (format === '') {
      io.out(formatInfo(json));
      for (const warning of json.Warnings ?? []) io.err(`${warning}\n`);
      return;
    }
    try {
      const template = compileTemplate(format === 'json' ? '{{json .}}' : format);
      io.out(`${template.run(toTyped(json, { ...dockerShape, optional: {} }, 'system.dockerInfo'))}\n`);
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      io.out('\n');
      throw new CliError(error.message);
    }
  },
};
