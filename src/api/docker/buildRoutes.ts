/*
 * POST /build, /build/cancel and /build/prune (Docker Engine API 1.50), which a BuildKit does the work of. Without one
 * they say how to build elsewhere, and so do /session and /grpc, by which newer clients build.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Builder } from '../../builder/builder.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type ApiContext, abortSignalOf, queryOf, type Routes } from './apiContext.ts';
import { cacheFilters, formatCacheFilters, parseBuildQuery, parseOutput } from './buildShapes.ts';
import { filterValues, parseFilters } from './filters.ts';
import { JsonLines } from './jsonLines.ts';
import { boolOf, intOf, textOf } from './query.ts';
import { allCredentialsOf } from './registryAuth.ts';
import { bodyStream } from './requestBody.ts';
import { parseDuration } from './timestamps.ts';

const noBuilder =
  'Building images needs a BuildKit: start linkspand with --builder unix:///run/buildkit/buildkitd.sock. Or build with BuildKit (buildctl, docker buildx) or buildah, into an archive of the types oci or docker, and load that (docker load), or push it to a registry and pull it';

/** Throws code notImplemented, with the ways around, where none is configured. */
export function builderOf({ deps }: ApiContext): Builder {
  if (deps.builder === undefined) throw new LinkspanError('notImplemented', noBuilder);
  return deps.builder;
}

interface Build {
  readonly builder: Builder;
  readonly request: FastifyRequest;
  readonly lines: JsonLines;
  readonly signal: AbortSignal;
}

/** The body is the context, unless the request names a remote one. */
async function buildFromBody({ builder, request, lines, signal }: Build): Promise<FastifyReply> {
  const query = queryOf(request);
  const asked = parseBuildQuery(query);
  const isQuiet = boolOf(query, 'q');
  const body = asked.remote === '' ? bodyStream(request.raw) : undefined;
  if (body === undefined) request.raw.resume();
  try {
    return await lines.run(async () => {
      const { id, names } = await builder.build(asked, {
        ...{ context: body, credentials: allCredentialsOf(request), signal },
        onText: async (stream) => {
          if (isQuiet) return;
          lines.write({ stream });
          await lines.drained();
        },
      });
      if (isQuiet) {
        lines.write({ stream: `${id}\n` });
        return;
      }
      lines.write({ aux: { ID: id } });
      lines.write({ stream: `Successfully built ${id.slice('sha256:'.length).slice(0, 12)}\n` });
      for (const name of names) lines.write({ stream: `Successfully tagged ${name}\n` });
    });
  } finally {
    body?.destroy();
  }
}

/** As clients of version 18.09 to 20.10 build with BuildKit: everything is in their session, progress is BuildKit's own. */
async function buildFromSession({ builder, request, lines, signal }: Build): Promise<FastifyReply> {
  const query = queryOf(request);
  const remote = textOf(query, 'remote');
  if (remote === 'upload-request')
    throw new LinkspanError(
      'notImplemented',
      'building from an uploaded tar by version 2 of POST /build is not supported: use docker buildx, or DOCKER_BUILDKIT=0',
    );
  const isInSession = remote === 'client-session';
  const asked = parseBuildQuery({ ...query, outputs: '', ...(isInSession && { remote: '' }) });
  const output = parseOutput(query);
  const isQuiet = boolOf(query, 'q');
  request.raw.resume();
  return await lines.run(async () => {
    const id = await builder.buildInSession(asked, {
      ...{ sessionId: textOf(query, 'session'), output, signal },
      onStatus: async (message) => {
        if (isQuiet) return;
        lines.write({ id: 'moby.buildkit.trace', aux: Buffer.from(message).toString('base64') });
        await lines.drained();
      },
    });
    if (isQuiet) lines.write({ stream: `${id}\n` });
    else if (id !== '') lines.write({ id: 'moby.image.id', aux: { ID: id } });
  });
}

async function build(
  context: ApiContext,
  cancels: Map<string, AbortController>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const builder = builderOf(context);
  const query = queryOf(request);
  const buildId = textOf(query, 'buildid');
  const cancel = new AbortController();
  if (buildId !== '') cancels.set(buildId, cancel);
  const signal = AbortSignal.any([abortSignalOf(reply), cancel.signal]);
  const work = { builder, request, lines: new JsonLines(reply), signal };
  try {
    return textOf(query, 'version') === '2' ? await buildFromSession(work) : await buildFromBody(work);
  } finally {
    if (cancels.get(buildId) === cancel) cancels.delete(buildId);
  }
}

/** Without a builder there is no cache: `docker system prune` asks for this too. */
async function prune({ deps }: ApiContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const query = queryOf(request);
  const filters = parseFilters(textOf(query, 'filters'), cacheFilters);
  // Nothing of the cache has a label, so a filter by labels is about other things.
  const isOfOthers = ['label', 'label!'].some((name) => filterValues(filters, name) !== undefined);
  const since = (filterValues(filters, 'until') ?? filterValues(filters, 'unused-for'))?.[0];
  const keptSince = since === undefined ? 0n : parseDuration(since);
  if (keptSince === undefined)
    throw new LinkspanError('requestInvalid', `parsing "until" filter: invalid duration "${since}"`);
  const removed =
    deps.builder === undefined || isOfOthers
      ? []
      : await deps.builder.prune({
          isAll: boolOf(query, 'all'),
          filters: formatCacheFilters(filters),
          keptBytes: intOf(query, 'reserved-space') ?? intOf(query, 'keep-storage') ?? 0,
          maxUsedBytes: intOf(query, 'max-used-space') ?? 0,
          minFreeBytes: intOf(query, 'min-free-space') ?? 0,
          keptSinceMs: Number(keptSince / 1_000_000n),
          signal: abortSignalOf(reply),
        });
  return {
    CachesDeleted: removed.length === 0 ? null : removed.map(({ id }) => id),
    SpaceReclaimed: removed.reduce((sum, { size }) => sum + Number(size), 0),
  };
}

export const buildRoutes: Routes = (app, context) => {
  const cancels = new Map<string, AbortController>();

  app.post('/build', (request, reply) => build(context, cancels, request, reply));

  app.post('/build/cancel', async (request, reply) => {
    builderOf(context);
    const id = textOf(queryOf(request), 'id');
    if (id === '') throw new LinkspanError('requestInvalid', 'build ID not provided');
    cancels.get(id)?.abort();
    return await reply.code(204).send();
  });

  app.post('/build/prune', (request, reply) => prune(context, request, reply));

  for (const url of ['/session', '/grpc'])
    app.post(url, () => {
      builderOf(context);
      throw new LinkspanError('requestInvalid', `no upgrade to h2c is asked for (POST ${url})`);
    });
};
