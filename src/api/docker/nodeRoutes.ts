/*
 * /nodes: list, inspect, update, remove; /tasks, of which there are none without services (Docker Engine API 1.50).
 */
import type { ClusterNode } from '../../cluster/swarm.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { paramOf, queryOf, type Routes } from './apiContext.ts';
import { type Filters, filterValues, hasLabel, matchesAny, parseFilters } from './filters.ts';
import { boolOf, textOf } from './query.ts';
import { readBody } from './requestBody.ts';
import { nodeSpecBody, toNodeSpec } from './swarmBody.ts';
import { baseVersionOf } from './swarmRoutes.ts';
import { nodeShape } from './swarmShapes.ts';

const listFilters = ['id', 'label', 'membership', 'name', 'node.label', 'role'];

const taskFilters = [
  ...['_up-to-date', 'desired-state', 'id', 'label', 'name', 'node', 'runtime', 'service', 'up-to-date'],
];

/** Words that a filter takes, in any case; an empty one filters nothing out. */
const filterWords: Readonly<Record<string, readonly string[]>> = {
  role: ['worker', 'manager'],
  membership: ['pending', 'accepted'],
};

function parseNodeFilters(source: string): Filters {
  const filters = parseFilters(source, listFilters);
  for (const [key, words] of Object.entries(filterWords))
    for (const value of filterValues(filters, key) ?? [])
      if (value !== '' && !words.includes(value.toLowerCase()))
        throw new LinkspanError('requestInvalid', `Invalid ${key} filter: '${value}'`);
  return filters;
}

/** True if `word` is among the values, or only empty ones are. */
function matchesWord(filters: Filters, key: string, word: string): boolean {
  const values = (filterValues(filters, key) ?? []).filter((value) => value !== '');
  return values.length === 0 || values.some((value) => value.toLowerCase() === word);
}

/** Names and ids are compared from their beginning. `label` means the engine's labels, `node.label` the node's. */
function isSelected(node: ClusterNode, filters: Filters): boolean {
  const hasAll = (key: string, labels: Readonly<Record<string, string>>): boolean =>
    (filterValues(filters, key) ?? []).every((wanted) => hasLabel(labels, wanted));
  return (
    matchesAny(filters, 'id', (start) => node.id.startsWith(start)) &&
    matchesAny(filters, 'name', (start) => node.hostname.startsWith(start)) &&
    hasAll('label', node.engineLabels) &&
    hasAll('node.label', node.spec.labels) &&
    matchesWord(filters, 'role', node.spec.role) &&
    matchesWord(filters, 'membership', 'accepted')
  );
}

export const nodeRoutes: Routes = (app, { deps }) => {
  const { swarm } = deps.engine;
  const shapeOf = (node: ClusterNode): Record<string, unknown> => nodeShape(node, swarm.cluster());

  app.get('/nodes', (request) => {
    const nodes = swarm.nodes();
    const filters = parseNodeFilters(textOf(queryOf(request), 'filters'));
    return nodes.filter((node) => isSelected(node, filters)).map(shapeOf);
  });

  app.get('/tasks', (request) => {
    // Of managers, as the nodes.
    swarm.nodes();
    parseFilters(textOf(queryOf(request), 'filters'), taskFilters);
    return [];
  });

  app.get('/tasks/:id', (request) => {
    swarm.nodes();
    throw new LinkspanError('taskNotFound', `task ${paramOf(request, 'id')} not found`);
  });

  app.get('/nodes/:id', (request) => shapeOf(swarm.node(paramOf(request, 'id'))));

  app.delete('/nodes/:id', async (request, reply) => {
    await swarm.removeNode(paramOf(request, 'id'), boolOf(queryOf(request), 'force'));
    return await reply.code(200).send();
  });

  app.post('/nodes/:id/update', async (request, reply) => {
    const body = await readBody(request.raw, nodeSpecBody);
    const version = baseVersionOf(queryOf(request), 'node');
    await swarm.updateNode(paramOf(request, 'id'), version, toNodeSpec(body));
    return await reply.code(200).send();
  });
};
