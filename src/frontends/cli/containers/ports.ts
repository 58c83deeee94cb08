/*
 * The PORTS column of `ps`, and `port`: published ports grouped into ranges. Pure.
 */
export interface PortRow {
  readonly IP?: string;
  readonly PrivatePort: number;
  readonly PublicPort?: number;
  readonly Type: string;
}

interface Group {
  first: number;
  last: number;
  readonly isSamePort: boolean;
}

/** `host:port` with IPv6 in brackets. */
export function joinHostPort(host: string, port: string | number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function compareRows(a: PortRow, b: PortRow): number {
  return (
    a.PrivatePort - b.PrivatePort ||
    compareText(a.IP ?? '', b.IP ?? '') ||
    (a.PublicPort ?? 0) - (b.PublicPort ?? 0) ||
    compareText(a.Type, b.Type)
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function formatGroup(key: string, { first, last }: Group): string {
  const [ip, type = ''] = key.includes('/') ? splitKey(key) : [undefined, key];
  const inner = first === last ? String(first) : `${first}-${last}`;
  return ip === undefined ? `${inner}/${type}` : `${joinHostPort(ip, inner)}->${inner}/${type}`;
}

function splitKey(key: string): [string, string] {
  const at = key.lastIndexOf('/');
  return [key.slice(0, at), key.slice(at + 1)];
}

/** `0.0.0.0:8080->80/tcp, 90-92/udp`. */
export function formatPorts(rows: readonly PortRow[]): string {
  const groups = new Map<string, Group>();
  const done: string[] = [];
  const single: string[] = [];
  for (const row of [...rows].sort(compareRows)) {
    const { PrivatePort: inner, PublicPort: outer = 0, IP: ip = '', Type: type } = row;
    if (ip !== '' && outer !== inner) {
      single.push(`${joinHostPort(ip, outer)}->${inner}/${type}`);
      continue;
    }
    const key = ip === '' ? type : `${ip}/${type}`;
    const group = groups.get(key);
    if (group !== undefined && inner === group.last + 1) {
      group.last = inner;
      continue;
    }
    if (group !== undefined) done.push(formatGroup(key, group));
    groups.set(key, { first: inner, last: inner, isSamePort: true });
  }
  for (const [key, group] of groups) done.push(formatGroup(key, group));
  return [...done, ...single].join(', ');
}
