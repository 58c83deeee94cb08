/*
 * Group names to ids, for the API socket's owner.
 */
import { readFileSync } from 'node:fs';

/** From /etc/group, or the number itself; undefined if there is no such group. */
export function findGroupId(name: string): number | undefined {
  if (/^\d+$/.test(name)) return Number(name);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((text) => text.startsWith(`${name}:`));
  return line === undefined ? undefined : Number(line.split(':')[2]);
}
