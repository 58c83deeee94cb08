/*
 * Reads what `nft -j list …` prints (libnftables-json(5)) into values. Pure. Only what the firewall compares: sets with
 * their elements, chains with their hooks, rules without handles and counters. Not a general decoder.
 */

type Json = null | boolean | number | string | readonly Json[] | JsonObject;
interface JsonObject {
  readonly [key: string]: Json;
}

export interface ListedChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  /** undefined for a chain that is only jumped to. */
  readonly hook: string | undefined;
  readonly priority: number | undefined;
  readonly policy: string | undefined;
}

export interface ListedRule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly handle: number;
  /** JSON text of its expressions and comment without counter values: equal rules have equal text. */
  readonly text: string;
  /** Statement objects in order, without counters. */
  readonly statements: readonly JsonObject[];
}

export interface ListedSet {
  readonly name: string;
  /** Key text to data text as in elements.ts. */
  readonly elements: ReadonlyMap<string, string>;
}

export interface Listing {
  readonly chains: readonly ListedChain[];
  readonly rules: readonly ListedRule[];
  readonly sets: readonly ListedSet[];
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
const textOf = (value: Json | undefined): string => (typeof value === 'string' ? value : '');
const numberOf = (value: Json | undefined): number | undefined =>
  typeof value === 'number' ? value : undefined;
const listOf = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? value : []);

/** An operand in nft syntax: prefixes with a slash, ranges with a dash, concatenations with ` . `. */
function formatOperand(value: Json | undefined): string {
  if (typeof value === 'number') return String(value);
  if (!isObject(value)) return textOf(value);
  if (isObject(value['prefix']))
    return `${textOf(value['prefix']['addr'])}/${value['prefix']['len'] as number}`;
  if (value['range'] !== undefined) return listOf(value['range']).map(formatOperand).join('-');
  if (value['concat'] !== undefined) return listOf(value['concat']).map(formatOperand).join(' . ');
  // An element with attributes of its own (comment, timeout, counter).
  if (isObject(value['elem'])) return formatOperand(value['elem']['val']);
  return JSON.stringify(value);
}

/** Names of interfaces are quoted where we plan them. */
const quoteNames = (text: string, types: readonly string[]): string =>
  text
    .split(' . ')
    .map((part, i) => (types[i] === 'ifname' ? `"${part}"` : part))
    .join(' . ');

/** A bare address in an interval set is a subnet of one. */
function withLength(text: string, isInterval: boolean): string {
  if (!isInterval || /[/-]/.test(text)) return text;
  return `${text}/${text.includes(':') ? 128 : 32}`;
}

/** Of a set that was declared by `typeof`, newer libnftables name the expressions in place of the types. */
function readTypes(type: Json | undefined): readonly string[] {
  const typeOf = isObject(type) ? type['typeof'] : undefined;
  if (typeOf === undefined) return (Array.isArray(type) ? type : [type]).map(textOf);
  const parts = isObject(typeOf) && Array.isArray(typeOf['concat']) ? typeOf['concat'] : [typeOf];
  const isName = (part: Json): boolean =>
    isObject(part) && isObject(part['meta']) && part['meta']['key'] === 'iifname';
  return parts.map((part) => (isName(part) ? 'ifname' : ''));
}

function readSet(set: JsonObject): ListedSet {
  const isInterval = listOf(set['flags']).includes('interval');
  const types = readTypes(set['type']);
  const format = (key: Json | undefined): string =>
    quoteNames(withLength(formatOperand(key), isInterval && types.length === 1), types);
  const entries = listOf(set['elem']).map((element): readonly [string, string] =>
    set['map'] !== undefined && Array.isArray(element)
      ? [format(element[0]), formatOperand(element[1])]
      : [format(element), ''],
  );
  return { name: textOf(set['name']), elements: new Map(entries) };
}

function readChain(chain: JsonObject): ListedChain {
  return {
    family: textOf(chain['family']),
    table: textOf(chain['table']),
    name: textOf(chain['name']),
    hook: chain['hook'] === undefined ? undefined : textOf(chain['hook']),
    priority: numberOf(chain['prio']),
    policy: chain['policy'] === undefined ? undefined : textOf(chain['policy']),
  };
}

function readRule(rule: JsonObject): ListedRule {
  const statements = listOf(rule['expr'])
    .filter(isObject)
    .filter((statement) => statement['counter'] === undefined);
  return {
    family: textOf(rule['family']),
    table: textOf(rule['table']),
    chain: textOf(rule['chain']),
    handle: numberOf(rule['handle']) ?? 0,
    text: JSON.stringify([statements, rule['comment'] ?? '']),
    statements,
  };
}

/** Throws SyntaxError if `json` is not JSON; ignores objects that it does not know. */
export function readListing(json: string): Listing {
  const root = JSON.parse(json) as Json;
  const objects = isObject(root) ? listOf(root['nftables']).filter(isObject) : [];
  const pick = (kind: string): readonly JsonObject[] =>
    objects.map((object) => object[kind]).filter((value): value is JsonObject => isObject(value));
  return {
    chains: pick('chain').map(readChain),
    rules: pick('rule').map(readRule),
    sets: [...pick('set'), ...pick('map')].map(readSet),
  };
}
