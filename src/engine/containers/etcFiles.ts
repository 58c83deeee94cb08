/*
 * The files that the engine lays over a container's /etc: hosts, hostname, resolv.conf. Texts as Docker Engine 28
 * writes them. Written in place, never replaced, because a running container has them bind-mounted.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { parseIp } from '../../net/ip.ts';
import type { ContainerSpec } from '../model.ts';

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

/** Those that hosts without a usable name server fall back to, as Docker does. */
const fallbackNameservers = ['8.8.8.8', '8.8.4.4'];

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

/**
 * /etc/resolv.conf of a container: the host's, less what it cannot reach, with --dns, --dns-search and --dns-option
 * in place of the host's. `--dns-search .` means none.
 */
export function formatResolvConf(
  hostText: string,
  wish: Pick<ContainerSpec, 'dns' | 'dnsSearch' | 'dnsOptions'>,
  hasHostNetwork: boolean,
): string {
  const isChanged = wish.dns.length + wish.dnsSearch.length + wish.dnsOptions.length > 0;
  if (hasHostNetwork && !isChanged) return hostText;
  const usable = valuesOf(hostText, 'nameserver').filter((server) => hasHostNetwork || isReachable(server));
  const inherited = usable.length === 0 && !hasHostNetwork ? fallbackNameservers : usable;
  const nameservers = wish.dns.length > 0 ? wish.dns : inherited;
  const search = wish.dnsSearch.length > 0 ? wish.dnsSearch : valuesOf(hostText, 'search');
  const options = wish.dnsOptions.length > 0 ? wish.dnsOptions : valuesOf(hostText, 'options');
  const lines = [
    ...nameservers.map((server) => `nameserver ${server}`),
    ...(search.length === 0 || (search.length === 1 && search[0] === '.')
      ? []
      : [`search ${search.join(' ')}`]),
    ...(options.length === 0 ? [] : [`options ${options.join(' ')}`]),
  ];
  return `${lines.join('\n')}\n`;
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
