/*
 * Port requests as lists: single ports to runs and back, so that ten thousand ports are one entry, and what a change
 * of a running container's ports leaves. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Proto } from '../../net/proto.ts';
import type { Binding, PortRequest } from '../model.ts';

const sameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((one, i) => one === b[i]);

/** One request a container port. */
export function expandRequests(requests: readonly PortRequest[]): readonly PortRequest[] {
  return requests.flatMap((request) => {
    const { count, port, hostPorts, ...rest } = request;
    if (count === 1) return [request];
    return Array.from({ length: count }, (_, i): PortRequest => {
      const hostPort = hostPorts === undefined ? undefined : hostPorts.first + i;
      return {
        ...rest,
        port: port + i,
        count: 1,
        ...(hostPort !== undefined && { hostPorts: { first: hostPort, last: hostPort } }),
      };
    });
  });
}

/** True if `next` (of one port) goes on where `run` ends: both ports one further, or both on ephemeral ports. */
function continues(run: PortRequest, next: PortRequest): boolean {
  const [a, b] = [run.hostPorts, next.hostPorts];
  const fits =
    a === undefined || b === undefined
      ? a === b
      : b.first === b.last && a.last - a.first + 1 === run.count && b.first === a.last + 1;
  return (
    fits &&
    run.proto === next.proto &&
    run.hostIp === next.hostIp &&
    run.port + run.count === next.port &&
    sameList(run.sources, next.sources)
  );
}

/** Joins neighbours in the list to runs; `requests` are of one port each. */
export function mergeRequests(requests: readonly PortRequest[]): readonly PortRequest[] {
  const runs: PortRequest[] = [];
  for (const request of requests) {
    const last = runs.at(-1);
    if (last === undefined || !continues(last, request)) {
      runs.push(request);
      continue;
    }
    const { hostPorts } = last;
    runs[runs.length - 1] = {
      ...last,
      count: last.count + 1,
      ...(hostPorts !== undefined && { hostPorts: { first: hostPorts.first, last: hostPorts.last + 1 } }),
    };
  }
  return runs;
}

/** Which published ports to take back; what is not given matches all. */
export interface PortPattern {
  readonly proto: Proto;
  readonly port: number;
  readonly hostIp?: string;
  readonly hostPort?: number;
}

export interface PortChange {
  readonly add: readonly PortRequest[];
  readonly remove: readonly PortPattern[];
}

/** The host ports that stand for a container port, for patterns that name one. */
function hasHostPort(bindings: readonly Binding[], { proto, port, hostPort }: PortPattern): boolean {
  return bindings.some(
    (one) =>
      one.proto === proto &&
      port >= one.port &&
      port < one.port + one.count &&
      one.hostPort + (port - one.port) === hostPort,
  );
}

function isMeant(request: PortRequest, pattern: PortPattern, bindings: readonly Binding[]): boolean {
  const { hostPorts } = request;
  const { hostIp, hostPort } = pattern;
  if (request.proto !== pattern.proto || request.port !== pattern.port) return false;
  if (hostIp !== undefined && request.hostIp !== hostIp) return false;
  if (hostPort === undefined) return true;
  if (hostPorts === undefined) return hasHostPort(bindings, pattern);
  return hostPort >= hostPorts.first && hostPort <= hostPorts.last;
}

/**
 * What is asked for after a change. `bindings` are what stands. Throws code portNotPublished for a pattern that
 * matches nothing.
 */
export function changeRequests(
  requests: readonly PortRequest[],
  change: PortChange,
  bindings: readonly Binding[],
): readonly PortRequest[] {
  const all = expandRequests(requests);
  for (const pattern of change.remove)
    if (!all.some((request) => isMeant(request, pattern, bindings)))
      throw new LinkspanError('portNotPublished', `port ${pattern.port}/${pattern.proto} is not published`);
  const left = all.filter((request) => !change.remove.some((pattern) => isMeant(request, pattern, bindings)));
  return mergeRequests([...left, ...expandRequests(change.add)]);
}
