/*
 * An address with a port as text, `192.0.2.11:51851` or `[2001:db8::1]:51851` (RFC 3986 section 3.2.2). Pure.
 */
import { formatIp, type Ip, parseIp } from './ip.ts';

export interface HostPort {
  readonly ip: Ip;
  /** 0 to 65535. */
  readonly port: number;
}

export function formatHostPort({ ip, port }: HostPort): string {
  return ip.family === 6 ? `[${formatIp(ip)}]:${port}` : `${formatIp(ip)}:${port}`;
}

/** Undefined if the text is none. */
export function parseHostPort(text: string): HostPort | undefined {
  const [, host = '', digits = ''] = /^\[?([^\]]*)\]?:(\d{1,5})$/.exec(text) ?? [];
  const [ip, port] = [parseIp(host), Number(digits)];
  return ip === undefined || port > 65_535 ? undefined : { ip, port };
}

/** The address alone; empty if the text is none. */
export function hostOf(text: string): string {
  const ip = parseHostPort(text)?.ip;
  return ip === undefined ? '' : formatIp(ip);
}
