/*
 * Engine API versions: the `/vX.Y` prefix of a path, and how two versions compare. Texts are those of Engine 28.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { apiVersion, minApiVersion } from './apiServer.ts';

/** Takes the version prefix off a request target. Without one the newest version is meant. */
export function splitVersion(url: string): { readonly version: string; readonly url: string } {
  const match = /^\/v([0-9.]+)(\/.*)$/.exec(url);
  if (match === null) return { version: apiVersion, url };
  return { version: match[1] ?? '', url: match[2] ?? '/' };
}

/** Negative, zero or positive as `a` is older than, equal to or newer than `b`. Missing parts count as 0. */
function compareVersions(a: string, b: string): number {
  const partsOfA = a.split('.').map(Number);
  const partsOfB = b.split('.').map(Number);
  for (let i = 0; i < Math.max(partsOfA.length, partsOfB.length); i++) {
    const difference = (partsOfA[i] ?? 0) - (partsOfB[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** True if a client of `version` knows what came with `since`. */
export function isAtLeast(version: string, since: string): boolean {
  return compareVersions(version, since) >= 0;
}

/** Throws code requestInvalid for a version that we do not speak. */
export function checkVersion(version: string): void {
  if (compareVersions(version, minApiVersion) < 0)
    throw new LinkspanError(
      'requestInvalid',
      `client version ${version} is too old. Minimum supported API version is ${minApiVersion}, please upgrade your client to a newer version`,
    );
  if (compareVersions(version, apiVersion) > 0)
    throw new LinkspanError(
      'requestInvalid',
      `client version ${version} is too new. Maximum supported API version is ${apiVersion}`,
    );
}
