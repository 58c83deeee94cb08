/*
 * What every route gets: the dependencies, and the API version that a request was made with.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ApiDeps } from './apiServer.ts';
import type { Query } from './query.ts';

export interface ApiContext {
  readonly deps: ApiDeps;
  /** `1.50` where the path had no prefix. */
  readonly versionOf: (request: IncomingMessage) => string;
}

/** Adds its routes to `app`. Paths have no version prefix. */
export type Routes = (app: FastifyInstance, context: ApiContext) => void;

export function queryOf(request: FastifyRequest): Query {
  return request.query as Query;
}

/** A path parameter, decoded. */
export function paramOf(request: FastifyRequest, name: string): string {
  return (request.params as Readonly<Record<string, string | undefined>>)[name] ?? '';
}

/** Fires when the client goes away before the reply is complete. */
export function abortSignalOf(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => controller.abort());
  return controller.signal;
}

/** Headers that hooks have set on the reply, for a head that is written by hand. */
export function headersOf(reply: FastifyReply): Record<string, string> {
  return Object.fromEntries(Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)]));
}
