/*
 * The names that a resolver knows a container by on a user-defined network. Pure.
 */
import { shortId } from '../../base/ids.ts';
import type { Container } from '../model.ts';

/** Name, aliases, short id and host name, without repeats. Docker Engine 28's order. */
export function dnsNamesOf(
  container: Pick<Container, 'id' | 'name' | 'spec'>,
  aliases: readonly string[],
): readonly string[] {
  const names = [container.name, ...aliases, shortId(container.id), container.spec.hostname ?? ''];
  return [...new Set(names.filter((name) => name !== ''))];
}

/** The container's own name comes first; aliases stay. */
export function renamedNames(names: readonly string[], before: string, after: string): readonly string[] {
  return [...new Set(names.map((name) => (name === before ? after : name)))];
}
