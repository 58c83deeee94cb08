/*
 * /containers: list, inspect, create, state changes, remove, prune (Docker Engine API 1.50). Streams (attach, logs,
 * wait) are in containerStreamRoutes.ts.
 */
import { parseLink } from '../../engine/containers/links.ts';
import type { Container, ContainerId } from '../../engine/model.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type ApiContext, paramOf, queryOf, type Routes } from './apiContext.ts';
import { containerListFilters, selectContainers } from './containerFilters.ts';
import { toContainerRequest } from './containerRequest.ts';
import { type ContainerSizes, inspectShape, isRunning, listShape } from './containerShapes.ts';
import { matchesLabels, parseFilters, untilFilter } from './filters.ts';
import { boolOf, intOf, type Query, textOf } from './query.ts';
import { readJson } from './requestBody.ts';
import { parseRfc3339 } from './timestamps.ts';
import { toContainerChange } from './updateRequest.ts';
import { isAtLeast } from './versions.ts';

const pruneFilters = ['label', 'label!', 'until'];

/** Terminal size from `h` and `w`; throws code requestInvalid unless both are given. */
export function sizeOf(query: Query): { readonly height: number; readonly width: number } {
  const side = (name: string): number => {
    const value = textOf(query, name);
    if (/^\d{1,9}$/.test(value)) return Number(value);
    throw new LinkspanError(
      'requestInvalid',
      `strconv.ParseUint: parsing ${JSON.stringify(value)}: invalid syntax`,
    );
  };
  return { height: side('h'), width: side('w') };
}

async function listContainers({ deps }: ApiContext, query: Query): Promise<readonly unknown[]> {
  const { engine } = deps;
  const filters = parseFilters(textOf(query, 'filters'), containerListFilters);
  const options = { isAll: boolOf(query, 'all'), limit: intOf(query, 'limit') ?? 0 };
  const chosen = await selectContainers(engine, filters, options);
  const nowMs = deps.clock.nowMs();
  const withSize = boolOf(query, 'size');
  return await Promise.all(
    chosen.map(async (container) => {
      const sizes = withSize ? await engine.containers.size(container.id) : undefined;
      return listShape(engine, container, nowMs, sizes);
    }),
  );
}

/** `linux/amd64` of what a user writes: `amd64`, `x86_64`, `linux/aarch64`, with a variant or without; `linux` stays. */
function normalPlatform(text: string): string {
  const names: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };
  const parts = text.toLowerCase().split('/');
  const [os = '', arch] = parts.length === 1 && parts[0] !== 'linux' ? ['linux', ...parts] : parts;
  return arch === undefined ? os : `${os}/${names[arch] ?? arch}`;
}

/** Throws code imageNotFound, upon which the CLI pulls, if the image that is there is for another platform. */
async function checkPlatform({ deps }: ApiContext, ref: string, platform: string): Promise<void> {
  if (platform === '') return;
  const { os, architecture } = await deps.engine.images.get(ref);
  if (![os, `${os}/${architecture}`].includes(normalPlatform(platform)))
    throw new LinkspanError(
      'imageNotFound',
      `image with reference ${ref} was found but its platform (${os}/${architecture}) does not match the specified platform (${platform})`,
    );
}

async function pruneContainers({ deps }: ApiContext, query: Query): Promise<unknown> {
  const { containers } = deps.engine;
  const filters = parseFilters(textOf(query, 'filters'), pruneFilters);
  const until = untilFilter(filters, deps.clock.nowMs());
  const isChosen = (container: Container): boolean =>
    matchesLabels(filters, container.process.labels) &&
    (until === undefined || (parseRfc3339(container.createdAt) ?? 0n) < until);
  const candidates = containers.list().filter((container) => !isRunning(container) && isChosen(container));
  const sizes = new Map<ContainerId, ContainerSizes>();
  for (const { id } of candidates) {
    const size = await containers.size(id).catch(() => undefined);
    if (size !== undefined) sizes.set(id, size);
  }
  const removed = await containers.prune(isChosen);
  return {
    ContainersDeleted: removed.length === 0 ? null : removed,
    SpaceReclaimed: removed.reduce((sum, id) => sum + (sizes.get(id)?.writableBytes ?? 0), 0),
  };
}

/** Why the link `ref`, `container/alias`, is not removed. Throws containerNotFound where there is no such link or container. */
function linkRefusal({ deps }: ApiContext, ref: string): LinkspanError {
  const { containers } = deps.engine;
  const [, parent, alias = ''] = /^\/?([^/]+)\/([^/]+)$/.exec(ref) ?? [];
  if (parent === undefined) {
    containers.get(ref);
    const text = 'Conflict, cannot remove the default link name of the container';
    return new LinkspanError('containerState', text);
  }
  const owner = containers.list().find(({ name }) => name === parent);
  const links = owner?.spec.attachments.flatMap((attachment) => attachment.links) ?? [];
  if (!links.some((link) => parseLink(link).alias === alias))
    throw new LinkspanError('containerNotFound', `No such container: ${ref}`);
  return new LinkspanError('notImplemented', 'removing a link of a container is not supported yet');
}

const inspectRoutes: Routes = (app, context) => {
  const { engine } = context.deps;
  let cgroupVersion: 1 | 2 | undefined;

  app.get('/containers/json', (request) => listContainers(context, queryOf(request)));

  app.get('/containers/:id/json', async (request) => {
    const container = engine.containers.get(paramOf(request, 'id'));
    const withSize = boolOf(queryOf(request), 'size');
    const sizes = withSize ? await engine.containers.size(container.id) : undefined;
    // Asked for once: it cannot change, and the rest of `info` asks containerd.
    cgroupVersion ??= (await engine.info()).cgroupVersion;
    return inspectShape(engine, container, cgroupVersion, sizes);
  });

  app.get('/containers/:id/top', async (request) => {
    const psArgs = textOf(queryOf(request), 'ps_args');
    const words = psArgs === '' ? ['-ef'] : psArgs.split(/\s+/).filter((word) => word !== '');
    const { titles, processes } = await engine.containers.top(paramOf(request, 'id'), words);
    return { Processes: processes, Titles: titles };
  });
};

const changeRoutes: Routes = (app, context) => {
  const { containers } = context.deps.engine;

  app.post('/containers/create', async (request, reply) => {
    const query = queryOf(request);
    const wanted = toContainerRequest(await readJson(request.raw), context.versionOf(request.raw));
    const networks = wanted.spec.attachments.map(({ network }) => network);
    if (networks.length > 1 && !isAtLeast(context.versionOf(request.raw), '1.44'))
      throw new LinkspanError(
        'requestInvalid',
        `Container cannot be connected to network endpoints: ${networks.join(', ')}`,
      );
    await checkPlatform(context, wanted.spec.image, textOf(query, 'platform'));
    const name = textOf(query, 'name');
    const created = await containers.create(wanted.spec, name === '' ? undefined : name);
    return await reply
      .code(201)
      .send({ Id: created.container.id, Warnings: [...wanted.warnings, ...created.warnings] });
  });

  app.post('/containers/:id/update', async (request) => {
    const change = toContainerChange(await readJson(request.raw));
    return { Warnings: await containers.update(paramOf(request, 'id'), change) };
  });

  app.post('/containers/:id/rename', async (request, reply) => {
    await containers.rename(paramOf(request, 'id'), textOf(queryOf(request), 'name'));
    return await reply.code(204).send();
  });

  app.post('/containers/:id/resize', async (request, reply) => {
    await containers.resize(paramOf(request, 'id'), sizeOf(queryOf(request)));
    return await reply.code(200).send();
  });

  app.delete('/containers/:id', async (request, reply) => {
    const [ref, query] = [paramOf(request, 'id'), queryOf(request)];
    if (boolOf(query, 'link')) throw linkRefusal(context, ref);
    await containers.remove(ref, { isForced: boolOf(query, 'force'), removesVolumes: boolOf(query, 'v') });
    return await reply.code(204).send();
  });

  // A link's name, `container/alias`, is no container's.
  app.delete('/containers/*', (request) => {
    const ref = paramOf(request, '*');
    if (boolOf(queryOf(request), 'link')) throw linkRefusal(context, ref);
    throw new LinkspanError('containerNotFound', `No such container: ${ref}`);
  });

  app.post('/containers/prune', (request) => pruneContainers(context, queryOf(request)));
};

const stateRoutes: Routes = (app, context) => {
  const { containers } = context.deps.engine;

  app.post('/containers/:id/start', async (request, reply) => {
    const container = containers.get(paramOf(request, 'id'));
    if (container.state === 'running' || container.state === 'restarting')
      return await reply.code(304).send();
    if (container.state === 'paused')
      throw new LinkspanError('containerState', 'cannot start a paused container, try unpause instead');
    await containers.start(container.id);
    return await reply.code(204).send();
  });

  const stopOptions = (query: Query): readonly [number | undefined, string | undefined] => {
    const signal = textOf(query, 'signal');
    return [intOf(query, 't'), signal === '' ? undefined : signal];
  };

  app.post('/containers/:id/stop', async (request, reply) => {
    const hasStopped = await containers.stop(paramOf(request, 'id'), ...stopOptions(queryOf(request)));
    return await reply.code(hasStopped ? 204 : 304).send();
  });

  app.post('/containers/:id/restart', async (request, reply) => {
    await containers.restart(paramOf(request, 'id'), ...stopOptions(queryOf(request)));
    return await reply.code(204).send();
  });

  app.post('/containers/:id/kill', async (request, reply) => {
    const signal = textOf(queryOf(request), 'signal');
    await containers.kill(paramOf(request, 'id'), signal === '' ? 'SIGKILL' : signal);
    return await reply.code(204).send();
  });

  app.post('/containers/:id/pause', async (request, reply) => {
    await containers.pause(paramOf(request, 'id'));
    return await reply.code(204).send();
  });

  app.post('/containers/:id/unpause', async (request, reply) => {
    await containers.unpause(paramOf(request, 'id'));
    return await reply.code(204).send();
  });
};

export const containerRoutes: Routes = (app, context) => {
  inspectRoutes(app, context);
  changeRoutes(app, context);
  stateRoutes(app, context);
};
