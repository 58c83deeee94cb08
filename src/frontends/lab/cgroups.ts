/*
 * The cgroups of a lab: those of its containers outlive the namespaces and are removed by hand.
 */
import { readdirSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const mountPoint = '/sys/fs/cgroup';
/** A killed process leaves its cgroup a moment after it is gone. */
const removeTimeoutMs = 3000;

/** The roots of all hierarchies: cgroup v2's one, or v1's one each. */
function hierarchies(): readonly string[] {
  try {
    return [mountPoint, ...readdirSync(mountPoint).map((name) => join(mountPoint, name))];
  } catch {
    return [];
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** The deepest first. */
function foldersBelow(path: string): readonly string[] {
  const own = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...own.flatMap(({ name }) => foldersBelow(join(path, name))), path];
}

function removeOnce(path: string): boolean {
  try {
    if (isFolder(path)) for (const folder of foldersBelow(path)) rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

/** Removes `cgroup` (`/name`) from every hierarchy; resolves with those that are still in use. */
export async function removeCgroups(cgroup: string): Promise<readonly string[]> {
  let left = hierarchies().map((root) => join(root, cgroup));
  for (const endMs = performance.now() + removeTimeoutMs; ; await sleep(20)) {
    left = left.filter((path) => !removeOnce(path));
    if (left.length === 0 || performance.now() > endMs) return left;
  }
}
