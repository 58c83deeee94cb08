/*
 * Our own /linkspan/v1/tunnels: the encrypted tunnels of this node, and another key for it.
 */
import type { Routes } from './apiContext.ts';
import { engineShape } from './tunnelShapes.ts';

export const tunnelRoutes: Routes = (app, { deps }) => {
  const { encryption } = deps.engine;

  app.get('/linkspan/v1/tunnels', async () => {
    const [choice, paths] = await Promise.all([encryption.engine(), encryption.paths()]);
    return {
      ...engineShape(choice),
      Paths: paths.map((path) => ({
        ID: path.nodeId,
        Hostname: path.hostname,
        State: path.state,
        Why: path.why,
        MTU: path.mtuBytes ?? 0,
        Relay: path.relay ?? '',
        Endpoint: path.endpoint ?? '',
        LastHandshake: path.lastHandshakeMs === undefined ? '' : new Date(path.lastHandshakeMs).toISOString(),
        ReceivedBytes: path.receivedBytes,
        SentBytes: path.sentBytes,
      })),
    };
  });

  app.post('/linkspan/v1/tunnels/key', async (_request, reply) => {
    await encryption.rotateKey();
    return await reply.code(200).send();
  });
};
