/*
 * The files that the engine lays over a container's /etc: hosts, hostname, resolv.conf. Texts as Docker Engine 28
 * writes them. Written in place, never replaced, because a running container has them bind-mounted.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { parseIp } from '../../net/ip.ts';
import type { ContainerSpec, Endpoint } from '../model.ts';

const hostsHead = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

/** Splits `name:ip` (or `name=ip`) of --add-host. Throws containerConfigInvalid with Docker's texts. */
export function parseExtraHost(text: string): { readonly name: string; readonly ip: string } {
  const match = /^([^:=]+)[:=](.+)$/.exec(text);
  const [, name = '', given = ''] = match ?? [];
  if (match === null) {
    throw new LinkspanError('containerConfigInvalid', `bad format for add-host: "${text}"`);
  }
  const ip = given.startsWith('[') && given.endsWith(']') ? given.slice(1, -1) : given;
  if (ip !== 'host-gateway' && parseIp(ip) === undefined) {
    throw new LinkspanError('containerConfigInvalid', `invalid IP address in add-host: "${given}"`);
  }
  return { name, ip };
}

/** The names of a container in its own hosts file: `web.example.org web`, or just `web`. */
export function ownNames(hostname: string, domainname: string): string {
  return domainname === '' ? hostname : `${hostname}.${domainname} ${hostname}`;
}

/** /etc/hosts of a container: the head (Docker's, or the machine's own), extra hosts, then a line per own address. */
export function formatHosts(options: {
  readonly head?: string;
  readonly extraHosts: readonly string[];
  readonly hostGatewayIps: readonly string[];
  /** Whole lines about linked containers. */
  readonly linkLines?: readonly string[];
  readonly addresses: readonly string[];
  readonly names: string;
}): string {
  const extra = options.extraHosts.map(parseExtraHost).flatMap(({ name, ip }) => {
    if (ip === 'host-gateway') return options.hostGatewayIps.map((gateway) => `${gateway}\t${name}\n`);
    return `${ip}\t${name}\n`;
  });
  return (
    (options.head ?? hostsHead) +
    extra.join('') +
    (options.linkLines ?? []).join('') +
    options.addresses.map((ip) => `${ip}\t${options.names}\n`).join('')
  );
}

/** The same file after the addresses changed (connect, disconnect): only lines of exactly our form are touched. */
export function updateHosts(text: string, addresses: readonly string[], names: string): string {
  const own = (line: string): string | undefined => {
    const [ip, rest] = line.split('\t', 2);
    return rest === names ? ip : undefined;
  };
  const lines = text.split('\n').filter((line) => {
    const ip = own(line);
    return ip === undefined || addresses.includes(ip) || ip === '127.0.0.1' || ip === '::1';
  });
  const present = new Set(lines.map(own));
  const body = lines.join('\n').replace(/\n*$/, '\n');
  return (
    body +
    addresses
      .filter((ip) => !present.has(ip))
      .map((ip) => `${ip}\t${names}\n`)
      .join('')
  );
}

/** Name servers, search domains and options: a container's own wish, or the daemon's. */
export type DnsSettings = Pick<ContainerSpec, 'dns' | 'dnsSearch' | 'dnsOptions'>;

/** Each setting is the container's if it has any, else the daemon's. */
export function withDefaults(wish: DnsSettings, defaults: DnsSettings): DnsSettings {
  const first = (own: readonly string[], other: readonly string[]): readonly string[] =>
    own.length > 0 ? own : other;
  return {
    dns: first(wish.dns, defaults.dns),
    dnsSearch: first(wish.dnsSearch, defaults.dnsSearch),
    dnsOptions: first(wish.dnsOptions, defaults.dnsOptions),
  };
}

/**
 * Whose servers a container's file names: the host's as they are (host network), the host's that can be reached, or
 * our resolver's, on user-defined networks.
 */
export type ResolvConfKind = 'host' | 'plain' | 'resolver';

export function resolvConfKind(
  spec: Pick<ContainerSpec, 'networkMode'>,
  endpoints: readonly Endpoint[],
): ResolvConfKind {
  if (spec.networkMode.type === 'host') return 'host';
  return endpoints.some(({ dnsNames }) => dnsNames.length > 0) ? 'resolver' : 'plain';
}

/** Those that hosts without a usable name server fall back to, as Docker does. */
const fallbackNameservers = ['8.8.8.8', '8.8.4.4'];
/** Where the resolver answers in every sandbox of a user-defined network. */
const resolverAddress = '127.0.0.11';

function valuesOf(text: string, keyword: string): readonly string[] {
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([first]) => first === keyword)
    .flatMap(([, ...values]) => values);
}

/** A name server on the host's loopback cannot be reached from another namespace. */
function isReachable(nameserver: string): boolean {
  return !nameserver.startsWith('127.') && nameserver !== '::1';
}

function nameserversOf(hostText: string, { dns }: DnsSettings, kind: ResolvConfKind): readonly string[] {
  if (kind === 'resolver') return [resolverAddress];
  if (dns.length > 0) return dns;
  const servers = valuesOf(hostText, 'nameserver');
  if (kind === 'host') return servers;
  const usable = servers.filter(isReachable);
  return usable.length > 0 ? usable : fallbackNameservers;
}

function optionsOf(hostText: string, { dnsOptions }: DnsSettings): readonly string[] {
  return dnsOptions.length > 0 ? dnsOptions : valuesOf(hostText, 'options');
}

/** The value of the option `ndots` that the user or the host sets; 0 if neither does. */
export function ndotsOf(hostText: string, settings: DnsSettings): number {
  const option = optionsOf(hostText, settings).findLast((text) => text.startsWith('ndots:'));
  const value = Number(option?.slice('ndots:'.length) ?? 0);
  return Number.isInteger(value) ? value : 0;
}

/**
 * /etc/resolv.conf of a container, from the host's and the settings that hold for it. `--dns-search .` means none.
 * With our resolver, whose names have no dots, `ndots:0` lets clients ask for them as they are; one set otherwise stays.
 */
export function formatResolvConf(hostText: string, settings: DnsSettings, kind: ResolvConfKind): string {
  const isChanged = settings.dns.length + settings.dnsSearch.length + settings.dnsOptions.length > 0;
  if (kind === 'host' && !isChanged) return hostText;
  const search = settings.dnsSearch.length > 0 ? settings.dnsSearch : valuesOf(hostText, 'search');
  const given = optionsOf(hostText, settings);
  const hasNdots = kind !== 'resolver' || given.some((option) => option.startsWith('ndots:'));
  const options = hasNdots ? given : [...given, 'ndots:0'];
  const lines = [
    ...nameserversOf(hostText, settings, kind).map((server) => `nameserver ${server}`),
    ...(search.length === 0 || (search.length === 1 && search[0] === '.')
      ? []
      : [`search ${search.join(' ')}`]),
    ...(options.length === 0 ? [] : [`options ${options.join(' ')}`]),
  ];
  return `${lines.join('\n')}\n`;
}

/** Beside a file that we wrote: what its content's digest was. */
function digestPath(path: string): string {
  return `${path}.hash`;
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Writes a resolv.conf and remembers that it is ours. */
export function writeResolvConf(path: string, text: string): void {
  writeInPlace(path, text);
  writeInPlace(digestPath(path), digestOf(text));
}

/** Writes it anew, unless the user has changed what we wrote. */
export function rewriteResolvConf(path: string, text: string): void {
  const present = readText(path);
  if (present !== text && digestOf(present) === readText(digestPath(path))) writeResolvConf(path, text);
}

/** The text of a small file; empty if it is not there. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** Overwrites in place (same inode), mode 0644. */
export function writeInPlace(path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o644 });
}
