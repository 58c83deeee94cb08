/*
 * The daemon's configuration: command line and daemon.json put together, checked, with defaults. A directive given in
 * both places is refused, as dockerd does.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { type BuilderAddress, parseBuilderAddress } from '../builder/address.ts';
import { LinkspanError, messageOf } from '../errors/linkspanError.ts';
import { defaultPoolSources, type PoolSource, parsePoolSource } from '../ipam/pools.ts';
import { parseIp } from '../net/ip.ts';
import { parseIpWithLength, parsePrefix } from '../net/prefix.ts';
import { parseInsecure, parseMirror } from '../runtime/registry/endpoint.ts';
import { checkLogConfig, type LogConfig } from '../runtime/stdio/logOptions.ts';
import { type FlagRow, flagRows, isRefusedValue } from './flags.ts';

const logLevels = ['debug', 'info', 'warn', 'error', 'fatal'] as const;
export type LogLevel = (typeof logLevels)[number];

export type ListenAddress =
  | { readonly type: 'unix'; readonly path: string }
  | { readonly type: 'tcp'; readonly host: string; readonly port: number };

/** Of a swarm's records. */
export interface StoreConfig {
  /** `192.0.2.21:2379`, at least one. */
  readonly endpoints: readonly string[];
  /** Files. All absent = plain text; certificate and key come together. */
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
}

export interface DaemonConfig {
  readonly listen: readonly ListenAddress[];
  readonly configFile: string;
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly pidfile: string;
  readonly group: string | undefined;
  readonly logLevel: LogLevel;
  /** Of containers that name no driver. */
  readonly containerLog: LogConfig;
  readonly labels: readonly string[];
  readonly containerd: string | undefined;
  /** undefined = images are not built. */
  readonly builder: BuilderAddress | undefined;
  readonly cgroupParent: string | undefined;
  /** Of containers that name none. */
  readonly defaultIpcMode: 'private' | 'shareable';
  readonly poolSources: readonly PoolSource[];
  /** undefined = decide (docker0 or linkspan0); `none` = no default network. */
  readonly bridge: string | undefined;
  readonly bip: string | undefined;
  readonly fixedCidr: string | undefined;
  readonly ipv6: boolean;
  readonly bip6: string | undefined;
  readonly fixedCidrV6: string | undefined;
  readonly mtuBytes: number | undefined;
  readonly allowsIcc: boolean;
  readonly checksSources: boolean;
  readonly masquerades: boolean;
  /** Driver → option → value. */
  readonly networkOptions: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly ipForward: boolean;
  readonly ipForwardNoDrop: boolean;
  readonly firewallIntegration: 'auto' | 'off';
  readonly publishPolicy: 'open' | 'host-input';
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly hostGatewayIps: readonly string[];
  readonly insecureRegistries: readonly string[];
  readonly registryMirrors: readonly string[];
  /** UDP, of encrypted tunnels. */
  readonly encryptionPort: number;
  /** A file; see the flag. */
  readonly encryptionSecret: string | undefined;
  /** undefined = the database of this node. */
  readonly store: StoreConfig | undefined;
  /** Flags that were given and change nothing, with the reason. */
  readonly ignored: readonly string[];
}

type Values = Readonly<Record<string, unknown>>;

function invalid(text: string): LinkspanError {
  return new LinkspanError('requestInvalid', text);
}

function parseSwitch(text: string): boolean {
  if (['true', '1', 't', 'T', 'TRUE', 'True'].includes(text)) return true;
  if (['false', '0', 'f', 'F', 'FALSE', 'False'].includes(text)) return false;
  throw invalid(`not true or false: ${text}`);
}

function toOption(row: FlagRow): Option {
  const value = row.kind === 'switch' ? ' [bool]' : ` <${row.kind}>`;
  const note =
    row.ignored !== undefined
      ? `(no effect: ${row.ignored})`
      : row.refused !== undefined
        ? `(refused: ${row.refused})`
        : '';
  const option = new Option(
    `${row.short === undefined ? '' : `-${row.short}, `}--${row.flag}${value}`,
    row.about || note,
  );
  if (row.kind === 'list')
    option.argParser((text: string, before: string[] | undefined) => [...(before ?? []), text]);
  if (row.kind === 'switch') option.preset('true').argParser(parseSwitch);
  if (row.kind === 'number')
    option.argParser((text: string) => {
      if (!/^\d+$/.test(text)) throw invalid(`--${row.flag} takes a number, not ${text}`);
      return Number(text);
    });
  return option;
}

function parseFlags(args: readonly string[], name: string): Values {
  const command = new Command(name)
    .description('Container networks and containers, with the Docker Engine API.')
    .allowExcessArguments(false)
    .helpOption('--help', 'this text')
    .version('0.1.0', '-v, --version')
    .exitOverride();
  // Names with dashes stay as they are: the file uses them too.
  for (const row of flagRows) {
    const option = toOption(row);
    option.attributeName = () => row.flag;
    command.addOption(option);
  }
  command.parse([...args], { from: 'user' });
  return command.opts();
}

function readConfigFile(path: string, isRequired: boolean): Values {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (!isRequired && (error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw invalid(`unable to configure the daemon with file ${path}: ${(error as Error).message}`);
  }
  if (text.trim() === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Values;
  } catch (error) {
    throw invalid(
      `unable to configure the daemon with file ${path}: invalid JSON: ${(error as Error).message}`,
    );
  }
  throw invalid(`unable to configure the daemon with file ${path}: not a JSON object`);
}

/** The file's values under flag names; pools become the flag's text form. */
function fromFile(values: Values, path: string): Values {
  const byKey = new Map(flagRows.map((row) => [row.key ?? row.flag, row]));
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(values)) {
    const row = byKey.get(key);
    if (row === undefined)
      throw invalid(
        `unable to configure the daemon with file ${path}: the following directives don't match any configuration option: ${key}`,
      );
    result[row.flag] = fromFileValue(row, value);
  }
  return result;
}

function fromFileValue(row: FlagRow, value: unknown): unknown {
  if (row.flag === 'default-address-pool' && Array.isArray(value))
    return (value as { base?: string; size?: number }[]).map(({ base, size }) => `base=${base},size=${size}`);
  if (row.flag === 'default-network-opt' && typeof value === 'object' && value !== null)
    return Object.entries(value as Record<string, Record<string, string>>).flatMap(([driver, options]) =>
      Object.entries(options).map(([key, text]) => `${driver}=${key}=${text}`),
    );
  if (row.flag === 'log-opt' && typeof value === 'object' && value !== null && !Array.isArray(value))
    return Object.entries(value as Record<string, unknown>).map(([key, text]) => `${key}=${String(text)}`);
  const fits = {
    text: typeof value === 'string',
    switch: typeof value === 'boolean',
    number: typeof value === 'number',
    list: Array.isArray(value) && value.every((item) => typeof item === 'string'),
  }[row.kind];
  if (!fits) throw invalid(`configuration option ${row.key ?? row.flag} has a value of the wrong type`);
  return value;
}

function parseListen(text: string): ListenAddress {
  if (text.startsWith('unix://')) return { type: 'unix', path: text.slice('unix://'.length) };
  const tcp = /^tcp:\/\/(\[?[0-9a-fA-F.:]+\]?|localhost):(\d{1,5})$/.exec(text);
  if (tcp === null) throw invalid(`cannot listen on ${text}: give unix://PATH or tcp://127.0.0.1:PORT`);
  const host = (tcp[1] ?? '').replace(/^\[|\]$/g, '');
  const isLoopback = host === 'localhost' || host === '::1' || host.startsWith('127.');
  if (!isLoopback) throw invalid(`cannot listen on ${text}: without TLS the API is served on loopback only`);
  return { type: 'tcp', host: host === 'localhost' ? '127.0.0.1' : host, port: Number(tcp[2]) };
}

function parseNetworkOptions(texts: readonly string[]): DaemonConfig['networkOptions'] {
  const result: Record<string, Record<string, string>> = {};
  for (const text of texts) {
    const match = /^([^=]+)=([^=]+)=(.*)$/.exec(text);
    if (match === null) throw invalid(`--default-network-opt takes DRIVER=KEY=VALUE, not ${text}`);
    const [, driver = '', key = '', value = ''] = match;
    result[driver] = { ...result[driver], [key]: value };
  }
  return result;
}

function parseLog(driver = 'json-file', texts: readonly string[]): LogConfig {
  const options = Object.fromEntries(
    texts.map((text) => {
      const [, key = '', value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
      if (key === '') throw invalid(`--log-opt takes KEY=VALUE, not ${text}`);
      return [key, value];
    }),
  );
  const config = { driver, options };
  try {
    checkLogConfig(config);
  } catch (error) {
    throw invalid(`failed to set log opts: ${messageOf(error)}`);
  }
  return config;
}

/** Docker's texts. */
function parseIpcMode(mode: string): DaemonConfig['defaultIpcMode'] {
  if (mode === 'private' || mode === 'shareable') return mode;
  const hint = 'use "shareable" or "private"';
  throw invalid(
    /^(?:host|none|container:.*)$/.test(mode)
      ? `IPC mode "${mode}" is not supported as default value; ${hint}`
      : `default IPC mode setting (${mode}) is invalid; ${hint}`,
  );
}

function parsePools(texts: readonly string[]): readonly PoolSource[] {
  if (texts.length === 0) return defaultPoolSources();
  return texts.map((text) => {
    const source = parsePoolSource(text);
    if (source === undefined) throw invalid(`invalid default address pool: ${text}`);
    return source;
  });
}

function parseBuilder(text: string | undefined): BuilderAddress | undefined {
  if (text === undefined) return undefined;
  const address = parseBuilderAddress(text);
  if (address === undefined)
    throw invalid(`invalid --builder: ${text}: give unix:///PATH or tcp://HOST:PORT of a BuildKit`);
  return address;
}

function parseStore(
  url: string | undefined,
  ca: string | undefined,
  certificate: string | undefined,
  key: string | undefined,
): StoreConfig | undefined {
  if (url === undefined) {
    if ((ca ?? certificate ?? key) !== undefined)
      throw invalid('--store-ca, --store-cert and --store-key need --store');
    return undefined;
  }
  const [scheme, list = ''] = url.split('://');
  const endpoints = list.split(',');
  const isEndpoint = (one: string): boolean => {
    const [, ip6, name = '', port] = /^(?:\[([0-9a-fA-F:]+)\]|([\w.-]+)):(\d{1,5})$/.exec(one) ?? [];
    if (Number(port) < 1 || Number(port) > 65_535) return false;
    return ip6 === undefined ? name !== '' : parseIp(ip6)?.family === 6;
  };
  if (scheme !== 'etcd' || !endpoints.every(isEndpoint))
    throw invalid(`invalid --store: ${url}: give etcd://HOST:PORT[,HOST:PORT...]`);
  if ((certificate === undefined) !== (key === undefined))
    throw invalid('--store-cert and --store-key come together');
  return {
    endpoints,
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { certificate }),
    ...(key === undefined ? {} : { key }),
  };
}

function checkValues(config: DaemonConfig): void {
  const { bip, bip6, fixedCidr, fixedCidrV6 } = config;
  for (const [flag, family, value] of [
    ['bip', 4, bip],
    ['bip6', 6, bip6],
  ] as const)
    if (value !== undefined && parseIpWithLength(value)?.ip.family !== family)
      throw invalid(`invalid --${flag}: ${value}`);
  for (const [flag, family, value] of [
    ['fixed-cidr', 4, fixedCidr],
    ['fixed-cidr-v6', 6, fixedCidrV6],
  ] as const)
    if (value !== undefined && parsePrefix(value)?.base.family !== family)
      throw invalid(`invalid --${flag}: ${value}`);
  if (config.bridge !== undefined && config.bridge !== 'none' && (bip ?? bip6) !== undefined)
    throw invalid(`you specified -b & --${bip === undefined ? 'bip6' : 'bip'}, mutually exclusive options`);
  if (!config.ipv6 && (bip6 ?? fixedCidrV6) !== undefined)
    throw invalid(`--${bip6 === undefined ? 'fixed-cidr-v6' : 'bip6'} needs --ipv6`);
  for (const address of [...config.dns, ...config.hostGatewayIps])
    if (parseIp(address) === undefined) throw invalid(`IP address is not correctly formatted: ${address}`);
  if (config.encryptionPort < 1 || config.encryptionPort > 65_535)
    throw invalid(`invalid --encryption-port: ${config.encryptionPort}`);
  if (config.mtuBytes !== undefined && (config.mtuBytes < 68 || config.mtuBytes > 65535))
    throw invalid(`invalid --mtu: ${config.mtuBytes}`);
}

/**
 * Reads `args` (without the program's name) and the configuration file. Throws LinkspanError requestInvalid or
 * notImplemented, or commander's own error for --help, --version and unknown flags.
 */
export function readConfig(args: readonly string[], name: string): DaemonConfig {
  const flags = parseFlags(args, name);
  const configFile = (flags['config-file'] as string | undefined) ?? '/etc/linkspan/daemon.json';
  const file = fromFile(readConfigFile(configFile, flags['config-file'] !== undefined), configFile);
  const both = Object.keys(file).filter((key) => key in flags);
  if (both.length > 0)
    throw invalid(
      `unable to configure the daemon with file ${configFile}: the following directives are specified both as a flag and in the configuration file: ${both.join(', ')}`,
    );
  const values: Values = { ...file, ...flags };
  for (const { flag, refused } of flagRows) {
    if (refused !== undefined && isRefusedValue(values[flag]))
      throw new LinkspanError('notImplemented', `--${flag} is refused: ${refused}`);
  }
  const text = (flag: string): string | undefined => values[flag] as string | undefined;
  const list = (flag: string): readonly string[] => (values[flag] as string[] | undefined) ?? [];
  const isOn = (flag: string, otherwise: boolean): boolean =>
    (values[flag] as boolean | undefined) ?? otherwise;
  const execRoot = text('exec-root') ?? '/run/linkspan';
  const level = isOn('debug', false) ? 'debug' : (text('log-level') ?? 'info');
  if (!logLevels.includes(level as LogLevel)) throw invalid(`invalid logging level: ${level}`);
  const integration = text('firewall-integration') ?? 'auto';
  if (integration !== 'auto' && integration !== 'off')
    throw invalid(`--firewall-integration is auto or off, not ${integration}`);
  const policy = text('publish-policy') ?? 'open';
  if (policy !== 'open' && policy !== 'host-input')
    throw invalid(`--publish-policy is open or host-input, not ${policy}`);
  const hosts = list('host');
  const config: DaemonConfig = {
    listen: (hosts.length > 0 ? hosts : [`unix://${join(execRoot, 'linkspan.sock')}`]).map(parseListen),
    configFile,
    dataRoot: text('data-root') ?? '/var/lib/linkspan',
    execRoot,
    pidfile: text('pidfile') ?? join(execRoot, 'linkspand.pid'),
    group: text('group'),
    logLevel: level as LogLevel,
    containerLog: parseLog(text('log-driver'), list('log-opt')),
    labels: list('label'),
    containerd: text('containerd'),
    builder: parseBuilder(text('builder')),
    cgroupParent: text('cgroup-parent'),
    defaultIpcMode: parseIpcMode(text('default-ipc-mode') ?? 'private'),
    poolSources: parsePools(list('default-address-pool')),
    bridge: text('bridge'),
    bip: text('bip'),
    fixedCidr: text('fixed-cidr'),
    ipv6: isOn('ipv6', false),
    bip6: text('bip6'),
    fixedCidrV6: text('fixed-cidr-v6'),
    mtuBytes: values['mtu'] as number | undefined,
    allowsIcc: isOn('icc', true),
    checksSources: isOn('anti-spoof', true),
    masquerades: isOn('ip-masq', true),
    networkOptions: parseNetworkOptions(list('default-network-opt')),
    ipForward: isOn('ip-forward', true),
    ipForwardNoDrop: isOn('ip-forward-no-drop', false),
    firewallIntegration: integration,
    publishPolicy: policy,
    dns: list('dns'),
    dnsSearch: list('dns-search'),
    dnsOptions: list('dns-opt'),
    hostGatewayIps: list('host-gateway-ip'),
    insecureRegistries: list('insecure-registry').map(parseInsecure),
    registryMirrors: list('registry-mirror').map(parseMirror),
    encryptionPort: (values['encryption-port'] as number | undefined) ?? 51_851,
    encryptionSecret: text('encryption-secret'),
    store: parseStore(text('store'), text('store-ca'), text('store-cert'), text('store-key')),
    ignored: flagRows.flatMap(({ flag, ignored }) =>
      ignored !== undefined && flag in values ? `--${flag} has no effect: ${ignored}` : [],
    ),
  };
  checkValues(config);
  return config;
}

/** True for the ways in which commander ends a program by itself: help, version, wrong usage. */
export function isUsageEnd(error: unknown): error is CommanderError {
  return error instanceof CommanderError;
}
