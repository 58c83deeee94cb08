/*
 * /_ping, /version, /info (Docker Engine API 1.50), /metrics for Prometheus, and our own
 * /linkspan/v1/conditions, /doctor and /firewall.
 */
import type { FastifyReply } from 'fastify';
import type { Routes } from './apiContext.ts';
import type { ApiDeps } from './apiServer.ts';
import { swarmHeader } from './swarmShapes.ts';
import { infoShape, versionShape } from './systemShapes.ts';

/** Headers by which clients learn what they talk to; Api-Version, Ostype and Server are on every reply. */
function pingHeaders(reply: FastifyReply, { engine, builder }: ApiDeps): FastifyReply {
  return (
    reply
      .header('cache-control', 'no-cache, no-store, must-revalidate')
      .header('pragma', 'no-cache')
      // By 2 clients speak to a BuildKit.
      .header('builder-version', builder === undefined ? '1' : '2')
      .header('swarm', swarmHeader(engine.swarm.status()))
      .type('text/plain; charset=utf-8')
  );
}

export const systemRoutes: Routes = (app, { deps, versionOf }) => {
  app.get('/_ping', (_request, reply) => pingHeaders(reply, deps).send('OK'));
  app.head('/_ping', (_request, reply) => pingHeaders(reply, deps).header('content-length', '0').send());
  app.get('/version', async () => versionShape(deps.build, await deps.engine.info()));
  app.get('/info', (request) => infoShape(deps, versionOf(request.raw)));
  app.get('/linkspan/v1/conditions', () => deps.conditions());
  app.get('/linkspan/v1/doctor', () => deps.doctor());
  app.get('/linkspan/v1/firewall', async (_request, reply) =>
    reply.type('text/plain; charset=utf-8').send(await deps.dumpFirewall()),
  );
  app.get('/metrics', async (_request, reply) =>
    reply.type(deps.metrics.contentType).send(await deps.metrics.render()),
  );
};
