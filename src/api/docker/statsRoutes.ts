/*
 * GET /containers/{id}/stats (Docker Engine API 1.50): one answer, or one each second until the container is removed or
 * the client goes away. A client that reads slowly gets fewer.
 */
import { totalmem } from 'node:os';
import { stringifyBig } from '../../base/bigJson.ts';
import type { ContainerSample } from '../../engine/engine.ts';
import type { Container } from '../../engine/model.ts';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import { abortSignalOf, headersOf, paramOf, queryOf, type Routes } from './apiContext.ts';
import { writeTo } from './containerStreamRoutes.ts';
import { boolOf, textOf } from './query.ts';
import { statsShape } from './statsShape.ts';

const intervalMs = 1000;

export const statsRoutes: Routes = (app, { deps }) => {
  const { engine, clock, logger } = deps;
  const { containers } = engine;
  const format = (container: Container, sample?: ContainerSample, before?: ContainerSample): string =>
    `${stringifyBig(statsShape(container, sample, before, totalmem()))}\n`;

  /** One answer. Rates need two samples, so that only `isOneShot` has none to wait for. */
  const once = async (container: Container, isOneShot: boolean, signal: AbortSignal): Promise<string> => {
    const first = await containers.sample(container.id);
    if (isOneShot || first === undefined) return format(container, first);
    await clock.sleep(intervalMs, signal);
    return format(container, await containers.sample(container.id), first);
  };

  async function* stream({ id }: Container, signal: AbortSignal): AsyncIterable<string> {
    for (let before: ContainerSample | undefined; ; ) {
      const beganMs = clock.upMs();
      const sample = await containers.sample(id);
      yield format(containers.get(id), sample, before);
      before = sample;
      await clock.sleep(Math.max(0, intervalMs - (clock.upMs() - beganMs)), signal);
    }
  }

  app.get('/containers/:id/stats', async (request, reply) => {
    const query = queryOf(request);
    const isStream = textOf(query, 'stream') === '' || boolOf(query, 'stream');
    const isOneShot = boolOf(query, 'one-shot');
    if (isStream && isOneShot)
      throw new LinkspanError('requestInvalid', 'cannot have stream=true and one-shot=true');
    const container = containers.get(paramOf(request, 'id'));
    const signal = abortSignalOf(reply);
    if (!isStream) {
      const line = await once(container, isOneShot, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
        return undefined;
      });
      // Nobody is there any more to be told.
      if (line === undefined) return reply.hijack();
      return await reply.header('content-type', 'application/json').send(line);
    }
    reply.hijack();
    reply.raw.writeHead(200, { ...headersOf(reply), 'content-type': 'application/json' });
    reply.raw.flushHeaders();
    try {
      for await (const line of stream(container, signal))
        if (!(await writeTo(reply, line, signal))) return reply;
    } catch (error) {
      if (signal.aborted) return reply;
      if (!hasCode(error, 'containerNotFound'))
        logger.warn({ container: container.name, id: container.id, err: error }, 'could not read statistics');
    }
    reply.raw.end();
    return reply;
  });
};
