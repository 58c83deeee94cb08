/*
 * Attach and exec start: the two requests that take their connection over, with `Upgrade: tcp` and without.
 * An exec that fails to start tells so in its stream, as Docker's does: clients ask for the exit code afterwards.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { checkExecutable } from '../../engine/containers/runningChecks.ts';
import type { Exec } from '../../engine/engine.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { AttachStreams } from '../../runtime/stdio/stdio.ts';
import { type ApiContext, paramOf, queryOf, type Routes } from './apiContext.ts';
import { consoleSizeBody, consoleSizeField } from './consoleSize.ts';
import { encodeFrame, streamType } from './frames.ts';
import { bool, struct } from './goJson.ts';
import { joinStreams, replyHead, takeSocket } from './hijack.ts';
import { boolOf, type Query, textOf } from './query.ts';
import { readBody } from './requestBody.ts';

/** A connection to be joined with a process once the client has its reply head. */
interface Session {
  readonly contentType: string;
  readonly isTty: boolean;
  /** Undefined: `failure` is what the client gets to read. */
  readonly streams: AttachStreams | undefined;
  readonly failure: string;
}

async function openAttach(context: ApiContext, ref: string, query: Query, version: string): Promise<Session> {
  const { containers } = context.deps.engine;
  const container = containers.get(ref);
  const { isTty } = container.spec;
  const detachKeys = textOf(query, 'detachKeys');
  const streams = await containers.attach(container.id, {
    stdin: boolOf(query, 'stdin'),
    stdout: boolOf(query, 'stdout'),
    stderr: boolOf(query, 'stderr'),
    isStream: boolOf(query, 'stream'),
    withLogs: boolOf(query, 'logs'),
    ...(detachKeys !== '' && { detachKeys }),
  });
  return { contentType: streamType(version, isTty), isTty, streams, failure: '' };
}

const startBody = struct('ExecStartOptions', { Detach: bool, Tty: bool, ConsoleSize: consoleSizeBody });

function checkStartable(context: ApiContext, exec: Exec): void {
  if (exec.state === 'exited')
    throw new LinkspanError('execState', `exec command ${exec.id} has already run`);
  if (exec.state === 'running')
    throw new LinkspanError('execState', `exec command ${exec.id} is already running`);
  checkExecutable(context.deps.engine.containers.get(exec.containerId));
}

/** Undefined if the client wants no streams: then the exec runs and that is all. */
async function openExec(
  context: ApiContext,
  id: string,
  request: IncomingMessage,
  version: string,
): Promise<Session | undefined> {
  const { containers } = context.deps.engine;
  const exec = containers.execGet(id);
  const { Detach: isDetached, ConsoleSize } = await readBody(request, startBody);
  checkStartable(context, exec);
  const { isTty } = exec.spec;
  const contentType = streamType(version, isTty);
  try {
    const streams = await containers.execStart(exec.id, {
      isDetached,
      ...consoleSizeField(ConsoleSize, version),
    });
    return isDetached ? undefined : { contentType, isTty, streams, failure: '' };
  } catch (error) {
    if (isDetached) throw error;
    return { contentType, isTty, streams: undefined, failure: messageOf(error) };
  }
}

async function serve(connection: Duplex, session: Session): Promise<void> {
  if (session.streams !== undefined) {
    await joinStreams(connection, session.streams, session.isTty);
    return;
  }
  const line = Buffer.from(`${session.failure}\r\n`);
  connection.resume();
  connection.end(session.isTty ? line : encodeFrame('stdout', line));
}

const attachRoute = '/containers/:id/attach';
const execRoute = '/exec/:id/start';
const attachPath = /^\/containers\/([^/]+)\/attach$/;
const execPath = /^\/exec\/([^/]+)\/start$/;

/** The route of a path (without version) that may be upgraded; undefined for others. */
export function hijackRouteOf(path: string): string | undefined {
  if (attachPath.test(path)) return attachRoute;
  return execPath.test(path) ? execRoute : undefined;
}

/** Counts a request whose connection was taken over: no hook of the server sees its end. */
export function observeHijack(
  context: ApiContext,
  route: string | undefined,
  status: number,
  startedMs: number,
): void {
  const durationMs = performance.now() - startedMs;
  context.deps.metrics.observeRequest({ method: 'POST', route, status, durationMs });
}

/** Serves an upgraded connection; rejects before the reply head is written, then settles only after the stream's end. */
export async function serveUpgrade(
  context: ApiContext,
  request: IncomingMessage,
  connection: Duplex,
  url: URL,
  version: string,
): Promise<void> {
  const startedMs = performance.now();
  const attach = attachPath.exec(url.pathname)?.[1];
  const exec = execPath.exec(url.pathname)?.[1];
  const query = Object.fromEntries(url.searchParams);
  const session =
    attach !== undefined
      ? await openAttach(context, decodeURIComponent(attach), query, version)
      : await openExec(context, decodeURIComponent(exec ?? ''), request, version);
  if (session === undefined) {
    connection.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    observeHijack(context, execRoute, 200, startedMs);
    return;
  }
  connection.write(replyHead(true, session.contentType));
  observeHijack(context, attach === undefined ? execRoute : attachRoute, 101, startedMs);
  await serve(connection, session).catch((error: unknown) => {
    context.deps.logger.warn({ err: error, request: url.pathname }, 'a stream broke off');
    connection.destroy();
  });
}

export const hijackRoutes: Routes = (app, context) => {
  app.post(attachRoute, async (request, reply) => {
    const startedMs = performance.now();
    const version = context.versionOf(request.raw);
    const session = await openAttach(context, paramOf(request, 'id'), queryOf(request), version);
    reply.hijack();
    const connection = takeSocket(request.raw, reply.raw);
    connection.write(replyHead(false, session.contentType));
    observeHijack(context, attachRoute, 200, startedMs);
    await serve(connection, session);
  });

  app.post(execRoute, async (request, reply) => {
    const startedMs = performance.now();
    const version = context.versionOf(request.raw);
    const session = await openExec(context, paramOf(request, 'id'), request.raw, version);
    if (session === undefined) return await reply.code(200).send();
    reply.hijack();
    const connection = takeSocket(request.raw, reply.raw);
    connection.write(replyHead(false, session.contentType));
    observeHijack(context, execRoute, 200, startedMs);
    await serve(connection, session);
    return await reply;
  });
};
