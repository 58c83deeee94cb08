/*
 * Messages and methods of a gRPC API in a table: messages as `field: 'type number'` (the notation of a .proto file turned
 * round), methods as [request, response]. Only the names of services and methods travel; those of messages are ours. A
 * table rather than text, so that bundles carry it and no .proto parser has to be loaded.
 */

/** A message: field name → `[repeated ]type number` or `map type number` (the map's keys are strings). An enum is an int32. */
export type MessageTable = Readonly<Record<string, string>>;

/** [request, response]; `stream ` before a name means many. */
export type MethodTable = Readonly<Record<string, readonly [string, string]>>;

export interface WireSchema {
  readonly messages: Readonly<Record<string, MessageTable>>;
  readonly services: Readonly<Record<string, MethodTable>>;
  /** Where services live: before the service in a method's path. */
  readonly servicePackage: string;
}

/** A field in protobufjs's JSON form. */
type FieldJson = {
  readonly type: string;
  readonly id: number;
  readonly rule?: 'repeated';
  readonly keyType?: 'string';
};

/** Parses `repeated Mount 3` and `map string 4`; throws if the table is wrong. */
function parseField(text: string): FieldJson {
  const match = /^(repeated |map )?(\w+) (\d+)$/.exec(text);
  if (match === null) throw new Error(`schema: ${text} is not a field`);
  const [, prefix, name = '', id = ''] = match;
  const field = { type: /^[A-Z]/.test(name) ? `.linkspan.${name}` : name, id: Number(id) };
  if (prefix === 'repeated ') return { ...field, rule: 'repeated' };
  return prefix === 'map ' ? { ...field, keyType: 'string' } : field;
}

function mapValues<T, U>(table: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(table).map(([key, value]) => [key, map(value)]));
}

/** The messages as protobufjs's JSON descriptor, in the package `linkspan`. */
export function schemaJson({ messages }: WireSchema): { readonly nested: Readonly<Record<string, never>> } {
  const nested = mapValues(messages, (fields) => ({ fields: mapValues(fields, parseField) }));
  return { nested: { linkspan: { nested } } as unknown as Readonly<Record<string, never>> };
}

/** Path and messages of the method called `Tasks.Create` for short. Throws if the table has no such method. */
export function methodTypes(
  { services, servicePackage }: WireSchema,
  name: string,
): {
  readonly path: string;
  readonly request: string;
  readonly response: string;
} {
  const [short, method = ''] = name.split('.');
  for (const [service, methods] of Object.entries(services)) {
    const types = service.split('.').at(-1) === short ? methods[method] : undefined;
    if (types === undefined) continue;
    const [request, response] = types.map((type) => type.replace('stream ', '')) as [string, string];
    return { path: `/${servicePackage}.${service}/${method}`, request, response };
  }
  throw new Error(`schema: no method ${name}`);
}
