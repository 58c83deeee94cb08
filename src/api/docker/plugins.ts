/*
 * What Docker calls the plugins of an engine, in the two shapes of Engine API 1.50. A node tells nobody of its own: all
 * nodes have these.
 */

/** `Plugins` of `info`. */
export const pluginsByType = {
  Volume: ['local'],
  Network: ['bridge', 'host', 'ipvlan', 'macvlan', 'null', 'overlay'],
  Authorization: null,
  Log: ['journald', 'json-file', 'local'],
} as const;

/** `Description.Engine.Plugins` of a node: in order of types, then of names. */
export const pluginList: readonly { readonly Type: string; readonly Name: string }[] = (
  ['Log', 'Network', 'Volume'] as const
).flatMap((Type) => pluginsByType[Type].map((Name) => ({ Type, Name })));
