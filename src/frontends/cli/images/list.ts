/*
 * `images` and `history`.
 */
import { type Command, oneArgument } from '../command.ts';
import { listFormat } from '../configFile.ts';
import { encodeFilters } from '../filters.ts';
import { flag } from '../flags.ts';
import { tableFormatUsage } from '../networks/list.ts';
import { platformQuery } from './platform.ts';
import { formatLocalTime } from '../text/goTime.ts';
import { ellipsis, formatListing, type Listing } from '../text/listing.ts';
import { formatDuration, formatSize } from '../text/units.ts';

export interface ImageSummary {
  readonly Id: string;
  readonly RepoTags: readonly string[] | null;
  readonly RepoDigests: readonly string[] | null;
  readonly Created: number;
  readonly Size: number;
  readonly SharedSize: number;
  readonly Containers: number;
}

export interface ImageRow {
  readonly image: ImageSummary;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

const none = '<none>';

function bareId(id: string, isTruncated: boolean): string {
  return isTruncated ? id.replace(/^sha256:/, '').slice(0, 12) : id;
}

function splitAtLast(text: string, separator: string): [string, string] {
  const at = text.lastIndexOf(separator);
  return at < 0 ? [text, none] : [text.slice(0, at), text.slice(at + 1)];
}

/** One row a tag; with digests, one a digest of each tag's repository. */
export function imageRows(image: ImageSummary, hasDigests: boolean): ImageRow[] {
  const tags = (image.RepoTags ?? []).filter((tag) => tag !== `${none}:${none}`);
  const digests = (image.RepoDigests ?? []).filter((digest) => digest !== `${none}@${none}`);
  const digestsOf = (repository: string): string[] =>
    digests
      .map((each) => splitAtLast(each, '@'))
      .filter(([name]) => name === repository)
      .map(([, digest]) => digest);
  const repositories = new Set(tags.map((tag) => splitAtLast(tag, ':')[0]));
  const tagged = tags.flatMap((each): ImageRow[] => {
    const [repository, tag] = splitAtLast(each, ':');
    const own = hasDigests ? digestsOf(repository) : [];
    return (own.length === 0 ? [none] : own).map((digest) => ({ image, repository, tag, digest }));
  });
  const untagged = digests
    .map((each) => splitAtLast(each, '@'))
    .filter(([name]) => !repositories.has(name))
    .map(([repository, digest]): ImageRow => ({ image, repository, tag: none, digest }));
  const rows = [...tagged, ...(hasDigests ? untagged : untagged.slice(0, 1))];
  return rows.length === 0 ? [{ image, repository: none, tag: none, digest: none }] : rows;
}

export function imageListing(isTruncated: boolean, hasDigests: boolean, nowMs: number): Listing<ImageRow> {
  const size = (bytes: number): string => (bytes === -1 ? 'N/A' : formatSize(bytes));
  return {
    typeName: '*formatter.imageContext',
    errorPrefix: 'failed to execute template',
    table: `{{.Repository}}\t{{.Tag}}\t${hasDigests ? '{{.Digest}}\t' : ''}{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`,
    headers: {
      ID: 'IMAGE ID',
      CreatedSince: 'CREATED',
      CreatedAt: 'CREATED AT',
      SharedSize: 'SHARED SIZE',
      UniqueSize: 'UNIQUE SIZE',
      VirtualSize: 'VIRTUAL SIZE',
    },
    columns: {
      Containers: ({ image }) => (image.Containers === -1 ? 'N/A' : String(image.Containers)),
      CreatedAt: ({ image }) => formatLocalTime(image.Created),
      CreatedSince: ({ image }) => `${formatDuration(nowMs / 1000 - image.Created)} ago`,
      Digest: (row) => row.digest,
      ID: ({ image }) => bareId(image.Id, isTruncated),
      Repository: (row) => row.repository,
      SharedSize: ({ image }) => size(image.SharedSize),
      Size: ({ image }) => formatSize(image.Size, 3),
      Tag: (row) => row.tag,
      UniqueSize: ({ image }) => (image.SharedSize === -1 ? 'N/A' : size(image.Size - image.SharedSize)),
      VirtualSize: ({ image }) => formatSize(image.Size),
    },
  };
}

export const imagesCommand: Command = {
  paths: ['images', 'image ls', 'image list'],
  summary: 'List images',
  usage: '[OPTIONS] [REPOSITORY[:TAG]]',
  arity: { type: 'atMost', count: 1 },
  flags: [
    flag('-a, --all', 'bool', 'Show all images (default hides intermediate images)'),
    flag('--digests', 'bool', 'Show digests'),
    flag('-f, --filter', 'filter', 'Filter output based on conditions provided'),
    flag('--format', 'string', tableFormatUsage),
    flag('--no-trunc', 'bool', "Don't truncate output"),
    flag('-q, --quiet', 'bool', 'Only show image IDs'),
  ],
  examples: [['Names for a script', "images --format '{{.Repository}}:{{.Tag}}'"]],
  run: async ({ flags, args, client, io, config }) => {
    const reference = args[0] === undefined ? [] : [`reference=${args[0]}`];
    const query = {
      all: flags.bool('all') ? '1' : undefined,
      filters: encodeFilters([...flags.list('filter'), ...reference]),
    };
    const images = await client.json<ImageSummary[]>('GET', '/images/json', { query });
    const format = listFormat({ flags, config }, 'imagesFormat');
    const hasDigests = flags.bool('digests') || /\.Digest\b/.test(format);
    const isQuiet = flags.bool('quiet') && format === '';
    const rows = images.flatMap((image) => imageRows(image, hasDigests));
    const shape = imageListing(!flags.bool('no-trunc'), flags.bool('digests'), io.nowMs());
    io.out(formatListing(shape, rows, isQuiet ? '{{.ID}}' : format));
  },
};

interface HistoryRow {
  readonly Id: string;
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Size: number;
  readonly Comment: string;
}

function historyListing(isTruncated: boolean, isHuman: boolean, nowMs: number): Listing<HistoryRow> {
  const rfc3339 = (seconds: number): string =>
    formatLocalTime(seconds)
      .replace(/^(\S+) (\S+) ([-+]\d\d)(\d\d).*$/, '$1T$2$3:$4')
      .replace('+00:00', 'Z');
  return {
    typeName: '*formatter.historyContext',
    errorPrefix: 'failed to execute template',
    table: '{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}',
    headers: {
      ID: 'IMAGE',
      CreatedSince: isHuman ? 'CREATED' : 'CREATED AT',
      CreatedAt: 'CREATED AT',
      CreatedBy: 'CREATED BY',
    },
    columns: {
      Comment: (row) => row.Comment,
      CreatedAt: (row) => rfc3339(row.Created),
      CreatedBy: (row) => {
        const text = row.CreatedBy.replaceAll('\t', ' ');
        return isTruncated ? ellipsis(text, 45) : text;
      },
      CreatedSince: (row) =>
        isHuman ? `${formatDuration(nowMs / 1000 - row.Created)} ago` : rfc3339(row.Created),
      ID: (row) => (row.Id === '<missing>' ? row.Id : bareId(row.Id, isTruncated)),
      Size: (row) => (isHuman ? formatSize(row.Size, 3) : String(row.Size)),
    },
  };
}

export const historyCommand: Command = {
  paths: ['history', 'image history'],
  summary: 'Show the history of an image',
  usage: '[OPTIONS] IMAGE',
  arity: oneArgument,
  completes: 'image',
  flags: [
    flag('--format', 'string', tableFormatUsage),
    flag('-H, --human', 'bool', 'Print sizes and dates in human readable format', 'true'),
    flag('--no-trunc', 'bool', "Don't truncate output"),
    flag(
      '--platform',
      'string',
      'Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    ),
    flag('-q, --quiet', 'bool', 'Only show image IDs'),
  ],
  examples: [['What the layers were made by', 'history --no-trunc busybox']],
  run: async ({ flags, args, client, io }) => {
    const rows = await client.json<HistoryRow[]>(
      'GET',
      `/images/${encodeURIComponent(args[0] ?? '')}/history`,
      { query: { platform: platformQuery(flags.text('platform')) } },
    );
    const format = flags.text('format');
    const isQuiet = flags.bool('quiet') && format === '';
    const shape = historyListing(!flags.bool('no-trunc'), flags.bool('human'), io.nowMs());
    io.out(formatListing(shape, rows, isQuiet ? '{{.ID}}' : format));
  },
};
