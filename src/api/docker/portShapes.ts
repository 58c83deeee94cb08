/*
 * Published ports at the edge: Docker's PortBindings, `NetworkSettings.Ports` and the `Ports` of a list (Engine API
 * 1.50), and the engine's requests and bindings. Who may connect has no field in Docker's shapes: it comes by labels.
 */
import { expandRequests, mergeRequests } from '../../engine/bindings/requests.ts';
import type { Binding, Container, PortRequest } from '../../engine/model.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { parseIp } from '../../net/ip.ts';
import { formatPrefix, parseSource } from '../../net/prefix.ts';
import { type Proto, parseProto } from '../../net/proto.ts';
import { parsePortRange } from './ports.ts';

export interface PortBindingBody {
  readonly HostIp: string;
  readonly HostPort: string;
}

export type PortBindingsBody = Readonly<Record<string, readonly PortBindingBody[] | undefined>>;
type Labels = Readonly<Record<string, string>>;

/** Label: who may connect to every published port; with `.80/tcp` after it, to that port of the container. */
const fromLabel = 'linkspan.publish.from';

function invalid(message: string): LinkspanError {
  return new LinkspanError('containerConfigInvalid', message);
}

function splitPort(text: string): readonly [port: string, proto: Proto] {
  const [port = '', name = 'tcp', ...rest] = text.split('/');
  const proto = parseProto(name);
  if (proto === undefined || rest.length > 0) throw invalid(`invalid port specification: "${text}"`);
  return [port, proto];
}

function containerPortsOf(text: string): {
  readonly proto: Proto;
  readonly first: number;
  readonly last: number;
} {
  const [port, proto] = splitPort(text);
  const range = parsePortRange(port);
  if (range === undefined) throw invalid(`invalid port specification: "${port}"`);
  return { proto, first: range.first, last: range.last };
}

/** `''` and `0` = ephemeral. */
function hostPortsOf(text: string): PortRequest['hostPorts'] {
  const [port] = text === '' ? [''] : splitPort(text);
  if (port === '' || port === '0') return undefined;
  const range = parsePortRange(port);
  if (range === undefined) throw invalid(`invalid port specification: "${text}"`);
  return { first: range.first, last: range.last };
}

/** Subnets as text, host bits cleared. Throws code containerConfigInvalid. */
export function parseSources(texts: readonly string[], port: string): readonly string[] {
  return texts
    .flatMap((text) => text.split(','))
    .filter((text) => text !== '')
    .map((text) => {
      const prefix = parseSource(text);
      if (prefix === undefined)
        throw invalid(`invalid source for published port ${port}: "${text}" is not a subnet`);
      return formatPrefix(prefix);
    });
}

function sourcesOf(port: number, proto: Proto, labels: Labels): readonly string[] {
  const name = `${port}/${proto}`;
  const own =
    labels[`${fromLabel}.${name}`] ?? (proto === 'tcp' ? labels[`${fromLabel}.${port}`] : undefined);
  return parseSources([own ?? labels[fromLabel] ?? ''], name);
}

function requestsOf(
  key: string,
  { HostIp, HostPort }: PortBindingBody,
  sources: (port: number, proto: Proto) => readonly string[],
): readonly PortRequest[] {
  const { proto, first, last } = containerPortsOf(key);
  const hostPorts = hostPortsOf(HostPort);
  if (HostIp !== '' && parseIp(HostIp) === undefined) throw invalid(`invalid IP address: ${HostIp}`);
  const count = last - first + 1;
  if (count > 1 && hostPorts !== undefined && hostPorts.last - hostPorts.first + 1 !== count)
    throw invalid(`invalid ranges specified for container and host Ports: ${key} and ${HostPort}`);
  return expandRequests([
    {
      proto,
      port: first,
      count,
      hostIp: HostIp,
      ...(hostPorts !== undefined && { hostPorts }),
      sources: [],
    },
  ]).map((request) => ({ ...request, sources: sources(request.port, proto) }));
}

/**
 * What the body asks to be published, runs merged. `from` is who may connect where no label says. Throws code
 * containerConfigInvalid with Docker's texts.
 */
export function toPortRequests(
  body: PortBindingsBody,
  labels: Labels,
  from: readonly string[] = [],
): readonly PortRequest[] {
  const sources = (port: number, proto: Proto): readonly string[] =>
    from.length > 0 ? from : sourcesOf(port, proto, labels);
  const single = Object.entries(body).flatMap(([key, bindings]) => {
    containerPortsOf(key);
    return (bindings ?? []).flatMap((binding) => requestsOf(key, binding, sources));
  });
  const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return mergeRequests(
    single.toSorted(
      (a, b) =>
        compare(a.proto, b.proto) ||
        compare(a.hostIp, b.hostIp) ||
        a.port - b.port ||
        (a.hostPorts?.first ?? 0) - (b.hostPorts?.first ?? 0),
    ),
  );
}

type Shape = Record<string, unknown>;

/** Go prints the keys of a map in order. */
function sortedShape(entries: Iterable<readonly [string, unknown]>): Shape {
  return Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function hostPortText({ hostPorts }: PortRequest): string {
  if (hostPorts === undefined) return '';
  const { first, last } = hostPorts;
  return first === last ? String(first) : `${first}-${last}`;
}

/** HostConfig.PortBindings: what was asked for. */
export function portBindingsShape(requests: readonly PortRequest[]): Shape {
  const found = new Map<string, PortBindingBody[]>();
  for (const request of expandRequests(requests)) {
    const key = `${request.port}/${request.proto}`;
    const entry = { HostIp: request.hostIp, HostPort: hostPortText(request) };
    found.set(key, [...(found.get(key) ?? []), entry]);
  }
  return sortedShape(found);
}

interface SinglePort {
  readonly key: string;
  readonly port: number;
  readonly binding: Binding;
  readonly hostPort: number;
}

function singlePorts(bindings: readonly Binding[]): readonly SinglePort[] {
  return bindings.flatMap((binding) =>
    Array.from({ length: binding.count }, (_, i) => ({
      key: `${binding.port + i}/${binding.proto}`,
      port: binding.port + i,
      binding,
      hostPort: binding.hostPort === 0 ? 0 : binding.hostPort + i,
    })),
  );
}

/** True while ports of this container can be reached or named. */
function hasPorts({ state, spec }: Container): boolean {
  return (state === 'running' || state === 'paused') && spec.networkMode.type === 'networks';
}

/** NetworkSettings.Ports: exposed but not published is null. */
export function portMapShape(container: Container, bindings: readonly Binding[]): Shape {
  if (!hasPorts(container)) return {};
  const found = new Map<string, PortBindingBody[] | null>(
    container.process.exposedPorts.map((port) => [port, null]),
  );
  for (const { key, binding, hostPort } of singlePorts(bindings)) {
    const entry = { HostIp: binding.hostIp, HostPort: hostPort === 0 ? '' : String(hostPort) };
    found.set(key, [...(found.get(key) ?? []), entry]);
  }
  return sortedShape(found);
}

/** `Ports` of an element of `GET /containers/json`. */
export function portListShape(container: Container, bindings: readonly Binding[]): readonly Shape[] {
  if (!hasPorts(container)) return [];
  const published = singlePorts(bindings);
  const keys = new Set(published.map(({ key }) => key));
  const exposed = container.process.exposedPorts
    .filter((port) => !keys.has(port))
    .map((port) => {
      const [number = '', type = 'tcp'] = port.split('/');
      return { PrivatePort: Number(number), Type: type };
    });
  return [
    ...exposed,
    ...published.map(({ port, binding, hostPort }) =>
      hostPort === 0
        ? { PrivatePort: port, Type: binding.proto }
        : { IP: binding.hostIp, PrivatePort: port, PublicPort: hostPort, Type: binding.proto },
    ),
  ];
}
