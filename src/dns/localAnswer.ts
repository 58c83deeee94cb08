/*
 * What the resolver answers by itself: a chain of handlers, each a pure function of the question, the container's view
 * and the index. The first that answers wins; what none answers is asked of the upstream servers. Semantics are
 * Docker Engine 28's, but for other record types of our own names, which Docker sends on and we answer with nothing.
 */

import { classInternet, rcode, recordType } from '../codec/dns/message.ts';
import { type Query, rcodeOf } from '../codec/dns/query.ts';
import type { Addresses, NameIndex } from './names.ts';

/** How one container sees the names. */
export interface SandboxView {
  /** In the order in which they are looked through. */
  readonly networks: readonly {
    readonly id: string;
    /** Link aliases, this container's alone: alias → name, both in lower case. */
    readonly links: Readonly<Record<string, string>>;
  }[];
  /** Servers given by `--dns`, asked from the container's namespace; empty = the host's, asked from the host's. */
  readonly servers: readonly string[];
  /** False where no network of the container leads outside: the host's servers are not asked then. */
  readonly canAskHost: boolean;
  /** Options say `ndots:1` or more: single-label names are ours or nobody's. */
  readonly hasNdots: boolean;
}

export interface LocalAnswer {
  readonly code: number;
  /** RDATA of each record, of the type asked for (ANY: addresses). */
  readonly data: readonly Uint8Array[];
}

type Handler = (query: Query, view: SandboxView, index: NameIndex) => LocalAnswer | undefined;

/** seconds; Docker's. */
export const ownTtlS = 600;

const nothing: LocalAnswer = { code: rcode.noError, data: [] };

/** The data that a known name gives for a record type; undefined = the name has none in this family. */
function dataFor(addresses: Addresses, type: number): readonly Uint8Array[] {
  if (type === recordType.a) return addresses.v4;
  if (type === recordType.aaaa) return addresses.v6;
  return type === recordType.any ? [...addresses.v4, ...addresses.v6] : [];
}

/** `name` on the container's networks, or on those called `networkName`. */
function* found(
  view: SandboxView,
  index: NameIndex,
  name: string,
  networkName: string | undefined,
): Generator<Addresses> {
  const networks =
    networkName === undefined
      ? view.networks
      : view.networks.filter(({ id }) => index.networkName(id) === networkName);
  for (const { id, links } of networks) {
    const target = Object.hasOwn(links, name) ? links[name] : undefined;
    const addresses = target === undefined ? undefined : index.find(id, target);
    if (addresses !== undefined) yield addresses;
  }
  for (const { id } of networks) {
    const addresses = index.find(id, name);
    if (addresses !== undefined) yield addresses;
  }
}

/**
 * Names of containers. `a.b.c` is looked for as it is, then as `a.b` on network `c`, then as `a` on network `b.c`,
 * since names of both may have dots.
 */
const ownNames: Handler = ({ question, folded }, view, index) => {
  let isKnown = false;
  for (let at = folded.length; at > 0; at = folded.lastIndexOf('.', at - 1)) {
    const networkName = at === folded.length ? undefined : folded.slice(at + 1);
    for (const addresses of found(view, index, folded.slice(0, at), networkName)) {
      const data = dataFor(addresses, question.type);
      if (data.length > 0) return { code: rcode.noError, data };
      isKnown = true;
    }
    if (isKnown) return nothing;
  }
  return undefined;
};

/** Addresses of containers, backwards: `name.network`. */
const ownPointers: Handler = ({ question, folded }, view, index) => {
  if (question.type !== recordType.ptr) return undefined;
  for (const { id } of view.networks) {
    const data = index.findPointer(id, folded);
    if (data !== undefined) return { code: rcode.noError, data: [data] };
  }
  return undefined;
};

/** With ndots set, the client will ask again with a search domain: single labels go nowhere else. */
const singleLabels: Handler = ({ question, folded }, { hasNdots }) => {
  const isAddress = question.type === recordType.a || question.type === recordType.aaaa;
  return hasNdots && isAddress && !folded.includes('.') ? nothing : undefined;
};

const chain: readonly Handler[] = [ownNames, ownPointers, singleLabels];

/** The answer without asking anybody; undefined = forward. */
export function answerLocally(query: Query, view: SandboxView, index: NameIndex): LocalAnswer | undefined {
  if (query.question.class !== classInternet) return undefined;
  for (const handler of chain) {
    const answer = handler(query, view, index);
    if (answer !== undefined) return answer;
  }
  return undefined;
}

/** `items` in an order drawn with `random` (0 ≤ x < 1): every order is as likely. */
export function shuffled<T>(items: readonly T[], random: () => number): readonly T[] {
  if (items.length < 2) return items;
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [copy[i], copy[j]] = [copy[j] as T, copy[i] as T];
  }
  return copy;
}

/** True for answers of an upstream after which the next one is asked. */
export function isDisappointing(response: Uint8Array): boolean {
  const code = rcodeOf(response);
  return code === rcode.serverFailure || code === rcode.refused;
}
