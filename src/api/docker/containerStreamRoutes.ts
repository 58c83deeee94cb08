/*
 * What flows for long: wait, logs and attach of a container (Docker Engine API 1.50). Attach takes the connection
 * over (hijack.ts); wait and logs are plain replies whose head must go out at once.
 */
import { once } from 'node:events';
import type { FastifyReply } from 'fastify';
import type { WaitCondition } from '../../engine/engine.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { LogQuery, LogRecord } from '../../runtime/stdio/stdio.ts';
import { abortSignalOf, headersOf, paramOf, queryOf, type Routes } from './apiContext.ts';
import { encodeFrame, streamType } from './frames.ts';
import { boolOf, type Query, textOf } from './query.ts';
import { parseMoment } from './timestamps.ts';

function toCondition(text: string): WaitCondition {
  if (text === '' || text === 'not-running') return 'not-running';
  if (text === 'next-exit' || text === 'removed') return text;
  throw new LinkspanError('requestInvalid', `invalid condition: ${JSON.stringify(text)}`);
}

/** A double holds the time of a line to a quarter of a microsecond: so much is given on each side. */
const slackMs = 0.0005;

function momentMs(query: Query, name: 'since' | 'until', nowMs: number): number | undefined {
  const text = textOf(query, name);
  const moment = text === '0' ? undefined : parseMoment(text, name, nowMs);
  if (moment === undefined) return undefined;
  return Number(moment) / 1e6 + (name === 'since' ? -slackMs : slackMs);
}

function toLogQuery(query: Query, nowMs: number): LogQuery {
  const [stdout, stderr] = [boolOf(query, 'stdout'), boolOf(query, 'stderr')];
  if (!stdout && !stderr)
    throw new LinkspanError('requestInvalid', 'Bad parameters: you must choose at least one stream');
  const tail = textOf(query, 'tail');
  const sinceMs = momentMs(query, 'since', nowMs);
  const untilMs = momentMs(query, 'until', nowMs);
  return {
    stdout,
    stderr,
    isFollow: boolOf(query, 'follow'),
    // Docker takes anything that is no number for `all`.
    ...(/^\d+$/.test(tail) && { tail: Number(tail) }),
    ...(sinceMs !== undefined && { sinceMs }),
    ...(untilMs !== undefined && { untilMs }),
  };
}

/** RFC 3339 with exactly nine digits, so that columns line up. */
function fixedWidthTime(time: string): string {
  const match = /^(.*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(time);
  return match === null ? time : `${match[1]}.${(match[2] ?? '').padEnd(9, '0').slice(0, 9)}${match[3]}`;
}

/** As Go escapes in a query. */
function escapeAsQuery(text: string): string {
  const escaped = encodeURIComponent(text.toWellFormed()).replaceAll('%20', '+');
  return escaped.replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** `A=1,tag=web` */
function detailsOf({ attributes = {} }: LogRecord): string {
  const pairs = Object.entries(attributes).map(
    ([name, value]) => `${escapeAsQuery(name)}=${escapeAsQuery(value)}`,
  );
  return pairs.toSorted().join(',');
}

interface Wish {
  readonly isTty: boolean;
  readonly withTime: boolean;
  readonly withDetails: boolean;
}

/** The bytes of one record with what is wanted before it, in a frame unless the container has a terminal. */
function encodeRecord(record: LogRecord, { isTty, withTime, withDetails }: Wish): Buffer {
  const time = withTime ? `${fixedWidthTime(record.time)} ` : '';
  const prefix = withDetails ? `${time}${detailsOf(record)} ` : time;
  const data = prefix === '' ? record.data : Buffer.concat([Buffer.from(prefix), record.data]);
  return isTty ? data : encodeFrame(record.stream, data);
}

/** Writes and waits while the client is slow; false once it has gone. */
export async function writeTo(
  reply: FastifyReply,
  data: Buffer | string,
  signal: AbortSignal,
): Promise<boolean> {
  if (signal.aborted) return false;
  if (reply.raw.write(data)) return true;
  try {
    await once(reply.raw, 'drain', { signal });
    return true;
  } catch {
    return false;
  }
}

export const containerStreamRoutes: Routes = (app, { deps, versionOf }) => {
  const { containers } = deps.engine;

  app.post('/containers/:id/wait', async (request, reply) => {
    const condition = toCondition(textOf(queryOf(request), 'condition'));
    const container = containers.get(paramOf(request, 'id'));
    const signal = abortSignalOf(reply);
    const { done } = containers.wait(container.id, condition, signal);
    reply.hijack();
    reply.raw.writeHead(200, { ...headersOf(reply), 'content-type': 'application/json' });
    // The CLI starts the container only when it has seen these headers.
    reply.raw.flushHeaders();
    try {
      const { exitCode, error } = await done;
      const failure = error === '' ? {} : { Error: { Message: error } };
      reply.raw.end(`${JSON.stringify({ ...failure, StatusCode: exitCode })}\n`);
    } catch (error) {
      if (!signal.aborted)
        reply.raw.end(`${JSON.stringify({ Error: { Message: messageOf(error) }, StatusCode: -1 })}\n`);
    }
  });

  app.get('/containers/:id/logs', async (request, reply) => {
    const query = queryOf(request);
    const container = containers.get(paramOf(request, 'id'));
    const logQuery = toLogQuery(query, deps.clock.nowMs());
    const { isTty } = container.spec;
    const wish = { isTty, withTime: boolOf(query, 'timestamps'), withDetails: boolOf(query, 'details') };
    const signal = abortSignalOf(reply);
    const records = containers.logs(container.id, logQuery, signal);
    reply.hijack();
    reply.raw.writeHead(200, {
      ...headersOf(reply),
      'content-type': streamType(versionOf(request.raw), isTty),
    });
    reply.raw.flushHeaders();
    try {
      for await (const record of records)
        if (!(await writeTo(reply, encodeRecord(record, wish), signal))) return;
    } catch (error) {
      if (signal.aborted) return;
      deps.logger.warn({ container: container.name, id: container.id, err: error }, 'could not read a log');
      const line = Buffer.from(`Error grabbing logs: ${messageOf(error)}\n`);
      reply.raw.write(isTty ? line : encodeFrame('stderr', line));
    }
    reply.raw.end();
  });
};
