/*
 * /swarm: inspect, init, join, leave, update, unlock (Docker Engine API 1.50).
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { queryOf, type Routes } from './apiContext.ts';
import { boolOf, type Query, textOf } from './query.ts';
import { readBody } from './requestBody.ts';
import {
  initBody,
  joinBody,
  swarmSpecBody,
  toClusterSpec,
  toInitRequest,
  toJoinRequest,
  toOwnRoot,
  unlockBody,
} from './swarmBody.ts';
import { swarmShape } from './swarmShapes.ts';
import { isAtLeast } from './versions.ts';

/** The version that an update is based on. Throws code requestInvalid with Docker's text; `what` is swarm or node. */
export function baseVersionOf(query: Query, what: string): number {
  const given = textOf(query, 'version');
  if (/^\d+$/.test(given) && Number.isSafeInteger(Number(given))) return Number(given);
  const why = /^\d+$/.test(given) ? 'value out of range' : 'invalid syntax';
  throw new LinkspanError(
    'requestInvalid',
    `invalid ${what} version '${given}': strconv.ParseUint: parsing ${JSON.stringify(given)}: ${why}`,
  );
}

/** Stricter than other flags of the API: Go's ParseBool. */
function rotates(query: Query, name: string): boolean {
  const given = textOf(query, name);
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(given)) return true;
  if (['', '0', 'f', 'F', 'false', 'FALSE', 'False'].includes(given)) return false;
  throw new LinkspanError('requestInvalid', `invalid value for ${name}: ${given}`);
}

export const swarmRoutes: Routes = (app, { deps, versionOf }) => {
  const { swarm } = deps.engine;

  app.get('/swarm', () => swarmShape(swarm.cluster()));

  app.post('/swarm/init', async (request, reply) => {
    const wanted = toInitRequest(await readBody(request.raw, initBody));
    const version = versionOf(request.raw);
    // These fields came with 1.39 and 1.40; older clients that send them do not mean them.
    const id = await swarm.init({
      ...wanted,
      ...(!isAtLeast(version, '1.39') && { addressPools: [], subnetLength: 0 }),
      ...(!isAtLeast(version, '1.40') && { dataPathPort: 0 }),
    });
    return await reply.type('application/json').send(JSON.stringify(id));
  });

  app.post('/swarm/join', async (request, reply) => {
    await swarm.join(toJoinRequest(await readBody(request.raw, joinBody)));
    return await reply.code(200).send();
  });

  app.post('/swarm/leave', async (request, reply) => {
    await swarm.leave(boolOf(queryOf(request), 'force'));
    return await reply.code(200).send();
  });

  app.post('/swarm/update', async (request, reply) => {
    const query = queryOf(request);
    const body = await readBody(request.raw, swarmSpecBody);
    const version = baseVersionOf(query, 'swarm');
    await swarm.update(version, toClusterSpec(body), {
      workerToken: rotates(query, 'rotateWorkerToken'),
      managerToken: rotates(query, 'rotateManagerToken'),
      unlockKey: rotates(query, 'rotateManagerUnlockKey'),
      ...toOwnRoot(body),
    });
    return await reply.code(200).send();
  });

  app.get('/swarm/unlockkey', () => ({ UnlockKey: swarm.unlockKey() }));

  app.post('/swarm/unlock', async (request, reply) => {
    const { UnlockKey } = await readBody(request.raw, unlockBody);
    await swarm.unlock(UnlockKey);
    return await reply.code(200).send();
  });
};
