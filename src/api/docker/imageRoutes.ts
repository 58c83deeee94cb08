/*
 * /images: list, inspect, history, create (pull and import), load, save, push, tag, remove (Docker Engine API 1.50).
 * Names may hold slashes, so the routes below /images/ end in a wildcard and are told apart by the last word.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { hasCode, LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { Image, ImageProgress } from '../../runtime/images/images.ts';
import { type ApiContext, abortSignalOf, paramOf, queryOf, type Routes } from './apiContext.ts';
import { isRunning } from './containerShapes.ts';
import {
  booleanFilter,
  type Filters,
  filterValues,
  matchesAny,
  matchesLabels,
  parseFilters,
  untilFilter,
} from './filters.ts';
import { startReading } from './byteReply.ts';
import { type Decoder, parseJson, struct, text } from './goJson.ts';
import { countsBy, historyShape, imageInspectShape, imageListShape, progressShape } from './imageShapes.ts';
import { JsonLines } from './jsonLines.ts';
import { allOf, boolOf, type Query, textOf } from './query.ts';
import { credentialsOf } from './registryAuth.ts';
import { bodyStream } from './requestBody.ts';
import { parseRfc3339 } from './timestamps.ts';

const listFilters = ['before', 'dangling', 'label', 'label!', 'reference', 'since', 'until'];

interface PlatformBody {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string;
}

const platformBody: Decoder<PlatformBody> = struct<PlatformBody>('Platform', {
  os: text,
  architecture: text,
  variant: text,
});

/** Throws requestInvalid with Docker's texts. */
function parsePlatformBody(given: string): string {
  let value: PlatformBody;
  try {
    value = platformBody(parseJson(given), 'platform');
  } catch (error) {
    const why = messageOf(error).replace(/^invalid JSON: /, '');
    throw new LinkspanError('requestInvalid', `failed to parse platform: ${why}`);
  }
  const { os, architecture, variant } = value;
  if (os === '' || architecture === '')
    throw new LinkspanError('requestInvalid', 'both OS and Architecture must be provided');
  return [os, architecture, variant].filter((part) => part !== '').join('/');
}

/** The platform as newer clients send it in a query: JSON. Undefined if there is none. Throws requestInvalid. */
function platformOf(query: Query): string | undefined {
  const given = textOf(query, 'platform');
  return given === '' ? undefined : parsePlatformBody(given);
}

interface ImageUser {
  readonly id: string;
  readonly isRunning: boolean;
}

/** `*` and `?` as in a shell, for names of the form `repository[:tag][@digest]`; `*` stops at slashes. */
function matchesReference(pattern: string, tag: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|\\]/g, '\\$&')
    .replaceAll('*', '[^/]*')
    .replaceAll('?', '[^/]');
  try {
    const whole = new RegExp(`^${source}$`);
    return whole.test(tag) || whole.test(tag.replace(/(?::[^:/@]*)?(?:@.*)?$/, ''));
  } catch {
    throw new LinkspanError('requestInvalid', 'syntax error in pattern');
  }
}

async function selectImages({ deps }: ApiContext, filters: Filters): Promise<readonly Image[]> {
  const { images } = deps.engine;
  const isDangling = booleanFilter(filters, 'dangling');
  const until = untilFilter(filters, deps.clock.nowMs());
  const bound = async (key: string): Promise<number | undefined> => {
    const ref = filterValues(filters, key)?.at(-1);
    return ref === undefined ? undefined : Date.parse((await images.get(ref)).createdAt);
  };
  const [before, since] = [await bound('before'), await bound('since')];
  return (await images.list())
    .filter(
      (image) =>
        (isDangling === undefined || (image.tags.length === 0) === isDangling) &&
        (until === undefined || (parseRfc3339(image.createdAt) ?? 0n) < until) &&
        (before === undefined || Date.parse(image.createdAt) < before) &&
        (since === undefined || Date.parse(image.createdAt) > since) &&
        matchesLabels(filters, image.config.labels),
    )
    .flatMap((image) => {
      if (filterValues(filters, 'reference') === undefined) return [image];
      const isWanted = (name: string): boolean =>
        matchesAny(filters, 'reference', (pattern) => matchesReference(pattern, name));
      const [tags, digests] = [image.tags.filter(isWanted), image.digests.filter(isWanted)];
      return tags.length + digests.length === 0 ? [] : [{ ...image, tags, digests }];
    })
    .toSorted((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt));
}

/** `fromImage` and `tag` as one reference; a tag may be a digest. Without any, every tag is meant. */
function pullReference(query: Query): { readonly ref: string; readonly isAllTags: boolean } {
  const [name, tag] = [textOf(query, 'fromImage'), textOf(query, 'tag')];
  if (tag === '') return { ref: name, isAllTags: !/[:@][^/]*$/.test(name) };
  return { ref: `${name}${tag.includes(':') ? '@' : ':'}${tag}`, isAllTags: false };
}

async function pull(context: ApiContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const query = queryOf(request);
  const platform = textOf(query, 'platform');
  const lines = new JsonLines(reply);
  const { ref, isAllTags } = pullReference(query);
  const options = {
    ...(platform !== '' && { platform }),
    isAllTags,
    credentials: credentialsOf(request),
    signal: abortSignalOf(reply),
  };
  return await lines.run(() =>
    context.deps.engine.images.pull(ref, options, (progress) => lines.write(progressShape(progress))),
  );
}

async function push(
  { deps }: ApiContext,
  name: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const tag = textOf(queryOf(request), 'tag');
  const platform = platformOf(queryOf(request));
  const lines = new JsonLines(reply);
  const options = {
    ...(platform !== undefined && { platform }),
    credentials: credentialsOf(request),
    signal: abortSignalOf(reply),
  };
  return await lines.run(() =>
    deps.engine.images.push(tag === '' ? name : `${name}:${tag}`, options, (progress) =>
      lines.write(progressShape(progress)),
    ),
  );
}

async function importTar(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const query = queryOf(request);
  if (textOf(query, 'fromSrc') !== '-')
    throw new LinkspanError('notImplemented', 'importing an image from a URL is not supported yet');
  const [repository, tag, platform] = [
    textOf(query, 'repo'),
    textOf(query, 'tag'),
    textOf(query, 'platform'),
  ];
  const lines = new JsonLines(reply);
  return await lines.run(async () => {
    const image = await context.deps.engine.images.import(bodyStream(request.raw), {
      ...(repository !== '' && { ref: tag === '' ? repository : `${repository}:${tag}` }),
      message: textOf(query, 'message') || 'Imported from -',
      changes: allOf(query, 'changes'),
      ...(platform !== '' && { platform }),
    });
    lines.write({ status: image.id });
  });
}

async function load(context: ApiContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const isQuiet = boolOf(queryOf(request), 'quiet');
  const platform = platformOf(queryOf(request));
  const lines = new JsonLines(reply);
  return await lines.run(async () => {
    const say = (progress: ImageProgress): void => {
      if (!isQuiet) lines.write(progressShape(progress));
    };
    const loaded = await context.deps.engine.images.load(bodyStream(request.raw), say, platform);
    for (const name of loaded)
      lines.write({ stream: `Loaded image${name.startsWith('sha256:') ? ' ID' : ''}: ${name}\n` });
  });
}

async function save(
  { deps }: ApiContext,
  names: readonly string[],
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  if (names.length === 0) throw new LinkspanError('requestInvalid', 'no image is named');
  const platform = platformOf(queryOf(request));
  const options = { signal: abortSignalOf(reply), ...(platform !== undefined && { platform }) };
  const parts = deps.engine.images.save(names, options);
  return await reply.type('application/x-tar').send(await startReading(parts));
}

function usersOf({ deps }: ApiContext, imageId: string): readonly ImageUser[] {
  return deps.engine.containers
    .list()
    .filter((container) => container.imageId === imageId)
    .map((container) => ({ id: container.id, isRunning: isRunning(container) }));
}

async function removeImage(context: ApiContext, ref: string, isForced: boolean): Promise<readonly unknown[]> {
  const done = await context.deps.engine.images.remove(ref, {
    isForced,
    usersOf: (imageId) => usersOf(context, imageId),
  });
  return done.map((step) => ('untagged' in step ? { Untagged: step.untagged } : { Deleted: step.deleted }));
}

/** Untagged images, or with `dangling=false` every image, as long as no container was made from it. */
async function pruneImages(context: ApiContext, query: Query): Promise<unknown> {
  const { images } = context.deps.engine;
  const filters = parseFilters(textOf(query, 'filters'), ['dangling', 'label', 'label!', 'until']);
  const isDangling = booleanFilter(filters, 'dangling') ?? true;
  const until = untilFilter(filters, context.deps.clock.nowMs());
  const chosen = (await images.list()).filter(
    (image) =>
      (!isDangling || image.tags.length === 0) &&
      usersOf(context, image.id).length === 0 &&
      matchesLabels(filters, image.config.labels) &&
      (until === undefined || (parseRfc3339(image.createdAt) ?? 0n) < until),
  );
  const deleted: unknown[] = [];
  const before = chosen.length === 0 ? undefined : await images.usage();
  for (const image of chosen) {
    // Removed by somebody else meanwhile, or taken by a new container.
    const removed = await removeImage(context, image.id, true).catch((error: unknown) => {
      if (!hasCode(error, 'imageNotFound') && !hasCode(error, 'imageInUse')) throw error;
      return [];
    });
    deleted.push(...removed);
  }
  // Layers that other images have stay. What is gone is told, also where it cannot be measured any more.
  const after = before === undefined ? undefined : await images.usage().catch(() => before);
  const reclaimedBytes =
    before === undefined || after === undefined ? 0 : Math.max(0, before.layersBytes - after.layersBytes);
  const attributes = { reclaimed: String(reclaimedBytes) };
  context.deps.engine.events.emit({ type: 'image', action: 'prune', actorId: '', attributes });
  return { ImagesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimedBytes };
}

/** `name/json` → [`name`, `json`]. */
function splitLastWord(path: string): readonly [name: string, word: string] {
  const slash = path.lastIndexOf('/');
  return [path.slice(0, Math.max(slash, 0)), path.slice(slash + 1)];
}

function absent(what: string): LinkspanError {
  return new LinkspanError('notImplemented', `${what} is not supported yet`);
}

export const imageRoutes: Routes = (app, context) => {
  const { deps, versionOf } = context;
  const { images, containers } = deps.engine;

  app.get('/images/json', async (request) => {
    const query = queryOf(request);
    const chosen = await selectImages(context, parseFilters(textOf(query, 'filters'), listFilters));
    const version = versionOf(request.raw);
    if (!boolOf(query, 'shared-size')) return chosen.map((image) => imageListShape(image, version));
    const { sharedBytes } = await images.usage();
    const countsOf = countsBy(containers.list(), sharedBytes);
    return chosen.map((image) => imageListShape(image, version, countsOf(image.id)));
  });

  app.post('/images/create', async (request, reply) =>
    textOf(queryOf(request), 'fromImage') !== ''
      ? await pull(context, request, reply)
      : await importTar(context, request, reply),
  );

  app.post('/images/load', (request, reply) => load(context, request, reply));

  app.get('/images/*', async (request, reply) => {
    const [name, word] = splitLastWord(paramOf(request, '*'));
    if (name === '' && word === 'search') throw absent('searching a registry (GET /images/search)');
    if (word === 'get')
      return await save(context, name === '' ? allOf(queryOf(request), 'names') : [name], request, reply);
    if (name !== '' && word === 'json')
      return imageInspectShape(await images.get(name, platformOf(queryOf(request))), versionOf(request.raw));
    if (name !== '' && word === 'history') {
      const image = await images.get(name, platformOf(queryOf(request)));
      return historyShape(image, await images.layerSizes(image));
    }
    reply.callNotFound();
    return await reply;
  });

  app.post('/images/*', async (request, reply) => {
    const [name, word] = splitLastWord(paramOf(request, '*'));
    if (name === '' && word === 'prune') return await pruneImages(context, queryOf(request));
    if (name !== '' && word === 'push') return await push(context, name, request, reply);
    if (name !== '' && word === 'tag') {
      const query = queryOf(request);
      const tag = textOf(query, 'tag');
      await images.tag(name, `${textOf(query, 'repo')}${tag === '' ? '' : `:${tag}`}`);
      return await reply.code(201).send();
    }
    reply.callNotFound();
    return await reply;
  });

  app.delete('/images/*', async (request) => {
    const [ref, query] = [paramOf(request, '*'), queryOf(request)];
    const platforms = allOf(query, 'platforms').map(parsePlatformBody);
    if (platforms.length > 1)
      throw new LinkspanError('requestInvalid', 'multiple platforms is not supported');
    // The only one that an image is kept for is the image.
    if (platforms.length === 1) await images.get(ref, platforms[0]);
    return await removeImage(context, ref, boolOf(query, 'force'));
  });
};
