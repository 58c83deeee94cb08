/*
 * `system df`: what images, containers and volumes take, in sums or one by one.
 */
import { type Command, noArguments } from '../command.ts';
import { containerListing, type ContainerRow } from '../containers/list.ts';
import { flag } from '../flags.ts';
import { imageListing, imageRows, type ImageRow, type ImageSummary } from '../images/list.ts';
import { tableFormatUsage } from '../networks/list.ts';
import { compileTemplate } from '../template/evaluator.ts';
import { GoStruct, type GoValue } from '../template/values.ts';
import { encodeGoJsonForHtml } from '../text/goJson.ts';
import { formatListing, type Listing, structOf } from '../text/listing.ts';
import { formatSize } from '../text/units.ts';
import { volumeListing, type VolumeRow } from '../volumes/list.ts';
import { cacheBytes, cacheListing, type CacheRow } from './buildCache.ts';

interface DiskUsage {
  readonly LayersSize: number;
  readonly Images: readonly ImageSummary[] | null;
  readonly Containers: readonly ContainerRow[] | null;
  readonly Volumes: readonly VolumeRow[] | null;
  readonly BuildCache: readonly CacheRow[] | null;
}

/** One line of the sums. */
interface Sum {
  readonly type: string;
  readonly total: number;
  readonly active: number;
  readonly sizeBytes: number;
  readonly reclaimable: string;
}

const sumListing: Listing<Sum> = {
  typeName: '*formatter.diskUsageContext',
  table: '{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}',
  headers: { TotalCount: 'TOTAL' },
  columns: {
    Active: ({ active }) => String(active),
    Reclaimable: ({ reclaimable }) => reclaimable,
    Size: ({ sizeBytes }) => formatSize(sizeBytes),
    TotalCount: ({ total }) => String(total),
    Type: ({ type }) => type,
  },
};

function share(bytes: number, ofBytes: number): string {
  const text = formatSize(bytes);
  return ofBytes > 0 ? `${text} (${Math.trunc((bytes * 100) / ofBytes)}%)` : text;
}

function add(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0);
}

function imageSum({ Images, LayersSize }: DiskUsage): Sum {
  const images = Images ?? [];
  const used = images.filter(({ Containers }) => Containers > 0);
  const usedBytes = add(used.map(({ Size, SharedSize }) => Size - SharedSize));
  const reclaimable = share(LayersSize - usedBytes, LayersSize);
  return { type: 'Images', total: images.length, active: used.length, sizeBytes: LayersSize, reclaimable };
}

function containerSum({ Containers }: DiskUsage): Sum {
  const all = Containers ?? [];
  const active = all.filter(({ State }) => ['running', 'paused', 'restarting'].includes(State));
  const bytesOf = (rows: readonly ContainerRow[]): number => add(rows.map(({ SizeRw }) => SizeRw ?? 0));
  const sizeBytes = bytesOf(all);
  const reclaimable = share(sizeBytes - bytesOf(active), sizeBytes);
  return { type: 'Containers', total: all.length, active: active.length, sizeBytes, reclaimable };
}

function volumeSum({ Volumes }: DiskUsage): Sum {
  const all = (Volumes ?? []).map(({ UsageData }) => UsageData ?? { RefCount: 0, Size: -1 });
  const bytesOf = (rows: typeof all): number => add(rows.map(({ Size }) => Math.max(0, Size)));
  const used = all.filter(({ RefCount }) => RefCount > 0);
  const sizeBytes = bytesOf(all);
  const reclaimable = share(bytesOf(all.filter(({ RefCount }) => RefCount === 0)), sizeBytes);
  return { type: 'Local Volumes', total: all.length, active: used.length, sizeBytes, reclaimable };
}

function cacheSum({ BuildCache }: DiskUsage): Sum {
  const all = BuildCache ?? [];
  const used = all.filter(({ InUse }) => InUse);
  const sizeBytes = cacheBytes(all);
  const reclaimable = formatSize(sizeBytes - cacheBytes(used));
  return { type: 'Build Cache', total: all.length, active: used.length, sizeBytes, reclaimable };
}

const imageTable =
  '{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}';
const containerTable =
  '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}';

/** One by one, an image by its first name. */
function rowsOf(usage: DiskUsage): {
  readonly images: readonly ImageRow[];
  readonly containers: readonly ContainerRow[];
  readonly volumes: readonly VolumeRow[];
  readonly cache: readonly CacheRow[];
} {
  return {
    images: (usage.Images ?? []).flatMap((image) =>
      imageRows(image, false)
        .slice(0, 1)
        .map((row) => ({ ...row, digest: '' })),
    ),
    // What only this container takes: its size with the image's would be counted twice.
    containers: (usage.Containers ?? []).map((row) => ({ ...row, SizeRootFs: 0 })),
    volumes: usage.Volumes ?? [],
    cache: usage.BuildCache ?? [],
  };
}

function formatTables(usage: DiskUsage, nowMs: number): string {
  const { images, containers, volumes, cache } = rowsOf(usage);
  return [
    `Images space usage:\n\n${formatListing(imageListing(true, false, nowMs), images, `table ${imageTable}`)}`,
    `Containers space usage:\n\n${formatListing(containerListing(true, true, nowMs), containers, `table ${containerTable}`)}`,
    `Local Volumes space usage:\n\n${formatListing(volumeListing, volumes, 'table {{.Name}}\t{{.Links}}\t{{.Size}}')}`,
    `Build cache usage: ${formatSize(cacheBytes(cache))}\n\n${formatListing(cacheListing(nowMs), cache, '')}`,
  ].join('\n');
}

function formatVerbose(usage: DiskUsage, format: string, nowMs: number): string {
  const { images, containers, volumes, cache } = rowsOf(usage);
  const fields = new Map<string, GoValue>([
    ['Images', images.map((row) => structOf(imageListing(false, false, nowMs), row))],
    ['Containers', containers.map((row) => structOf(containerListing(false, true, nowMs), row))],
    ['Volumes', volumes.map((row) => structOf(volumeListing, row))],
    ['BuildCache', cache.map((row) => structOf(cacheListing(nowMs), row))],
  ]);
  const whole = new GoStruct('*formatter.diskUsageContext', fields, new Set(fields.keys()));
  // Without a newline behind, and with the rows escaped as for HTML: as Docker does.
  return /^(\{\{ *json +\. *\}\}|json)$/.test(format)
    ? encodeGoJsonForHtml(whole)
    : compileTemplate(format).run(whole);
}

export const diskUsageCommand: Command = {
  paths: ['system df'],
  summary: 'Show disk usage',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('--format', 'string', tableFormatUsage),
    flag('-v, --verbose', 'bool', 'Show detailed information on space usage'),
  ],
  examples: [['Each image, container and volume', 'system df -v']],
  run: async ({ client, flags, io }) => {
    const usage = await client.json<DiskUsage>('GET', '/system/df');
    const format = flags.text('format');
    if (!flags.bool('verbose')) {
      const sums = [imageSum(usage), containerSum(usage), volumeSum(usage), cacheSum(usage)];
      io.out(formatListing(sumListing, sums, format));
    } else if (format === '' || format === 'table') io.out(formatTables(usage, io.nowMs()));
    else io.out(formatVerbose(usage, format, io.nowMs()));
  },
};
