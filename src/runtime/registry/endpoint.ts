/*
 * Where a registry is and how it may be spoken to. HTTPS always, and plain HTTP after it only for loopback addresses
 * and for registries that the daemon's `--insecure-registry` names, as Docker does. Pure.
 */
import { parseIp } from '../../net/ip.ts';
import { containsIp, parsePrefix } from '../../net/prefix.ts';

/** Docker Hub's names are `docker.io/…`; its registry is another host. */
const hubDomain = 'docker.io';
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
