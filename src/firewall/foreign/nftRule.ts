/*
 * The one rule in a foreign nft chain: accept what carries our mark. In the form that iptables-nft prints as
 * `-m mark --mark 0x10000000/0x10000000 -m comment --comment linkspan -j ACCEPT` and saves and restores unchanged.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { type Listing, readListing } from '../nftJson.ts';
import { acceptedMark } from '../skeleton.ts';
import { acceptsMark, type ForeignFamily, returnsAll } from './forwardDrop.ts';

const hex = `0x${acceptedMark.toString(16)}`;

const ourComment = '"linkspan"';

/** The rule in nft syntax. */
export const acceptRule: string = `meta mark & ${hex} == ${hex} counter accept comment ${ourComment}`;

export interface ChainAddress {
  readonly family: ForeignFamily;
  readonly table: string;
  readonly chain: string;
}

const formatAddress = ({ family, table, chain }: ChainAddress): string => `${family} ${table} ${chain}`;

/** Rules and hook of one chain; empty if it is gone. */
export async function listChain(kernel: Pick<Kernel, 'nft'>, chain: ChainAddress): Promise<Listing> {
  try {
    return readListing(await kernel.nft(`list chain ${formatAddress(chain)}`, { isJson: true }));
  } catch {
    return { chains: [], rules: [], sets: [] };
  }
}

/**
 * Adds the rule unless one that accepts our mark is there. It goes to the end, before a closing `return`, so that
 * what the chain's owner drops stays dropped. True if it was added; false also where the chain was written anew at that
 * moment, which is a change that is looked at in its turn. Throws code `firewall`, with nothing left behind,
 * where the rule cannot be recognised afterwards: else every compare would add another.
 */
export async function ensureAcceptRule(kernel: Pick<Kernel, 'nft'>, chain: ChainAddress): Promise<boolean> {
  const { rules } = await listChain(kernel, chain);
  if (rules.some(acceptsMark)) return false;
  const last = rules.at(-1);
  const position =
    last !== undefined && returnsAll(last)
      ? `insert rule ${formatAddress(chain)} handle ${last.handle}`
      : `add rule ${formatAddress(chain)}`;
  await kernel.nft(`${position} ${acceptRule}`);
  const after = await listChain(kernel, chain);
  if (after.rules.some(acceptsMark)) return true;
  // A reload of the owner's may have come between: what is new then is the owner's, and ours is gone.
  const known = new Set(rules.map(({ handle }) => handle));
  const added = after.rules.filter(({ handle, text }) => !known.has(handle) && text.includes(ourComment));
  if (added.length === 0) return false;
  for (const { handle } of added) await kernel.nft(`delete rule ${formatAddress(chain)} handle ${handle}`);
  throw new LinkspanError('firewall', `our rule in ${formatAddress(chain)} does not read back`);
}

/** Deletes the rule wherever it stands in the chain; success if chain or rule are gone. */
export async function removeAcceptRule(kernel: Pick<Kernel, 'nft'>, chain: ChainAddress): Promise<void> {
  const { rules } = await listChain(kernel, chain);
  const commands = rules
    .filter(acceptsMark)
    .map((rule) => `delete rule ${formatAddress(chain)} handle ${rule.handle}`);
  if (commands.length > 0) await kernel.nft(commands.join('\n'));
}
