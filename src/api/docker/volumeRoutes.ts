/*
 * /volumes: list, inspect, create, remove, prune (Docker Engine API 1.50). Changing a cluster's volume is not here.
 */
import type { Volumes } from '../../engine/engine.ts';
import type { Volume } from '../../engine/model.ts';
import { anonymousLabel } from '../../engine/volumes/volumes.ts';
import { paramOf, queryOf, type Routes } from './apiContext.ts';
import {
  booleanFilter,
  type Filters,
  matchesExactly,
  matchesLabels,
  matchesPattern,
  parseFilters,
} from './filters.ts';
import { map, pointer, struct, text } from './goJson.ts';
import { boolOf, textOf } from './query.ts';
import { readBody } from './requestBody.ts';
import { isAtLeast } from './versions.ts';

const listFilters = ['dangling', 'driver', 'label', 'label!', 'name'];
const pruneFilters = ['all', 'label', 'label!'];

const createBody = struct('CreateOptions', {
  Name: text,
  Driver: text,
  DriverOpts: pointer(map(text)),
  Labels: pointer(map(text)),
});

/** Seconds only, as Docker reads it from the folder. */
function secondsOf(createdAt: string): string {
  return createdAt.replace(/\.\d+/, '');
}

/** One element of `GET /volumes`. */
export function volumeShape(
  volumes: Volumes,
  { name, createdAt, labels, options }: Volume,
): Record<string, unknown> {
  return {
    CreatedAt: secondsOf(createdAt),
    Driver: 'local',
    Labels: labels ?? null,
    Mountpoint: volumes.pathOf(name),
    Name: name,
    Options: options ?? null,
    Scope: 'local',
  };
}

function selectVolumes(volumes: Volumes, filters: Filters): readonly Volume[] {
  const isDangling = booleanFilter(filters, 'dangling');
  return volumes
    .list()
    .filter(
      ({ name, labels }) =>
        (isDangling === undefined || isDangling === (volumes.users(name).length === 0)) &&
        matchesExactly(filters, 'driver', 'local') &&
        matchesPattern(filters, 'name', name) &&
        matchesLabels(filters, labels ?? {}),
    );
}

/**
 * Which unused volumes a prune takes: anonymous ones, unless the filter `all` or an old client means all. Never those
 * with options, whose files lie elsewhere.
 */
function pruneSelection(filters: Filters, isOldClient: boolean): (volume: Volume) => boolean {
  const isAll = booleanFilter(filters, 'all') ?? isOldClient;
  return ({ labels = {}, options = {} }) =>
    Object.keys(options).length === 0 &&
    (isAll || Object.hasOwn(labels, anonymousLabel)) &&
    matchesLabels(filters, labels);
}

export const volumeRoutes: Routes = (app, { deps, versionOf }) => {
  const { volumes } = deps.engine;

  app.get('/volumes', (request) => {
    const filters = parseFilters(textOf(queryOf(request), 'filters'), listFilters);
    const found = selectVolumes(volumes, filters);
    return { Volumes: found.map((volume) => volumeShape(volumes, volume)), Warnings: null };
  });

  app.get('/volumes/:name', (request) => volumeShape(volumes, volumes.get(paramOf(request, 'name'))));

  app.post('/volumes/create', async (request, reply) => {
    const { Name, Driver, DriverOpts, Labels } = await readBody(request.raw, createBody);
    const volume = await volumes.create({
      name: Name,
      driver: Driver,
      ...(DriverOpts !== undefined && { options: DriverOpts }),
      ...(Labels !== undefined && { labels: Labels }),
    });
    return await reply.code(201).send(volumeShape(volumes, volume));
  });

  app.post('/volumes/prune', async (request) => {
    const filters = parseFilters(textOf(queryOf(request), 'filters'), pruneFilters);
    const isOldClient = !isAtLeast(versionOf(request.raw), '1.42');
    const { names, reclaimedBytes } = await volumes.prune(pruneSelection(filters, isOldClient));
    return { VolumesDeleted: names.length === 0 ? null : names, SpaceReclaimed: reclaimedBytes };
  });

  app.delete('/volumes/:name', async (request, reply) => {
    await volumes.remove(paramOf(request, 'name'), boolOf(queryOf(request), 'force'));
    return await reply.code(204).send();
  });
};
