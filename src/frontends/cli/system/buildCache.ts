/*
 * The build cache in `system df`, as the BuildKit behind the daemon tells of it (Docker Engine API 1.50, BuildCache).
 */
import { formatDuration, formatSize } from '../text/units.ts';
import type { Listing } from '../text/listing.ts';

export interface CacheRow {
  readonly ID: string;
  readonly Type: string;
  readonly InUse: boolean;
  /** Its bytes are another's too. */
  readonly Shared: boolean;
  readonly Size: number;
  readonly CreatedAt: string;
  /** Null if it was never used since it was made. */
  readonly LastUsedAt: string | null;
  readonly UsageCount: number;
}

/** Of what no other record has too. */
export function cacheBytes(rows: readonly CacheRow[]): number {
  return rows.filter(({ Shared }) => !Shared).reduce((sum, { Size }) => sum + Size, 0);
}

export function cacheListing(nowMs: number): Listing<CacheRow> {
  const ago = (time: string | null): string =>
    time === null ? '' : `${formatDuration((nowMs - Date.parse(time)) / 1000)} ago`;
  return {
    typeName: '*formatter.buildCacheContext',
    table:
      '{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}',
    headers: {
      ID: 'CACHE ID',
      CacheType: 'CACHE TYPE',
      CreatedSince: 'CREATED',
      LastUsedSince: 'LAST USED',
      UsageCount: 'USAGE',
    },
    columns: {
      // A star is what nobody uses at the moment.
      ID: ({ ID, InUse }) => `${ID.slice(0, 12)}${InUse ? '' : '*'}`,
      CacheType: ({ Type }) => Type,
      Size: ({ Size }) => formatSize(Size, 3),
      CreatedSince: ({ CreatedAt }) => ago(CreatedAt),
      LastUsedSince: ({ LastUsedAt }) => ago(LastUsedAt),
      UsageCount: ({ UsageCount }) => String(UsageCount),
      Shared: ({ Shared }) => String(Shared),
    },
  };
}
