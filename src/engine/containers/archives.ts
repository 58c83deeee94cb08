/*
 * `cp`: what is at a path of a container, out of it and into it, with its volumes. A running container is looked at as it
 * sees itself; one that does not run cannot be started until the copy is done. Texts: Docker Engine 28, daemon/archive.go.
 */
import { access, constants } from 'node:fs/promises';
import { posix } from 'node:path';
import type { Readable } from 'node:stream';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { packPlace } from '../../runtime/files/packTree.ts';
import {
  PathError,
  type Place,
  resolvePath,
  type Tree,
  type TreeMount,
} from '../../runtime/files/rootTree.ts';
import { unpackInto } from '../../runtime/files/unpackTree.ts';
import { resolveUser } from '../../runtime/oci/users.ts';
import type { PathStat, PathWrite } from '../engine.ts';
import type { ContainersContext } from './dependencies.ts';
import type { LiveContainer } from './liveContainer.ts';
import { mountsOf } from './mountPlan.ts';

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
    const place = await resolvePath(tree, path, follows || wantsFolder);
    if (place.info !== undefined && (!wantsFolder || place.name === ''))
      return { ...place, info: place.info };
    await place[Symbol.asyncDispose]();
  } catch (error) {
    if (!(error instanceof PathError)) throw error;
  }
  throw missing(path, ref);
}

/** Where a link leads inside the container, there or not. */
async function linkTarget(tree: Tree, path: string): Promise<string> {
  try {
    await using place = await resolvePath(tree, path, true);
    return place.path;
  } catch (error) {
    if (error instanceof PathError) return error.path;
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

/** Runs `work` with the container's files. */
async function withTree<T>(
  context: ContainersContext,
  ref: string,
  isWritten: boolean,
  work: (tree: Tree, live: LiveContainer) => Promise<T>,
): Promise<T> {
  const { table, mutex, runtime, volumes } = context;
  const live = table.get(ref);
  const running = (): Promise<T> =>
    runtime.withRunningRootfs(live.id, live.record.pid, (tree) => work(tree, live));
  if (live.isRunning) return await running();
  const stopped = async (): Promise<T | undefined> => {
    const { record } = table.get(live.id);
    const mounts = mountsOf(record).flatMap((mount): TreeMount[] => {
      if (mount.type === 'tmpfs') return [];
      const source = mount.type === 'volume' ? volumes.pathOf(mount.name) : mount.source;
      return [{ target: mount.target, source, isReadOnly: mount.isReadOnly }];
    });
    return await runtime.withStoppedRootfs(live.id, { isWritten, mounts }, (tree) => work(tree, live));
  };
  // One that was started while this waited for its turn needs no turn.
  let result: { readonly value: T } | undefined;
  await mutex.run(live.id, async () => {
    if (!live.isRunning) result = { value: (await stopped()) as T };
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
  const isVolume = mountsOf(live.record).some(
    ({ type, target }) => type !== 'tmpfs' && (path === target || path.startsWith(`${target}/`)),
  );
  if (isDenied || (live.record.spec.isReadOnlyRootfs && !live.isRunning && !isVolume))
    throw new LinkspanError(
      'archiveRefused',
      isVolume ? 'mounted volume is marked read-only' : 'container rootfs is marked read-only',
    );
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
  await withTree(context, ref, false, async (tree) => {
    await using place = await placeAt(tree, path, ref, false);
    await take(await statOf(tree, place, path), packPlace(tree, place, baseOf(path)));
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
  await withTree(context, ref, true, async (tree, live) => {
    await using place = await placeAt(tree, path, ref, true);
    if (place.name !== '') throw new LinkspanError('archiveRefused', 'extraction point is not a directory');
    await checkWritable(place, live);
    const { user } = live.record.process;
    const owner =
      asUser && user !== '' ? resolveUser(user, [], await context.accounts.read(live.record)) : undefined;
    await unpackInto(tree, place.path, tar, { keepsKinds, ...(owner !== undefined && { owner }) });
  });
}
