/*
 * /linkspan/v1/containers/{id}/ports: the published ports of a container, and changing them while it runs. Ours; Docker
 * has no such thing. Shapes of ports are Docker's PortBindings, so that what `-p` means is said in one way.
 */
import type { PortPattern } from '../../engine/bindings/requests.ts';
import type { Binding } from '../../engine/model.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { parseProto } from '../../net/proto.ts';
import { paramOf, type Routes } from './apiContext.ts';
import { type Decoder, list, map, struct, text } from './goJson.ts';
import { type PortBindingBody, type PortBindingsBody, parseSources, toPortRequests } from './portShapes.ts';
import { parsePortRange } from './ports.ts';
import { readJson } from './requestBody.ts';

interface ChangeBody {
  readonly Add: PortBindingsBody;
  /** Who may connect to what is added; empty = everybody. */
  readonly From: readonly string[] | undefined;
  readonly Remove: PortBindingsBody;
}

const portBindings = map(list(struct<PortBindingBody>('PortBinding', { HostIp: text, HostPort: text })));

const changeBody: Decoder<ChangeBody> = struct<ChangeBody>('PortChange', {
  Add: portBindings,
  From: list(text),
  Remove: portBindings,
});

/** Without entries, or with empty ones, a container port is taken back wherever it is published. */
function patternsOf(body: PortBindingsBody): readonly PortPattern[] {
  return Object.entries(body).flatMap(([key, entries]) => {
    const range = parsePortRange(key);
    const proto = parseProto(range?.protocol ?? '');
    if (range === undefined || proto === undefined)
      throw new LinkspanError('requestInvalid', `invalid port specification: "${key}"`);
    const given = entries === undefined || entries.length === 0 ? [{ HostIp: '', HostPort: '' }] : entries;
    const count = range.last - range.first + 1;
    return given.flatMap(({ HostIp, HostPort }) => {
      const host = HostPort === '' ? undefined : parsePortRange(HostPort);
      if (
        (HostPort !== '' && host === undefined) ||
        (host !== undefined && host.last - host.first + 1 !== count)
      )
        throw new LinkspanError('requestInvalid', `invalid port specification: "${HostPort}"`);
      return Array.from({ length: count }, (_, i) => ({
        proto,
        port: range.first + i,
        ...(HostIp !== '' && { hostIp: HostIp }),
        ...(host !== undefined && { hostPort: host.first + i }),
      }));
    });
  });
}

function bindingShape({ proto, port, count, hostIp, hostPort, sources }: Binding): Record<string, unknown> {
  return { Proto: proto, Port: port, Count: count, HostIp: hostIp, HostPort: hostPort, From: sources };
}

export const portRoutes: Routes = (app, { deps }) => {
  const { containers } = deps.engine;

  app.get('/linkspan/v1/containers/:id/ports', (request) => {
    const container = containers.get(paramOf(request, 'id'));
    return { Ports: containers.bindings(container).map(bindingShape) };
  });

  app.post('/linkspan/v1/containers/:id/ports', async (request) => {
    const { id } = containers.get(paramOf(request, 'id'));
    const body = changeBody((await readJson(request.raw)) ?? {}, '');
    const add = toPortRequests(body.Add, {}, parseSources(body.From ?? [], 'to add'));
    await containers.changePorts(id, { add, remove: patternsOf(body.Remove) });
    return { Ports: containers.bindings(containers.get(id)).map(bindingShape) };
  });
};
