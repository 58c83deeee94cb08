/*
 * POST /grpc and /session (Docker Engine API 1.50): connections that newer clients take over to speak BuildKit's own
 * API, HTTP/2 in clear, with the builder behind us.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ApiContext } from './apiContext.ts';
import { builderOf } from './buildRoutes.ts';
import { observeHijack } from './hijackRoutes.ts';

const head = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n';
const sessionPrefix = 'x-docker-expose-session-';

/** True for a request of these two; `path` is without version. */
export function isBuildUpgrade({ headers }: IncomingMessage, path: string): boolean {
  return headers.upgrade?.toLowerCase() === 'h2c' && (path === '/grpc' || path === '/session');
}

/** Rejects before the reply's head is written. */
export async function serveBuildUpgrade(
  context: ApiContext,
  request: IncomingMessage,
  connection: Duplex,
  path: string,
): Promise<void> {
  const startedMs = performance.now();
  const builder = builderOf(context);
  const begin = (): void => {
    connection.write(head);
    observeHijack(context, path, 101, startedMs);
  };
  if (path === '/grpc') {
    await builder.serveControl(connection, begin);
    return;
  }
  const metadata = Object.entries(request.headersDistinct).filter(([name]) => name.startsWith(sessionPrefix));
  const fields = metadata.map(
    ([name, values = []]) => [name, values.length === 1 ? values[0] : values] as const,
  );
  await builder.serveSession(connection, Object.fromEntries(fields), begin);
}
