/*
 * Building at the edge (Docker Engine API 1.50): the query of POST /build, the filters of its prune, and the cache's
 * records.
 */
import type { BuildRequest, Ulimit } from '../../builder/buildRequest.ts';
import type { Exporter, UsageRecord } from '../../builder/schema.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { formatTimestamp } from '../../runtime/containerd/timestamp.ts';
import { type Filters, filterValues } from './filters.ts';
import { type Decoder, int, list, map, parseJson, pointer, struct, text } from './goJson.ts';
import { allOf, boolOf, intOf, type Query, textOf } from './query.ts';
import { isAtLeast } from './versions.ts';

interface UlimitBody {
  readonly Name: string;
  readonly Hard: number;
  readonly Soft: number;
}

const ulimitBody: Decoder<UlimitBody> = struct<UlimitBody>('Ulimit', { Name: text, Hard: int, Soft: int });

/** Options that limit what a build may use, or change what it makes, which BuildKit's Dockerfile frontend has not. */
const numbers = ['memory', 'memswap', 'cpushares', 'cpuperiod', 'cpuquota'] as const;
const texts = ['cpusetcpus', 'cpusetmems', 'isolation', 'securityopt', 'outputs'] as const;

function refuse(option: string): LinkspanError {
  return new LinkspanError(
    'notImplemented',
    `the build option ${option} is not supported: images are built by BuildKit, which has no such option`,
  );
}

function checkSupported(query: Query): void {
  if (boolOf(query, 'squash')) throw refuse('squash');
  for (const name of numbers) if ((intOf(query, name) ?? 0) !== 0) throw refuse(name);
  for (const name of texts) {
    const given = textOf(query, name);
    if (given !== '' && given !== 'default' && given !== 'null' && given !== '[]') throw refuse(name);
  }
}

function jsonOf<T>(query: Query, name: string, decode: Decoder<T>): T | undefined {
  const given = textOf(query, name);
  return given === '' ? undefined : decode(parseJson(given), name);
}

/** Throws codes requestInvalid and, for what would have no effect, notImplemented. */
export function parseBuildQuery(query: Query): BuildRequest {
  checkSupported(query);
  const args = jsonOf(query, 'buildargs', map(pointer(text))) ?? {};
  const ulimits = jsonOf(query, 'ulimits', list(ulimitBody)) ?? [];
  return {
    names: allOf(query, 't').filter((name) => name !== ''),
    dockerfile: textOf(query, 'dockerfile'),
    remote: textOf(query, 'remote'),
    args: Object.fromEntries(Object.entries(args).map(([name, value]) => [name, value ?? null])),
    labels: jsonOf(query, 'labels', map(text)) ?? {},
    target: textOf(query, 'target'),
    isCacheUsed: !boolOf(query, 'nocache'),
    isPullForced: boolOf(query, 'pull'),
    platform: textOf(query, 'platform'),
    network: textOf(query, 'networkmode'),
    // Docker's own client repeats it; others send one list in JSON.
    extraHosts: allOf(query, 'extrahosts').flatMap((one) =>
      one.startsWith('[') ? (list(text)(parseJson(one), 'extrahosts') ?? []) : one === '' ? [] : [one],
    ),
    cacheFrom: jsonOf(query, 'cachefrom', list(text)) ?? [],
    shmBytes: intOf(query, 'shmsize') ?? 0,
    ulimits: ulimits.map(({ Name, Hard, Soft }): Ulimit => ({ name: Name, hard: Hard, soft: Soft })),
    cgroupParent: textOf(query, 'cgroupparent'),
  };
}

interface OutputBody {
  readonly Type: string;
  readonly Attrs: Readonly<Record<string, string>>;
}

const outputBody: Decoder<OutputBody> = struct<OutputBody>('ImageBuildOutput', {
  Type: text,
  Attrs: map(text),
});

/** Of version 2: where the result goes instead of into the store; undefined = there. */
export function parseOutput(query: Query): Exporter | undefined {
  const [output, ...more] = jsonOf(query, 'outputs', list(outputBody)) ?? [];
  if (output === undefined) return undefined;
  // These two come back over the session.
  if (more.length > 0 || (output.Type !== 'local' && output.Type !== 'tar'))
    throw new LinkspanError(
      'notImplemented',
      `the build output ${output.Type} is not supported: use docker buildx`,
    );
  return { type: output.Type, attrs: output.Attrs };
}

/** Filters of POST /build/prune. */
export const cacheFilters: readonly string[] = [
  ...['description', 'id', 'inuse', 'label', 'label!', 'parent', 'private', 'shared', 'type'],
  ...['until', 'unused-for'],
];

/** As BuildKit takes them: conditions that all have to hold, in one text. */
export function formatCacheFilters(filters: Filters): readonly string[] {
  const conditions = ['description', 'id', 'parent', 'type'].flatMap((name) =>
    // Docker takes the id for a pattern; others have to be the same.
    (filterValues(filters, name) ?? []).map(
      (value) => `${name}${name === 'id' ? '~=' : '=='}${JSON.stringify(value)}`,
    ),
  );
  for (const name of ['inuse', 'private', 'shared']) {
    const value = filterValues(filters, name)?.[0];
    if (value !== undefined) conditions.push(`${name}==${/^(1|t|true)$/i.test(value)}`);
  }
  return conditions.length === 0 ? [] : [conditions.join(',')];
}

export function cacheShape(record: UsageRecord, version: string): unknown {
  return {
    ID: record.id,
    ...(isAtLeast(version, '1.42')
      ? record.parents.length > 0 && { Parents: record.parents }
      : { Parent: record.parents[0] ?? '' }),
    Type: record.record_type,
    Description: record.description,
    InUse: record.in_use,
    Shared: record.shared,
    Size: Number(record.size),
    CreatedAt: formatTimestamp(record.created_at),
    LastUsedAt: record.last_used_at === null ? null : formatTimestamp(record.last_used_at),
    UsageCount: Number(record.usage_count),
  };
}
