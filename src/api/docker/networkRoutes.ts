/*
 * /networks: list, inspect, create, connect, disconnect, remove, prune (Docker Engine API 1.50).
 */
import type { Encryption, Networks } from '../../engine/engine.ts';
import type { Network } from '../../engine/model.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { paramOf, queryOf, type Routes } from './apiContext.ts';
import { endpointSettings, toAttachment } from './endpointShapes.ts';
import {
  booleanFilter,
  type Filters,
  matchesAny,
  matchesExactly,
  matchesLabels,
  matchesPattern,
  parseFilters,
  untilFilter,
} from './filters.ts';
import { bool, pointer, struct, text } from './goJson.ts';
import {
  isOfType,
  networkCreateBody,
  networkShape,
  scopeWord,
  servicesShape,
  statusShape,
  toNetworkRequest,
} from './networkShapes.ts';
import { boolOf, textOf } from './query.ts';
import { readBody } from './requestBody.ts';
import { parseRfc3339 } from './timestamps.ts';
import { isAtLeast } from './versions.ts';
import { engineShape } from './tunnelShapes.ts';

const listFilters = ['dangling', 'driver', 'id', 'idOrName', 'label', 'name', 'scope', 'type'];
const pruneFilters = ['label', 'label!', 'until'];

const connectBody = struct('ConnectOptions', { Container: text, EndpointConfig: pointer(endpointSettings) });
const disconnectBody = struct('DisconnectOptions', { Container: text, Force: bool });

function selectNetworks(networks: Networks, filters: Filters): readonly Network[] {
  const isDangling = booleanFilter(filters, 'dangling');
  return networks
    .list(isDangling === undefined ? {} : { isDangling })
    .filter(
      (network) =>
        matchesExactly(filters, 'driver', network.driver) &&
        matchesPattern(filters, 'name', network.name) &&
        matchesPattern(filters, 'id', network.id) &&
        matchesAny(
          filters,
          'idOrName',
          (ref) => network.name === ref || network.id === ref || network.id.startsWith(ref),
        ) &&
        matchesExactly(filters, 'scope', scopeWord(network)) &&
        matchesAny(filters, 'type', (type) => isOfType(network, type)) &&
        matchesLabels(filters, network.labels),
    );
}

/** Compared by id, name, then id prefix among the networks of one scope, as `?scope=` asks. */
function getInScope(networks: Networks, ref: string, scope: string): Network {
  const network = networks.get(ref);
  if (scope !== '' && scopeWord(network) !== scope)
    throw new LinkspanError('networkNotFound', `network ${ref} not found`);
  return network;
}

/** Ours: what encrypts on this node. Nothing for a network that is in clear. */
async function encryptionShape(
  { isEncrypted }: Network,
  encryption: Encryption,
): Promise<Record<string, unknown>> {
  if (isEncrypted !== true) return {};
  return { Encryption: { Protocol: 'WireGuard', ...engineShape(await encryption.engine()) } };
}

export const networkRoutes: Routes = (app, { deps, versionOf }) => {
  const { networks, containers } = deps.engine;

  app.get('/networks', (request) =>
    selectNetworks(networks, parseFilters(textOf(queryOf(request), 'filters'), listFilters)).map((network) =>
      networkShape(network, []),
    ),
  );

  app.get('/networks/:id', async (request) => {
    const query = queryOf(request);
    const network = getInScope(networks, paramOf(request, 'id'), textOf(query, 'scope'));
    const peers = await networks.peers(network);
    const mtuBytes = networks.mtuBytes(network);
    const shape = {
      ...networkShape(network, networks.endpoints(network), peers),
      ...(await encryptionShape(network, deps.engine.encryption)),
      ...(mtuBytes === undefined ? {} : { MTU: mtuBytes }),
    };
    // Docker has it from API 1.52 on, always; clients of older versions ask for it.
    const isVerbose = boolOf(query, 'verbose') && network.configuration === undefined;
    if (!isVerbose) return shape;
    const [pools, blocks, endpoints] = await Promise.all([
      networks.poolStatus(network),
      networks.blocks(network),
      networks.placedEndpoints(network),
    ]);
    return { ...shape, ...servicesShape(endpoints), Status: statusShape(pools, blocks) };
  });

  app.post('/networks/create', async (request, reply) => {
    const body = await readBody(request.raw, networkCreateBody);
    const wanted = toNetworkRequest(body);
    // The field came with 1.48; older clients that send it do not mean it.
    const { ipv4: _ipv4, ...withoutIpv4 } = wanted;
    const isKnown = isAtLeast(versionOf(request.raw), '1.48');
    const { network, warning } = await networks.create(isKnown ? wanted : withoutIpv4);
    return await reply.code(201).send({ Id: network.id, Warning: warning });
  });

  app.post('/networks/:id/connect', async (request, reply) => {
    const { Container, EndpointConfig } = await readBody(request.raw, connectBody);
    const settings = EndpointConfig ?? endpointSettings(undefined, '');
    await containers.connect(Container, toAttachment(paramOf(request, 'id'), settings));
    return await reply.code(200).send();
  });

  app.post('/networks/:id/disconnect', async (request, reply) => {
    const { Container, Force } = await readBody(request.raw, disconnectBody);
    await containers.disconnect(Container, paramOf(request, 'id'), Force);
    return await reply.code(200).send();
  });

  app.delete('/networks/:id', async (request, reply) => {
    await networks.remove(paramOf(request, 'id'));
    return await reply.code(204).send();
  });

  app.post('/networks/prune', async (request) => {
    const filters = parseFilters(textOf(queryOf(request), 'filters'), pruneFilters);
    const until = untilFilter(filters, deps.clock.nowMs());
    const removed = await networks.prune(
      (network) =>
        matchesLabels(filters, network.labels) &&
        (until === undefined || (parseRfc3339(network.createdAt) ?? 0n) < until),
    );
    return { NetworksDeleted: removed.length === 0 ? null : removed.map(({ name }) => name) };
  });
};
