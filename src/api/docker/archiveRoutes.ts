/*
 * Archives of a container's files: HEAD, GET and PUT of /containers/{id}/archive (Docker Engine API 1.50), which `cp`
 * is made of.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { PathStat } from '../../engine/engine.ts';
import { abortSignalOf, headersOf, paramOf, queryOf, type Routes } from './apiContext.ts';
import { writeTo } from './containerStreamRoutes.ts';
import { boolOf, textOf } from './query.ts';
import { bodyStream } from './requestBody.ts';

/** Bits of st_mode (inode(7)) and Go's for the same (io/fs, FileMode). */
const kinds: Readonly<Record<number, number>> = {
  0o040000: 2 ** 31,
  0o120000: 2 ** 27,
  0o060000: 2 ** 26,
  0o020000: 2 ** 26 + 2 ** 21,
  0o010000: 2 ** 25,
  0o140000: 2 ** 24,
};
const flags = [
  [0o4000, 2 ** 23],
  [0o2000, 2 ** 22],
  [0o1000, 2 ** 20],
] as const;

/** Go's FileMode of a st_mode. */
export function goMode(mode: number): number {
  const flagged = flags.reduce((sum, [bit, go]) => sum + ((mode & bit) === 0 ? 0 : go), 0);
  return (kinds[mode & 0o170000] ?? 0) + flagged + (mode & 0o777);
}

/** The header `X-Docker-Container-Path-Stat`. */
function statHeader({ name, sizeBytes, mode, modifiedMs, linkTarget }: PathStat): string {
  const shape = {
    name,
    size: sizeBytes,
    mode: goMode(mode),
    mtime: new Date(modifiedMs).toISOString(),
    linkTarget,
  };
  return Buffer.from(JSON.stringify(shape)).toString('base64');
}

function pathOf(request: FastifyRequest): string {
  const path = textOf(queryOf(request), 'path');
  if (path === '') throw new LinkspanError('requestInvalid', 'bad parameter: path cannot be empty');
  return path;
}

/** Writes the head with the first bytes, so that what fails before them has a status of its own. */
async function send(reply: FastifyReply, stat: PathStat, tar: AsyncIterable<Uint8Array>): Promise<void> {
  const signal = abortSignalOf(reply);
  reply.hijack();
  reply.raw.writeHead(200, {
    ...headersOf(reply),
    'content-type': 'application/x-tar',
    'x-docker-container-path-stat': statHeader(stat),
  });
  try {
    for await (const part of tar) if (!(await writeTo(reply, Buffer.from(part), signal))) return;
    reply.raw.end();
  } catch (error) {
    // A tar that ends early must not look like a whole one.
    reply.raw.destroy();
    throw error;
  }
}

export const archiveRoutes: Routes = (app, { deps }) => {
  const { files } = deps.engine.containers;
  const url = '/containers/:id/archive';

  app.head(url, async (request, reply) => {
    const stat = await files.statPath(paramOf(request, 'id'), pathOf(request));
    return await reply.header('x-docker-container-path-stat', statHeader(stat)).send();
  });

  app.route({
    method: 'GET',
    url,
    exposeHeadRoute: false,
    handler: async (request, reply) => {
      await files.readPath(paramOf(request, 'id'), pathOf(request), (stat, tar) => send(reply, stat, tar));
    },
  });

  app.put(url, async (request, reply) => {
    const query = queryOf(request);
    await files.writePath(paramOf(request, 'id'), pathOf(request), bodyStream(request.raw), {
      keepsKinds: boolOf(query, 'noOverwriteDirNonDir'),
      asUser: boolOf(query, 'copyUIDGID'),
    });
    return await reply.code(200).send();
  });
};
