/*
 * Which chains of other firewalls drop what we forward, and where each of them wants additions. Pure: reads listings.
 * An accept in our table ends our table's verdict only; every base chain at the forward hook must let a packet pass.
 */
import type { ListedChain, ListedRule, Listing } from '../nftJson.ts';
import { acceptedMark } from '../skeleton.ts';

export type ForeignFamily = 'ip' | 'ip6' | 'inet';

/** A base chain at the forward hook that drops what no rule of it accepts. */
export interface ForwardDrop {
  readonly family: ForeignFamily;
  readonly table: string;
  readonly chain: string;
}

/** Chains that other firewalls keep for additions, in order of preference, in table `filter` of family ip or ip6. */
const extensionChains: readonly string[] = [
  // Docker: "packets are filtered here first"; kept over restarts of dockerd.
  'DOCKER-USER',
  // ufw: where `ufw route` puts its rules; emptied by `ufw reload`.
  'ufw-user-forward',
  'ufw6-user-forward',
  // firewalld with its iptables backend: where direct rules go.
  'FORWARD_direct',
];

/** True for chains that `extensionPointOf` may answer. */
export function isExtensionChain(name: string): boolean {
  return extensionChains.includes(name);
}

function isForwardFamily(family: string): family is ForeignFamily {
  return family === 'ip' || family === 'ip6' || family === 'inet';
}

/** Base chains at the forward hook that are not ours. */
export function foreignForwardChains(listing: Listing, ownTable: string): readonly ListedChain[] {
  return listing.chains.filter(
    (chain) =>
      chain.hook === 'forward' &&
      isForwardFamily(chain.family) &&
      !(chain.family === 'inet' && chain.table === ownTable),
  );
}

/** True if the rule matches everything and drops or rejects it. */
function dropsAll(rule: ListedRule): boolean {
  const isConditional = rule.statements.some(
    (statement) =>
      statement['match'] !== undefined ||
      statement['limit'] !== undefined ||
      JSON.stringify(statement['xt'] ?? '').includes('"type":"match"'),
  );
  if (isConditional) return false;
  return rule.statements.some(
    (statement) =>
      'drop' in statement ||
      'reject' in statement ||
      JSON.stringify(statement['xt'] ?? '').includes('"name":"REJECT"'),
  );
}

/** True if `chain` drops by policy, or by its last rule among `rules` (those of this chain, in order). */
export function isDropping(chain: ListedChain, rules: readonly ListedRule[]): boolean {
  const last = rules.at(-1);
  return chain.policy === 'drop' || (last !== undefined && dropsAll(last));
}

/** True if the rule accepts every packet with our mark: ours, or an operator's by hand. */
export function acceptsMark(rule: ListedRule): boolean {
  // Older iptables-nft writes the comment as a match of its own.
  const statements = rule.statements.filter(
    (s) => !JSON.stringify(s['xt'] ?? '').includes('"name":"comment"'),
  );
  const [first] = statements;
  const text = JSON.stringify(first ?? {});
  return (
    text.includes('"key":"mark"') &&
    text.includes(`"right":${acceptedMark}`) &&
    statements.length === 2 &&
    statements.some((statement) => 'accept' in statement)
  );
}

/** True if the rule returns unconditionally. */
export function returnsAll(rule: ListedRule): boolean {
  return rule.statements.length === 1 && 'return' in (rule.statements[0] ?? {});
}

/** The name of the chain, in the drop's table, that is meant for additions; undefined if there is none that we know. */
export function extensionPointOf(drop: ForwardDrop, chains: readonly ListedChain[]): string | undefined {
  if (drop.family === 'inet' || drop.table !== 'filter') return undefined;
  return extensionChains.find((name) =>
    chains.some((chain) => chain.family === drop.family && chain.table === drop.table && chain.name === name),
  );
}

/** True for the chain of firewalld's nftables backend, whose extension point is a zone. */
export function isFirewalld(drop: ForwardDrop): boolean {
  return drop.family === 'inet' && drop.table === 'firewalld';
}

/** `ip filter FORWARD`, as an operator would type it after `nft list chain`. */
export function formatDrop(drop: ForwardDrop): string {
  return `${drop.family} ${drop.table} ${drop.chain}`;
}
