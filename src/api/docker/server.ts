/*
 * The Docker Engine API server: Fastify for routing, with our own HTTP servers below it, because several addresses may
 * be listened on and attach and exec take their connections over. Contract: Docker Engine API 1.50, minimum 1.24.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { messageOf } from '../../errors/linkspanError.ts';
import { absentRoutes } from './absentRoutes.ts';
import type { ApiContext } from './apiContext.ts';
import { type ApiDeps, type ApiServer, apiVersion, type ListenAddress } from './apiServer.ts';
import { archiveRoutes } from './archiveRoutes.ts';
import { buildRoutes } from './buildRoutes.ts';
import { isBuildUpgrade, serveBuildUpgrade } from './buildUpgrade.ts';
import { containerRoutes } from './containerRoutes.ts';
import { fileRoutes } from './fileRoutes.ts';
import { statsRoutes } from './statsRoutes.ts';
import { containerStreamRoutes } from './containerStreamRoutes.ts';
import { errorReply } from './errorReply.ts';
import { eventRoutes } from './eventRoutes.ts';
import { execRoutes } from './execRoutes.ts';
import { writeRawError } from './hijack.ts';
import { hijackRouteOf, hijackRoutes, observeHijack, serveUpgrade } from './hijackRoutes.ts';
import { imageRoutes } from './imageRoutes.ts';
import { registryAuthRoutes } from './registryAuth.ts';
import { listenOn } from './listenSocket.ts';
import { networkRoutes } from './networkRoutes.ts';
import { nodeRoutes } from './nodeRoutes.ts';
import { portRoutes } from './portRoutes.ts';
import { malformedContentType, maxJsonBytes } from './requestBody.ts';
import { swarmRoutes } from './swarmRoutes.ts';
import { systemRoutes } from './systemRoutes.ts';
import { tunnelRoutes } from './tunnelRoutes.ts';
import { diskUsageRoutes } from './diskUsageRoutes.ts';
import { volumeRoutes } from './volumeRoutes.ts';
import { checkVersion, splitVersion } from './versions.ts';

const allRoutes = [
  systemRoutes,
  eventRoutes,
  networkRoutes,
  containerRoutes,
  statsRoutes,
  portRoutes,
  containerStreamRoutes,
  fileRoutes,
  archiveRoutes,
  hijackRoutes,
  execRoutes,
  imageRoutes,
  buildRoutes,
  registryAuthRoutes,
  swarmRoutes,
  nodeRoutes,
  tunnelRoutes,
  volumeRoutes,
  diskUsageRoutes,
  absentRoutes,
];

/** Registry credentials come in a header, filters in the path. */
const maxHeaderBytes = 128 * 1024;

const notFoundMessage = 'page not found';

function addHooks(app: FastifyInstance, context: ApiContext): void {
  const { logger, build } = context.deps;
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'api-version': apiVersion,
      ostype: 'linux',
      'docker-experimental': 'false',
      server: `Linkspan/${build.version} (linux)`,
    });
    if (!request.is404) checkVersion(context.versionOf(request.raw));
  });
  app.setErrorHandler(async (error, request, reply) => {
    const isMalformedType = (error as { code?: unknown }).code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE';
    const shown = isMalformedType ? malformedContentType(request.headers['content-type']) : error;
    const { status, message } = errorReply(shown, logger, `${request.method} ${request.url}`);
    return await reply.code(status).type('application/json').send({ message });
  });
  app.setNotFoundHandler(
    async (_request, reply) =>
      await reply.code(404).type('application/json').send({ message: notFoundMessage }),
  );
  // Docker's client reads an error's message only under exactly this type: no charset.
  app.addHook('onSend', async (_request, reply) => {
    const type = reply.getHeader('content-type');
    if (typeof type === 'string' && type.startsWith('application/json'))
      reply.header('content-type', 'application/json');
  });
  app.addHook('onResponse', async (request, reply) => {
    const { method } = request;
    context.deps.metrics.observeRequest({
      method,
      route: request.is404 ? undefined : request.routeOptions.url,
      status: reply.statusCode,
      durationMs: reply.elapsedTime,
    });
    logger.debug({ method, url: request.url, status: reply.statusCode }, 'served a request');
  });
}

/** Without version and query. */
function pathOf(request: IncomingMessage): string {
  return new URL(splitVersion(request.url ?? '/').url, 'http://localhost').pathname;
}

function noSchemas(): never {
  throw new Error('no route may have a JSON schema');
}

function createApp(versions: WeakMap<IncomingMessage, string>): FastifyInstance {
  const app = Fastify({
    exposeHeadRoutes: false,
    // Routes have no JSON schemas (requestBody.ts checks bodies), so the compilers for them, 8 MB, stay unloaded.
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
    bodyLimit: maxJsonBytes,
    // Image names and tags are longer than the default of 100.
    routerOptions: { maxParamLength: 4096 },
    frameworkErrors: (error, _request, reply) =>
      void (reply as FastifyReply).code(400).send({ message: messageOf(error) }),
    rewriteUrl: (request) => {
      const { version, url } = splitVersion(request.url ?? '/');
      versions.set(request, version);
      return url;
    },
  });
  // Bodies are read by the routes: JSON with Docker's rules, tars as streams.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  return app;
}

class DockerApiServer implements ApiServer {
  readonly #app: FastifyInstance;
  readonly #context: ApiContext;
  readonly #servers: Server[] = [];
  readonly #taken = new Set<Duplex>();

  constructor(app: FastifyInstance, context: ApiContext) {
    this.#app = app;
    this.#context = context;
  }

  async listen(address: ListenAddress): Promise<string> {
    await this.#app.ready();
    // An ES import of node:http evaluates all its exports, WebSocket among them, which loads an HTTP client that
    // we do not use: 16 MB of resident memory.
    const server = process.getBuiltinModule('node:http').createServer(
      {
        // An image may take longer to come in than any limit, and an idle client may come back after hours.
        requestTimeout: 0,
        keepAliveTimeout: 0,
        maxHeaderSize: maxHeaderBytes,
        shouldUpgradeCallback: (request) =>
          request.method === 'POST' &&
          ((request.headers.upgrade?.toLowerCase() === 'tcp' &&
            hijackRouteOf(pathOf(request)) !== undefined) ||
            isBuildUpgrade(request, pathOf(request))),
      },
      (request, response) => this.#app.routing(request, response),
    );
    server.on('upgrade', (request: IncomingMessage, connection: Duplex, head: Buffer) => {
      void this.#upgrade(request, connection, head);
    });
    const url = await listenOn(server, address);
    this.#servers.push(server);
    return url;
  }

  async inject(request: Parameters<ApiServer['inject']>[0]): ReturnType<ApiServer['inject']> {
    const { body, headers, method, url } = request;
    const reply = await this.#app.inject({
      method,
      url,
      ...(headers !== undefined && { headers }),
      ...(body !== undefined && { payload: body }),
    });
    return { status: reply.statusCode, headers: reply.headers, text: reply.body };
  }

  async close(): Promise<void> {
    for (const connection of this.#taken) connection.destroy();
    await Promise.all(
      this.#servers.map(async (server) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        // Removes the socket file too.
        server.close(() => resolve());
        server.closeAllConnections();
        await promise;
      }),
    );
    this.#servers.length = 0;
    await this.#app.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #upgrade(request: IncomingMessage, connection: Duplex, head: Buffer): Promise<void> {
    const { logger } = this.#context.deps;
    const startedMs = performance.now();
    this.#taken.add(connection);
    connection.once('close', () => this.#taken.delete(connection));
    connection.on('error', () => connection.destroy());
    if (head.length > 0) connection.unshift(head);
    const { version, url } = splitVersion(request.url ?? '/');
    try {
      checkVersion(version);
      const target = new URL(url, 'http://localhost');
      if (isBuildUpgrade(request, target.pathname))
        await serveBuildUpgrade(this.#context, request, connection, target.pathname);
      else await serveUpgrade(this.#context, request, connection, target, version);
    } catch (error) {
      const { status, message } = errorReply(error, logger, `${request.method} ${request.url}`);
      logger.debug({ url: request.url, status, err: error }, 'refused an upgrade');
      observeHijack(this.#context, hijackRouteOf(pathOf(request)), status, startedMs);
      writeRawError(connection, status, message);
    }
  }
}

/** Builds the server; nothing listens before `listen`. The caller closes it. */
export function createApiServer(deps: ApiDeps): ApiServer {
  const versions = new WeakMap<IncomingMessage, string>();
  const context: ApiContext = { deps, versionOf: (request) => versions.get(request) ?? apiVersion };
  const app = createApp(versions);
  addHooks(app, context);
  for (const add of allRoutes) add(app, context);
  return new DockerApiServer(app, context);
}
