/*
 * `cp`: what is at a path of a container, out of it and into it, with its volumes. A running container is looked at as it
 * sees itself; one that does not run cannot be started or removed while it is written to, but read from. Texts: Docker
 * Engine 28, daemon/archive.go.
 */
import { existsSync } from 'node:fs';
import { access, constants } from 'node:fs/promises';
import { posix } from 'node:path';
import { Readable } from 'node:stream';
import type { Clock } from '../../base/clock.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { packPlace } from '../../files/packTree.ts';
import { problemAt } from '../../files/problem.ts';
import {
  PathError,
  type Place,
  resolvePath,
  toBytes,
  toText,
  type Tree,
  type TreeMount,
} from '../../files/rootTree.ts';
import { unpackInto } from '../../files/unpackTree.ts';
import { decompress } from '../../runtime/images/compression.ts';
import { resolveUser } from '../../runtime/oci/users.ts';
import type { PathStat, PathWrite } from '../engine.ts';
import { emitContainerEvent } from './containerEvents.ts';
import type { ContainersContext } from './dependencies.ts';
import type { LiveContainer } from './liveContainer.ts';
import { mountsOf } from './mountPlan.ts';
import { settlesWithin } from './patience.ts';

/** How long a client may send nothing while nobody else can do anything with the container. */
const stallLimitMs = 60_000;

/** An absolute path; a `/` or `/.` at its end stays, since it means that there must be a folder. */
function absolutePath(path: string): string {
  const clean = posix.resolve('/', path);
  if (clean === '/') return clean;
  if (/(?:^|\/)\.$/.test(path)) return `${clean}/.`;
  return path.endsWith('/') ? `${clean}/` : clean;
}

/** As Go's path.Base. */
function baseOf(path: string): string {
  return path === '/' ? '/' : (path.replace(/\/+$/, '').split('/').at(-1) ?? '');
}

function missing(path: string, ref: string): LinkspanError {
  return new LinkspanError('fileNotFound', `Could not find the file ${path} in container ${ref}`);
}

/** What is at the path; throws code fileNotFound. */
async function placeAt(
  tree: Tree,
  path: string,
  ref: string,
  follows: boolean,
): Promise<Place & { readonly info: NonNullable<Place['info']> }> {
  const wantsFolder = /\/\.?$/.test(path);
  try {
    const place = await resolvePath(tree, toBytes(path), follows || wantsFolder);
    if (place.info !== undefined && (!wantsFolder || place.name === ''))
      return { ...place, info: place.info };
    await place[Symbol.asyncDispose]();
  } catch (error) {
    if (!(error instanceof PathError)) throw problemAt(toBytes(path), error);
  }
  throw missing(path, ref);
}

/** Where a link leads inside the container, there or not. */
async function linkTarget(tree: Tree, path: string): Promise<string> {
  try {
    await using place = await resolvePath(tree, toBytes(path), true);
    return toText(place.path);
  } catch (error) {
    if (error instanceof PathError) return toText(error.path);
    throw error;
  }
}

async function statOf(
  tree: Tree,
  place: Awaited<ReturnType<typeof placeAt>>,
  path: string,
): Promise<PathStat> {
  const { info } = place;
  return {
    name: baseOf(path),
    sizeBytes: info.size,
    mode: info.mode,
    modifiedMs: info.mtimeMs,
    linkTarget: info.isSymbolicLink() ? await linkTarget(tree, path) : '',
  };
}

/** What the container has mounted, for one that does not run: its own files below /etc, too, once it had some. */
function mountsInside(context: ContainersContext, { record }: LiveContainer): readonly TreeMount[] {
  const own = [
    ['/etc/hosts', record.hostsPath],
    ['/etc/hostname', record.hostnamePath],
    ['/etc/resolv.conf', record.resolvConfPath],
  ] as const;
  return [
    ...own
      .filter(([, source]) => existsSync(source))
      .map(([target, source]) => ({ target, source, isReadOnly: false })),
    ...mountsOf(record).flatMap((mount): TreeMount[] => {
      if (mount.type === 'tmpfs' || mount.type === 'image') return [];
      // Its path is looked up at each start, and may lead anywhere now.
      if (mount.type === 'volume' && mount.subpath !== undefined) return [];
      const source = mount.type === 'volume' ? context.volumes.pathOf(mount.name) : mount.source;
      return [{ target: mount.target, source, isReadOnly: mount.isReadOnly }];
    }),
  ];
}

/** Runs `work` with the container's files; `mayWait`: others wait until it has ended. */
async function withTree<T>(
  context: ContainersContext,
  ref: string,
  isWritten: boolean,
  work: (tree: Tree, live: LiveContainer, mayWait: boolean) => Promise<T>,
): Promise<T> {
  const { table, mutex, runtime } = context;
  const live = table.get(ref);
  const running = (): Promise<T> =>
    runtime.withRunningRootfs(live.id, live.record.pid, (tree) => work(tree, live, true));
  const stopped = (mayWait: boolean): Promise<T> => {
    const write = !isWritten ? 'none' : live.record.spec.isReadOnlyRootfs ? 'mounts' : 'all';
    const options = { write, mounts: mountsInside(context, live) } as const;
    return runtime.withStoppedRootfs(live.id, options, (tree) => work(tree, live, mayWait));
  };
  if (live.isRunning) return await running();
  if (!isWritten) return await stopped(true);
  // One that was started while this waited for its turn needs no turn.
  let result: { readonly value: T } | undefined;
  await mutex.run(live.id, async () => {
    table.get(live.id);
    if (!live.isRunning) result = { value: await stopped(false) };
  });
  return result === undefined ? await running() : result.value;
}

/** Throws code archiveRefused if nothing can be written there. */
async function checkWritable(place: Place, live: LiveContainer): Promise<void> {
  const { path, handle, isReadOnly } = place.folder;
  const isDenied =
    isReadOnly ||
    (await access(`/proc/self/fd/${handle.fd}`, constants.W_OK).then(
      () => false,
      (error: NodeJS.ErrnoException) => error.code === 'EROFS',
    ));
  if (!isDenied) return;
  const isVolume = mountsOf(live.record).some(
    ({ type, target }) => type !== 'tmpfs' && `${toText(path)}/`.startsWith(`${target.replace(/\/$/, '')}/`),
  );
  throw new LinkspanError(
    'archiveRefused',
    isVolume ? 'mounted volume is marked read-only' : 'container rootfs is marked read-only',
  );
}

/** What a client sends, as long as it sends: others wait for the container. */
async function* withoutStalls(tar: Readable, clock: Clock): AsyncGenerator<Buffer> {
  const iterator = tar[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  for (;;) {
    const next = iterator.next();
    if (!(await settlesWithin(next, stallLimitMs, clock))) {
      next.catch(() => {});
      tar.destroy();
      const seconds = stallLimitMs / 1000;
      throw new LinkspanError(
        'archiveRefused',
        `no data for ${seconds} seconds, for which nobody else could use it`,
      );
    }
    const { value, done } = await next;
    if (done === true) return;
    yield value;
  }
}

export async function statPath(context: ContainersContext, ref: string, given: string): Promise<PathStat> {
  const path = absolutePath(given);
  return await withTree(context, ref, false, async (tree) => {
    await using place = await placeAt(tree, path, ref, false);
    return await statOf(tree, place, path);
  });
}

export async function readPath(
  context: ContainersContext,
  ref: string,
  given: string,
  take: (stat: PathStat, tar: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  const path = absolutePath(given);
  await withTree(context, ref, false, async (tree, { record }) => {
    await using place = await placeAt(tree, path, ref, false);
    emitContainerEvent(context.events, record, 'archive-path');
    await take(await statOf(tree, place, path), packPlace(tree, place, toBytes(baseOf(path))));
  });
}

export async function writePath(
  context: ContainersContext,
  ref: string,
  given: string,
  tar: Readable,
  { keepsKinds, asUser }: PathWrite,
): Promise<void> {
  const path = absolutePath(given);
  await withTree(context, ref, true, async (tree, live, mayWait) => {
    await using place = await placeAt(tree, path, ref, true);
    if (place.name !== '') throw new LinkspanError('archiveRefused', 'extraction point is not a directory');
    await checkWritable(place, live);
    const { user } = live.record.process;
    const owner =
      asUser && user !== '' ? resolveUser(user, [], await context.accounts.read(live.record)) : 'tar';
    const steady = mayWait ? tar : Readable.from(withoutStalls(tar, context.clock), { objectMode: false });
    const plain = await decompress(steady);
    await unpackInto(tree, place.path, plain, { keepsKinds, owner }, () => tar.destroy());
    emitContainerEvent(context.events, live.record, 'extract-to-dir');
  });
}
