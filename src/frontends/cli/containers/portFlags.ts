/*
 * `-p` and `--expose` as the API's PortBindings and ExposedPorts. Pure. Texts are Docker's (go-connections/nat).
 * One addition: `,from=CIDR` (also several) says who may connect; the API takes it as labels.
 */
import { CliError } from '../cliError.ts';
import { splitPair } from '../flags.ts';

export interface Binding {
  readonly HostIp: string;
  readonly HostPort: string;
}

interface Range {
  readonly low: number;
  readonly high: number;
}

function parseRange(text: string, what: string): Range {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  const low = Number(match?.[1]);
  const high = Number(match?.[2] ?? match?.[1]);
  if (match === null || low > 65535 || high > 65535) throw new CliError(`invalid ${what}: ${text}`, 125);
  if (high < low) throw new CliError(`invalid ${what}: ${text}`, 125);
  return { low, high };
}

function splitProto(text: string): [port: string, proto: string] {
  const [port = '', proto = 'tcp'] = text.split('/');
  if (!['tcp', 'udp', 'sctp'].includes(proto.toLowerCase()))
    throw new CliError(`invalid proto: ${proto}`, 125);
  return [port, proto.toLowerCase()];
}

/** Long form: `published=80,target=8080,protocol=tcp`. */
function fromLongForm(text: string): string {
  const fields = Object.fromEntries(text.split(',').map(splitPair));
  return `${fields['published'] ?? ''}:${fields['target'] ?? ''}/${fields['protocol'] ?? 'tcp'}`.replace(
    /^:/,
    '',
  );
}

/** Splits `[ip:][host:]container`; an IPv6 address stands in brackets. */
function splitPublish(text: string): { ip: string; host: string; container: string } {
  const bracket = /^\[([^\]]+)\]:(.*)$/.exec(text);
  const parts = (bracket?.[2] ?? text).split(':');
  const container = parts.pop() ?? '';
  if (bracket !== null) return { ip: bracket[1] ?? '', host: parts.join(':'), container };
  const host = parts.pop() ?? '';
  return { ip: parts.join(':'), host, container };
}

/** `8080:80,from=10.0.0.0/8` → `8080:80` and the subnets. */
export function splitSources(text: string): {
  readonly publish: string;
  readonly sources: readonly string[];
} {
  const fields = text.split(',');
  const isSource = (field: string): boolean => field.startsWith('from=');
  return {
    publish: fields.filter((field) => !isSource(field)).join(','),
    sources: fields.filter(isSource).map((field) => field.slice('from='.length)),
  };
}

/** Label that the daemon reads: alone for every published port, with `.80/tcp` after it for one. */
const fromLabel = 'linkspan.publish.from';

/**
 * Who may connect, as labels. Throws CliError where two values of one container port say different things: there is
 * one label for both.
 */
export function planSources(publish: readonly string[]): Record<string, string> {
  const found = new Map<string, string>();
  for (const value of publish) {
    const { publish: short, sources } = splitSources(value);
    const bindings: Record<string, Binding[]> = {};
    publishOne(short, bindings);
    for (const port of Object.keys(bindings)) {
      const text = sources.join(',');
      if ((found.get(port) ?? text) !== text)
        throw new CliError(`conflicting values of from= for container port ${port}`, 125);
      found.set(port, text);
    }
  }
  const texts = new Set(found.values());
  const [only] = texts;
  if (texts.size === 1 && only !== undefined) return only === '' ? {} : { [fromLabel]: only };
  return Object.fromEntries(
    [...found].filter(([, text]) => text !== '').map(([port, text]) => [`${fromLabel}.${port}`, text]),
  );
}

/** Throws CliError for a malformed value. */
function publishOne(text: string, bindings: Record<string, Binding[]>): void {
  const short = /\w+=\w+/.test(text) ? fromLongForm(text) : text;
  const { ip, host, container } = splitPublish(short);
  const [ports, proto] = splitProto(container);
  if (ports === '') throw new CliError(`no port specified: ${text}<empty>`, 125);
  const inner = parseRange(ports, 'containerPort');
  const outer = host === '' ? undefined : parseRange(host, 'hostPort');
  const count = inner.high - inner.low;
  if (outer !== undefined && outer.high - outer.low !== count && count > 0)
    throw new CliError(`invalid ranges specified for container and host Ports: ${ports} and ${host}`, 125);
  for (let i = 0; i <= count; i++) {
    const isChoice = outer !== undefined && count === 0 && outer.high > outer.low;
    const hostPort = outer === undefined ? '' : isChoice ? host : String(outer.low + i);
    (bindings[`${inner.low + i}/${proto}`] ??= []).push({ HostIp: ip, HostPort: hostPort });
  }
}

/** Throws CliError for a malformed value. */
export function planPorts(
  publish: readonly string[],
  expose: readonly string[],
): { bindings: Record<string, Binding[]>; exposed: Record<string, object> | undefined } {
  const bindings: Record<string, Binding[]> = {};
  for (const value of publish) publishOne(splitSources(value).publish, bindings);
  const exposed: Record<string, object> = {};
  for (const port of Object.keys(bindings)) exposed[port] = {};
  for (const value of expose) {
    if (value.includes(':')) throw new CliError(`invalid port format for --expose: ${value}`, 125);
    const [ports, proto] = splitProto(value);
    const { low, high } = parseRange(ports, 'range format for --expose');
    for (let port = low; port <= high; port++) exposed[`${port}/${proto}`] = {};
  }
  return { bindings, exposed: Object.keys(exposed).length === 0 ? undefined : exposed };
}
