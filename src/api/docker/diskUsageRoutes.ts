/*
 * GET /system/df (Docker Engine API 1.50): what images, containers and volumes take on the disk. What
 * the build cache takes, the BuildKit says.
 */
import type { UsageRecord } from '../../builder/schema.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { ApiContext, Routes } from './apiContext.ts';
import { queryOf } from './apiContext.ts';
import { cacheShape } from './buildShapes.ts';
import { listShape } from './containerShapes.ts';
import { countsBy, imageListShape } from './imageShapes.ts';
import { allOf } from './query.ts';
import { isAtLeast } from './versions.ts';
import { volumeShape } from './volumeRoutes.ts';

const types = ['container', 'image', 'volume', 'build-cache'] as const;
type Type = (typeof types)[number];

interface Measured {
  readonly LayersSize: number;
  readonly Images: readonly unknown[];
}

async function measureImages({ deps }: ApiContext, version: string): Promise<Measured> {
  const { images, containers } = deps.engine;
  const [all, { layersBytes, sharedBytes }] = await Promise.all([images.list(), images.usage()]);
  const countsOf = countsBy(containers.list(), sharedBytes);
  return {
    LayersSize: layersBytes,
    Images: all.map((image) => imageListShape(image, version, countsOf(image.id))),
  };
}

async function measureContainers({ deps }: ApiContext): Promise<readonly unknown[]> {
  const { engine } = deps;
  const shapes: unknown[] = [];
  for (const container of engine.containers.list()) {
    // One that goes away meanwhile is none.
    const sizes = await engine.containers.size(container.id).catch(() => undefined);
    if (sizes !== undefined) shapes.push(listShape(engine, container, deps.clock.nowMs(), sizes));
  }
  return shapes;
}

/** Of those without options alone, as Docker has it: what the others take is on other devices, and their server may not answer. */
async function measureVolumes({ deps }: ApiContext): Promise<readonly unknown[]> {
  const { volumes } = deps.engine;
  const shapes: unknown[] = [];
  for (const volume of volumes.list()) {
    if (Object.keys(volume.options ?? {}).length > 0) continue;
    const usage = { RefCount: volumes.users(volume.name).length, Size: await volumes.sizeBytes(volume.name) };
    shapes.push({ ...volumeShape(volumes, volume), UsageData: usage });
  }
  return shapes;
}

function wantedTypes(given: readonly string[]): ReadonlySet<Type> {
  const known = given.map((word) => {
    const type = types.find((one) => one === word);
    if (type === undefined) throw new LinkspanError('requestInvalid', `unknown object type: ${word}`);
    return type;
  });
  return new Set(known.length === 0 ? types : known);
}

async function measureCache({ deps }: ApiContext): Promise<readonly UsageRecord[]> {
  try {
    return (await deps.builder?.cache()) ?? [];
  } catch (error) {
    // What the rest takes is no less true.
    deps.logger.warn({ err: error }, 'the build cache could not be measured');
    return [];
  }
}

async function measure(context: ApiContext, wanted: ReadonlySet<Type>, version: string): Promise<unknown> {
  const cache = wanted.has('build-cache') ? await measureCache(context) : [];
  return {
    ...(wanted.has('image') ? await measureImages(context, version) : { LayersSize: 0, Images: null }),
    Containers: wanted.has('container') ? await measureContainers(context) : null,
    Volumes: wanted.has('volume') ? await measureVolumes(context) : null,
    BuildCache: wanted.has('build-cache') ? cache.map((record) => cacheShape(record, version)) : null,
    ...(!isAtLeast(version, '1.42') && {
      BuilderSize: cache.reduce((sum, { size }) => sum + Number(size), 0),
    }),
  };
}

export const diskUsageRoutes: Routes = (app, context) => {
  /** Reading every folder costs: who asks while somebody's answer is being made gets the same one. */
  const underWay = new Map<string, Promise<unknown>>();

  app.get('/system/df', async (request) => {
    const version = context.versionOf(request.raw);
    const wanted = wantedTypes(allOf(queryOf(request), 'type'));
    const key = [version, ...[...wanted].toSorted()].join(' ');
    let answer = underWay.get(key);
    if (answer === undefined) {
      answer = measure(context, wanted, version).finally(() => underWay.delete(key));
      underWay.set(key, answer);
    }
    return await answer;
  });
};
