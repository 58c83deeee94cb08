/*
 * The work of `cp`: files between a container and this machine. A container chooses what its files are called and where its links lead:
 * what comes from it is unpacked below the destination only, whatever is there or comes to be there.
 */
import { constants, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LinkspanError } from '../../../errors/linkspanError.ts';
import { packPlace } from '../../../files/packTree.ts';
import { resolvePath, toBytes } from '../../../files/rootTree.ts';
import { unpackInto } from '../../../files/unpackTree.ts';
import { CliError } from '../cliError.ts';
import type { ApiClient } from '../http/apiClient.ts';
import type { Io } from '../io.ts';
import { formatSize } from '../text/units.ts';
import {
  type CopyEnd,
  type CopySource,
  containerPath,
  linkedPath,
  localDestination,
  localPath,
  localSource,
  planCopy,
  splitCopyArgument,
  splitPath,
} from './copyPaths.ts';

/** Linux's O_PATH, which Node does not name: who may not list a folder may still go through it. */
const pathOnly = 0o10000000;

/** Bits of Go's FileMode. */
const goFolder = 2 ** 31;
const goLink = 2 ** 27;
const goDevice = 2 ** 26;

interface PathStat {
  readonly mode: number;
  readonly linkTarget: string;
}

interface Side {
  readonly container: string;
  readonly path: string;
}

export interface CopyRun {
  readonly client: ApiClient;
  readonly io: Io;
  readonly isQuiet: boolean;
}

const archiveUrl = ({ container }: Side): string => `/containers/${encodeURIComponent(container)}/archive`;
const has = (mode: number, bit: number): boolean => Math.floor(mode / bit) % 2 === 1;

function parseStat(header: string | undefined): PathStat {
  const text = Buffer.from(header ?? '', 'base64').toString('utf8');
  return JSON.parse(text) as PathStat;
}

/** Undefined if there is nothing, or nobody to ask: what follows says why. */
async function findStat(client: ApiClient, side: Side): Promise<PathStat | undefined> {
  try {
    const { head } = await client.request('HEAD', archiveUrl(side), { query: { path: side.path } });
    return parseStat(head.headers.get('x-docker-container-path-stat'));
  } catch {
    return undefined;
  }
}

/** Throws CliError in docker's words. */
function checkOutputPath(path: string): void {
  const find = (of: string): ReturnType<typeof statSync> | undefined =>
    statSync(of, { throwIfNoEntry: false });
  const folder = splitPath(path)[0];
  if (find(folder) === undefined)
    throw new CliError(`invalid output path: directory ${JSON.stringify(folder)} does not exist`);
  const info = find(path);
  if (info?.isCharacterDevice() === true || info?.isBlockDevice() === true)
    throw new CliError(
      `invalid output path: ${JSON.stringify(path)} must be a directory or a regular file: got a device`,
    );
}

/** Counts what passes, and shows it at a terminal. */
class Progress {
  readonly #run: CopyRun;
  readonly #title: string;
  #bytes = 0;
  #drawnMs = 0;

  constructor(run: CopyRun, title: string) {
    this.#run = run;
    this.#title = title;
  }

  async *through(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { io, isQuiet } = this.#run;
    for await (const part of source) {
      this.#bytes += part.length;
      if (!isQuiet && io.isErrTerminal && io.nowMs() - this.#drawnMs >= 200) {
        this.#drawnMs = io.nowMs();
        io.err(`\r\u001b[2K${this.#title} - ${formatSize(this.#bytes, 3)}`);
      }
      yield part;
    }
  }

  /** Whatever became of it. */
  clear(): void {
    if (this.#drawnMs > 0) this.#run.io.err('\r\u001b[2K');
  }

  tell(destination: string): void {
    if (!this.#run.isQuiet)
      this.#run.io.err(`Successfully copied ${formatSize(this.#bytes, 3)} to ${destination}\n`);
  }
}

/** Runs `work`, whose refusals are the user's to read. */
async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof LinkspanError ? new CliError(error.message) : error;
  }
}

/** Below `folder`, what is called `from` in the tar is called `to`. */
async function unpack(
  tar: AsyncIterable<Uint8Array>,
  folder: string,
  from: string,
  to: string,
  stop: () => void,
): Promise<void> {
  const [old, name] = [from === '/' ? '' : toBytes(from), to === '/' ? '' : toBytes(to)];
  const rename = (entry: string): string =>
    entry === old || entry.startsWith(`${old}/`) ? `${name}${entry.slice(old.length)}` : entry;
  await using root = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  const options = { keepsKinds: true, owner: 'caller', shownRoot: folder, rename } as const;
  await unpackInto({ folder: root, isReadOnly: false, mounts: new Map() }, '/', tar, options, stop);
}

async function copyOut(run: CopyRun, from: Side, destination: string, follows: boolean): Promise<void> {
  const { client, io } = run;
  const source = { ...from, path: containerPath(from.path) };
  const local = destination === '-' ? '' : localPath(destination);
  if (local !== '') checkOutputPath(local);
  const link = follows ? await findStat(client, source) : undefined;
  const isLink = link !== undefined && has(link.mode, goLink);
  const path = isLink ? linkedPath(source.path, link.linkTarget) : source.path;
  const response = await client.request('GET', archiveUrl(source), { query: { path } });
  if (local === '') {
    for await (const part of response.body) io.out(part);
    return;
  }
  try {
    const { mode } = parseStat(response.head.headers.get('x-docker-container-path-stat'));
    const name = splitPath(source.path)[1];
    const plan = planCopy({ isFolder: has(mode, goFolder), name }, localDestination(local));
    const progress = new Progress(run, 'Copying from container');
    const tar = progress.through(response.body);
    await refusing(() => unpack(tar, plan.folder, splitPath(path)[1], plan.name, response.close)).finally(
      () => progress.clear(),
    );
    progress.tell(local);
  } finally {
    response.close();
  }
}

/** A local file or folder as a tar in which it is called `as`. */
async function* packLocal({ path, isFolder }: CopySource, as: string): AsyncGenerator<Uint8Array> {
  const [folder, name] = isFolder ? [path, ''] : [dirname(path), splitPath(path)[1]];
  await using root = await open(folder, pathOnly | constants.O_DIRECTORY);
  const tree = { folder: root, isReadOnly: true, mounts: new Map() };
  await using place = await resolvePath(tree, toBytes(name), false);
  yield* packPlace(tree, place, toBytes(as));
}

/** What is at the path of the container, and where a link there leads. */
async function findDestination(client: ApiClient, side: Side): Promise<CopyEnd> {
  let path = containerPath(side.path);
  let stat = await findStat(client, side);
  if (stat !== undefined && has(stat.mode, goLink)) {
    path = linkedPath(path, stat.linkTarget);
    stat = await findStat(client, { ...side, path });
  }
  if (stat !== undefined && has(stat.mode, goDevice))
    throw new CliError(
      `destination "${side.container}:${side.path}" must be a directory or a regular file: got a device`,
    );
  return { path, exists: stat !== undefined, isFolder: stat !== undefined && has(stat.mode, goFolder) };
}

async function copyIn(
  run: CopyRun,
  source: string,
  destination: Side,
  options: { readonly follows: boolean; readonly asUser: boolean },
): Promise<void> {
  const { client, io } = run;
  const end = await findDestination(client, destination);
  const query = {
    noOverwriteDirNonDir: 'true',
    copyUIDGID: options.asUser ? 'true' : undefined,
  };
  if (source === '-') {
    if (!end.isFolder)
      throw new CliError(`destination "${destination.container}:${destination.path}" must be a directory`);
    await client.request('PUT', archiveUrl(destination), {
      query: { ...query, path: end.path },
      stream: io.stdin,
    });
    return;
  }
  const local = localSource(localPath(source), options.follows);
  const plan = planCopy(local, end);
  const progress = new Progress(run, 'Copying to container');
  await refusing(() =>
    client.request('PUT', archiveUrl(destination), {
      query: { ...query, path: plan.folder },
      stream: progress.through(packLocal(local, plan.name)),
    }),
  ).finally(() => progress.clear());
  progress.tell(`${destination.container}:${end.path}`);
}

/** `from` and `to` as the user typed them. */
export async function copyFiles(
  run: CopyRun,
  from: string,
  to: string,
  options: { readonly follows: boolean; readonly asUser: boolean },
): Promise<void> {
  if (from === '') throw new CliError('source can not be empty');
  if (to === '') throw new CliError('destination can not be empty');
  const [source, destination] = [splitCopyArgument(from), splitCopyArgument(to)];
  if (source.container !== '' && destination.container !== '')
    throw new CliError('copying between containers is not supported');
  if (source.container !== '') await copyOut(run, source, destination.path, options.follows);
  else if (destination.container !== '') await copyIn(run, source.path, destination, options);
  else throw new CliError('must specify at least one container source');
}
