/*
 * Where a registry is and how it may be spoken to. HTTPS always, and plain HTTP after it only for loopback addresses
 * and for registries that the daemon's `--insecure-registry` names, as Docker does. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { parseIp } from '../../net/ip.ts';
import { containsIp, parsePrefix } from '../../net/prefix.ts';
import { hubDomain } from '../images/reference.ts';

/** Docker Hub's names are `docker.io/…`; its registry is another host. */
const hubRegistry = 'registry-1.docker.io';

const loopback = ['127.0.0.0/8', '::1/128'];

/** `host` of `host:port`, without the brackets of an IPv6 address. */
export function hostOf(domain: string): string {
  const match = /^(?:\[([^\]]+)\]|([^:]*))(?::\d+)?$/.exec(domain);
  return match?.[1] ?? match?.[2] ?? domain;
}

function isWithin(host: string, cidr: string): boolean {
  const [ip, prefix] = [parseIp(host), parsePrefix(cidr)];
  return ip !== undefined && prefix !== undefined && containsIp(prefix, ip);
}

/** True if plain HTTP may be tried. `insecure` holds hosts, `host:port` and networks in CIDR form. */
export function allowsPlainHttp(domain: string, insecure: readonly string[]): boolean {
  const host = hostOf(domain);
  return (
    host === 'localhost' ||
    loopback.some((cidr) => isWithin(host, cidr)) ||
    insecure.some((entry) => entry === domain || entry === host || isWithin(host, entry))
  );
}

/** Base URLs to try in order, without a slash at the end. `domain` is that of an image's name. */
export function registryUrls(domain: string, insecure: readonly string[]): readonly string[] {
  const host = domain === hubDomain ? hubRegistry : domain;
  const secure = `https://${host}`;
  return allowsPlainHttp(domain, insecure) ? [secure, `http://${host}`] : [secure];
}

/** The base URL of a mirror, without a slash at the end. Throws requestInvalid with Docker's texts. */
export function parseMirror(given: string): string {
  const refuse = (why: string): never => {
    throw new LinkspanError('requestInvalid', `invalid mirror: ${why}`);
  };
  const url = URL.parse(given);
  if (url === null) return refuse(`"${given}" is not a valid URI`);
  const scheme = url.protocol.slice(0, -1);
  if (scheme !== 'http' && scheme !== 'https') refuse(`unsupported scheme "${scheme}" in "${given}"`);
  if (url.pathname !== '/' || /[?#]/.test(given))
    refuse(`path, query, or fragment at end of the URI "${given}"`);
  if (url.username !== '' || url.password !== '')
    refuse(`username/password not allowed in URI "${url.protocol}//xxxxx:xxxxx@${url.host}"`);
  return url.origin;
}

/** Host, `host:port` or network of an insecure registry; a scheme of HTTP is taken off. Throws requestInvalid. */
export function parseInsecure(given: string): string {
  const bare = given.replace(/^https?:\/\//i, '');
  if (bare.includes('://'))
    throw new LinkspanError('requestInvalid', `insecure registry ${given} should not contain '://'`);
  return bare;
}
