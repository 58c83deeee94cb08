/*
 * Copies a folder out of a root file system that is not mounted yet: what fills a new volume. Files are copied by cp(1),
 * since Node copies neither owners nor extended attributes, and makes no devices.
 */
import { execFile } from 'node:child_process';
import { lstat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { programPath } from '../programPath.ts';
import { withOverlays } from './overlayHolder.ts';
import { resolveInRoot } from './rootfs.ts';

const need = 'filling a volume';

async function copyFrom(root: string, path: string, target: string): Promise<'copied' | 'none' | 'file'> {
  const source = await resolveInRoot([root], path);
  const info = source === undefined ? undefined : await lstat(source);
  if (source === undefined || info === undefined) return 'none';
  if (!info.isDirectory()) return 'file';
  try {
    await promisify(execFile)(await programPath('cp', need), ['-a', '--', `${source}/.`, target]);
  } catch (error) {
    const { stderr } = error as { readonly stderr?: string };
    const text = (stderr ?? String(error)).trim().split('\n', 1)[0] ?? '';
    throw new LinkspanError('runtimeFailed', `cannot copy the image's ${path} into the volume: ${text}`, {
      cause: error,
    });
  }
  return 'copied';
}

/** `layers` are the folders of a root file system from the top down; see Runtime.copyRootfsFolder. */
export async function copyFolder(
  layers: readonly string[],
  path: string,
  target: string,
): Promise<'copied' | 'none' | 'file'> {
  // What is in no layer needs no mount, and that is what most volumes are for.
  if ((await resolveInRoot(layers, path)) === undefined) return 'none';
  return await withOverlays([layers], need, ([root = '']) => copyFrom(root, path, target));
}
