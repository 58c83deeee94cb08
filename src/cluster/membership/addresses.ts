/*
 * Which addresses a node has in a swarm, from what a user types and what the machine has; Docker's rules and texts
 * (Engine 28, daemon/cluster/listen_addr.go). Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { equalIp, formatIp, type Ip, isLoopback, parseIp } from '../../net/ip.ts';
import type { NodeAddresses } from '../swarm.ts';
import { formatHostPort } from '../../net/hostPort.ts';

export const defaultPort = 2377;

/** An address of the machine that is no loopback or link-local one. */
export interface SystemAddress {
  readonly link: string;
  readonly ip: Ip;
}

/** Host and port of `host`, `host:port`, `[v6]:port` or a bare IPv6 address; undefined if the port is none. */
export function splitHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^\[(.*)\](?::(\d+))?$/.exec(text) ?? /^([^:]*)(?::(\d+))?$/.exec(text);
  if (match === null) return parseIp(text) === undefined ? undefined : { host: text, port: defaultPort };
  const [, host = '', portText] = match;
  const port = portText === undefined ? defaultPort : Number(portText);
  return port > 65535 ? undefined : { host, port };
}

/** Of an address that we made. */
export function hostOf(address: string): string {
  return splitHostPort(address)?.host ?? '';
}

function refuse(message: string): never {
  throw new LinkspanError('requestInvalid', message);
}

function split(text: string, what: string): { readonly host: string; readonly port: number } {
  return (
    splitHostPort(text) ??
    refuse(`${what} must be an IP address or network interface (with optional port number)`)
  );
}

/** Of the link called `host`, if there is one: its only address, or its only IPv4 one. */
function ofLink(host: string, system: readonly SystemAddress[]): Ip | undefined {
  const own = system.filter(({ link }) => link === host);
  if (own.length === 0) return undefined;
  const v4 = own.filter(({ ip }) => ip.family === 4);
  const chosen = v4.length > 0 ? v4 : own;
  if (chosen.length > 1)
    refuse(
      `interface ${host} has more than one IPv${chosen[0]?.ip.family === 4 ? 4 : 6} address (${chosen.map(({ ip }) => formatIp(ip)).join(' and ')})`,
    );
  return chosen[0]?.ip;
}

function isUnspecified(ip: Ip): boolean {
  return ip.bits === 0n;
}

/** The machine's one address, IPv4 before IPv6. */
function onlyAddress(system: readonly SystemAddress[]): Ip {
  const v4 = system.filter(({ ip }) => ip.family === 4);
  const candidates = v4.length > 0 ? v4 : system;
  const [first, second] = candidates;
  if (first === undefined)
    return refuse("could not find the system's IP address - specify one with --advertise-addr");
  if (second === undefined) return first.ip;
  const where =
    first.link === second.link
      ? `on interface ${first.link} (${formatIp(first.ip)} and ${formatIp(second.ip)})`
      : `on different interfaces (${formatIp(first.ip)} on ${first.link} and ${formatIp(second.ip)} on ${second.link})`;
  return refuse(
    `could not choose an IP address to advertise since this system has multiple addresses ${where} - specify one with --advertise-addr`,
  );
}

/** The machine's own one where others are told of another's (a NAT that passes on what comes). */
function ownAddress(listen: Ip, system: readonly SystemAddress[]): Ip {
  if (!isUnspecified(listen)) return listen;
  try {
    return onlyAddress(system);
  } catch {
    return refuse(
      "must specify a listening address because the address to advertise is not recognized as a system address, and a system's IP address to use could not be uniquely identified",
    );
  }
}

export interface ResolvedAddresses {
  readonly listen: string;
  /** Where others are told to come. */
  readonly advertise: string;
  /** One of this machine's. */
  readonly dataPath: string;
}

/** Code requestInvalid with Docker's texts. */
export function resolveAddresses(
  { listen, advertise, dataPath }: Pick<NodeAddresses, 'listen' | 'advertise' | 'dataPath'>,
  system: readonly SystemAddress[],
): ResolvedAddresses {
  const wanted = split(listen === '' ? `0.0.0.0:${defaultPort}` : listen, 'listen address');
  const listenIp = ofLink(wanted.host, system) ?? parseIp(wanted.host);
  if (listenIp === undefined)
    return refuse('listen address must be an IP address or network interface (with optional port number)');
  const advertised = advertise === '' ? undefined : split(advertise, 'advertise address');
  const advertiseIp =
    advertised === undefined
      ? isUnspecified(listenIp)
        ? onlyAddress(system)
        : listenIp
      : (ofLink(advertised.host, system) ?? parseIp(advertised.host));
  if (advertiseIp === undefined)
    return refuse(
      'advertise address must be a non-zero IP address or network interface (with optional port number)',
    );
  if (isUnspecified(advertiseIp)) return refuse('advertise address must be a non-zero IP address');
  const isOurs = (ip: Ip): boolean => isLoopback(ip) || system.some((own) => equalIp(own.ip, ip));
  if (!isUnspecified(listenIp) && !isOurs(listenIp))
    return refuse(`listen address ${formatIp(listenIp)} is not an address of this machine`);
  const ownIp = isOurs(advertiseIp) ? advertiseIp : ownAddress(listenIp, system);
  const dataIp = dataPath === '' ? ownIp : (ofLink(dataPath, system) ?? parseIp(dataPath));
  if (dataIp === undefined || isUnspecified(dataIp))
    return refuse('data path address must be a non-zero IP address or network interface');
  // A tunnel cannot send from another's: everything would be lost without a word.
  if (!isOurs(dataIp))
    return refuse(`data path address ${formatIp(dataIp)} is not an address of this machine`);
  return {
    listen: formatHostPort({ ip: listenIp, port: wanted.port }),
    advertise: formatHostPort({ ip: advertiseIp, port: advertised?.port ?? wanted.port }),
    dataPath: formatIp(dataIp),
  };
}
