/*
 * Archives of a container's files: HEAD, GET and PUT of /containers/{id}/archive (Docker Engine API 1.50), which `cp`
 * is made of.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Logger } from '../../base/logger.ts';
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

const yearMs = (year: string): number => Date.parse(`${year}-01-01T00:00:00Z`);

/** The header `X-Docker-Container-Path-Stat`. */
function statHeader({ name, sizeBytes, mode, modifiedMs, linkTarget }: PathStat): string {
  // Go's times have four digits of a year.
  const mtime = new Date(Math.min(Math.max(modifiedMs, yearMs('0001')), yearMs('9999'))).toISOString();
  const shape = { name, size: sizeBytes, mode: goMode(mode), mtime, linkTarget };
  return Buffer.from(JSON.stringify(shape)).toString('base64');
}

function pathOf(request: FastifyRequest): string {
  const path = textOf(queryOf(request), 'path');
  if (path === '') throw new LinkspanError('requestInvalid', 'bad parameter: path cannot be empty');
  if (path.includes('\0'))
    throw new LinkspanError('requestInvalid', 'bad parameter: path has a zero byte in it');
  return path;
}

/** Writes the head with the first bytes, so that what fails before them has a status of its own. */
async function send(
  reply: FastifyReply,
  stat: PathStat,
  tar: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  logger: Logger,
): Promise<void> {
  try {
    for await (const part of tar) {
      if (!reply.raw.headersSent) {
        reply.hijack();
        reply.raw.writeHead(200, {
          ...headersOf(reply),
          'content-type': 'application/x-tar',
          'x-docker-container-path-stat': statHeader(stat),
        });
      }
      if (!(await writeTo(reply, Buffer.from(part.buffer, part.byteOffset, part.length), signal))) return;
    }
    reply.raw.end();
  } catch (error) {
    if (!reply.raw.headersSent) throw error;
    // A tar that ends early must not look like a whole one.
    reply.raw.destroy();
    logger.warn({ err: error, path: stat.name }, 'could not send all files of a container');
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
      // From the first: a client may go away while its turn is waited for.
      const signal = abortSignalOf(reply);
      await files.readPath(paramOf(request, 'id'), pathOf(request), (stat, tar) =>
        send(reply, stat, tar, signal, deps.logger),
      );
    },
  });

  app.put(url, async (request, reply) => {
    const query = queryOf(request);
    const body = bodyStream(request.raw);
    try {
      await files.writePath(paramOf(request, 'id'), pathOf(request), body, {
        keepsKinds: boolOf(query, 'noOverwriteDirNonDir'),
        asUser: boolOf(query, 'copyUIDGID'),
      });
    } finally {
      // What nobody has read is dropped, so that the client comes to read the answer.
      body.destroy();
    }
    return await reply.code(200).send();
  });
};
