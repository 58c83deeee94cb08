/*
 * Which containers `ps` and `container prune` mean: Docker's filters (Engine 28), compared with the engine's records.
 */
import type { Engine } from '../../engine/engine.ts';
import { mountsOf } from '../../engine/containers/mountPlan.ts';
import type { Container } from '../../engine/model.ts';
import type { Image } from '../../runtime/images/images.ts';
import { zeroTime } from '../../engine/model.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { attachmentsOf, isRunning } from './containerShapes.ts';
import { stateWord } from './durations.ts';
import {
  booleanFilter,
  type Filters,
  filterValues,
  invalidFilter,
  matchesAny,
  matchesExactly,
  matchesLabels,
  matchesPattern,
} from './filters.ts';
import { parsePortRange } from './ports.ts';

export const containerListFilters: readonly string[] = [
  'ancestor',
  'before',
  'exited',
  'expose',
  'health',
  'id',
  'isolation',
  'is-task',
  'label',
  'label!',
  'name',
  'network',
  'publish',
  'since',
  'status',
  'volume',
];

const states = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'];
const healths = ['none', 'starting', 'healthy', 'unhealthy'];

function exitCodes(filters: Filters): readonly number[] | undefined {
  return filterValues(filters, 'exited')?.map((text) => {
    if (/^-?\d+$/.test(text)) return Number(text);
    throw new LinkspanError(
      'requestInvalid',
      `strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  });
}

/** True if `image` has the layers of `base`, and more on them. */
function standsOn(image: Image, base: Image): boolean {
  return (
    image.diffIds.length > base.diffIds.length &&
    base.diffIds.every((diffId, i) => image.diffIds[i] === diffId)
  );
}

/** Ids of the images that `ancestor` names and of those that stand on them; an unknown one matches nothing. */
async function ancestorIds(engine: Engine, filters: Filters): Promise<ReadonlySet<string> | undefined> {
  const refs = filterValues(filters, 'ancestor');
  if (refs === undefined) return undefined;
  const all = await engine.images.list();
  const found = await Promise.all(refs.map((ref) => engine.images.get(ref).catch(() => undefined)));
  const bases = found.filter((image) => image !== undefined);
  const ids = all.filter((image) => bases.some((base) => standsOn(image, base))).map(({ id }) => id);
  return new Set([...bases.map(({ id }) => id), ...ids]);
}

function matchesPort(filters: Filters, key: string, ports: readonly string[]): boolean {
  return (filterValues(filters, key) ?? []).some((value) => {
    const wanted = parsePortRange(value);
    if (wanted === undefined) throw new LinkspanError('requestInvalid', `invalid filter '${key}=${value}'`);
    return ports.some((port) => {
      const has = parsePortRange(port);
      return (
        has !== undefined &&
        has.protocol === wanted.protocol &&
        has.first >= wanted.first &&
        has.first <= wanted.last
      );
    });
  });
}

/** `publish` means ports of the host, `expose` ports of the container; with both, one of them is enough. */
function matchesPorts(engine: Engine, container: Container, filters: Filters): boolean {
  if ((filterValues(filters, 'publish') ?? filterValues(filters, 'expose')) === undefined) return true;
  const published = engine.containers
    .bindings(container)
    .filter(({ hostPort }) => hostPort !== 0)
    .flatMap(({ proto, hostPort, count }) =>
      Array.from({ length: count }, (_, i) => `${hostPort + i}/${proto}`),
    );
  return (
    matchesPort(filters, 'publish', published) ||
    matchesPort(filters, 'expose', container.process.exposedPorts)
  );
}

function isOnNetwork(engine: Engine, container: Container, ref: string): boolean {
  const attachments = attachmentsOf(engine, container);
  return (
    attachments.has(ref) ||
    [...attachments.values()].some(({ network }) => network !== undefined && network.id.startsWith(ref))
  );
}

function checkValues(filters: Filters): void {
  for (const [key, words] of [
    ['status', states],
    ['health', healths],
  ] as const) {
    const bad = filterValues(filters, key)?.find((value) => !words.includes(value));
    if (bad !== undefined) throw invalidFilter(`${key}=${bad}`);
  }
}

/** Newest first; `selectContainers` keeps this order. */
function byAge(containers: readonly Container[]): readonly Container[] {
  return containers.toSorted((a, b) =>
    a.createdAt === b.createdAt
      ? 0
      : Date.parse(b.createdAt) - Date.parse(a.createdAt) || (a.createdAt < b.createdAt ? 1 : -1),
  );
}

export interface ListOptions {
  /** Also those that do not run; `status` and `exited` filters and a limit imply it. */
  readonly isAll: boolean;
  /** 0 or less: no limit. */
  readonly limit: number;
}

/** Throws code requestInvalid for a bad value, containerNotFound for an unknown `before` or `since`. */
export async function selectContainers(
  engine: Engine,
  filters: Filters,
  { isAll, limit }: ListOptions,
): Promise<readonly Container[]> {
  checkValues(filters);
  const codes = exitCodes(filters);
  const ancestors = await ancestorIds(engine, filters);
  const isTask = booleanFilter(filters, 'is-task');
  const showsStopped = isAll || limit > 0 || filterValues(filters, 'status') !== undefined;
  const bound = (key: string): Container | undefined => {
    const ref = filterValues(filters, key)?.at(-1);
    return ref === undefined ? undefined : engine.containers.get(ref);
  };
  const [before, since] = [bound('before'), bound('since')];
  const all = byAge(engine.containers.list());
  const from = before === undefined ? 0 : all.findIndex(({ id }) => id === before.id) + 1;
  const to = since === undefined ? all.length : all.findIndex(({ id }) => id === since.id);
  const chosen = all
    .slice(from, to)
    .filter(
      (container) =>
        (isRunning(container) || showsStopped) &&
        (ancestors === undefined || ancestors.has(container.imageId)) &&
        (codes === undefined ||
          (!isRunning(container) &&
            container.startedAt !== zeroTime &&
            codes.includes(container.exitCode))) &&
        isTask !== true &&
        matchesExactly(filters, 'status', stateWord(container)) &&
        matchesExactly(filters, 'health', container.health ?? 'none') &&
        matchesPattern(filters, 'name', container.name, `/${container.name}`) &&
        matchesPattern(filters, 'id', container.id) &&
        matchesLabels(filters, container.process.labels) &&
        matchesAny(filters, 'network', (ref) => isOnNetwork(engine, container, ref)) &&
        matchesAny(filters, 'volume', (path) =>
          mountsOf(container).some(
            (mount) =>
              mount.target === path ||
              (mount.type === 'bind' && mount.source === path) ||
              (mount.type === 'volume' && mount.name === path),
          ),
        ) &&
        matchesPorts(engine, container, filters),
    );
  return limit > 0 ? chosen.slice(0, limit) : chosen;
}
