/*
 * Whether rules that are not ours may see frames inside bridges, where br_netfilter shows them to the IP rules: the
 * operator's in our chain, a base chain of anybody's on their way, legacy iptables. Such rules may ask for the state of
 * a connection, and then tracking has to know it.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import { type Listing, readListing } from '../nftJson.ts';
import type { HostTools } from './hostTools.ts';

/** Families and hooks that such a frame passes. */
const families: ReadonlySet<string> = new Set(['ip', 'ip6', 'inet', 'bridge']);
const hooks: ReadonlySet<string> = new Set(['prerouting', 'forward', 'postrouting']);

/** Names of the legacy tables in use, one a line; empty or missing where there are none. */
const legacyTables = ['/proc/net/ip_tables_names', '/proc/net/ip6_tables_names'] as const;

export interface FrameReadersOptions {
  readonly kernel: Pick<Kernel, 'nft'>;
  readonly tools: Pick<HostTools, 'readText'>;
  /** Our table of family inet, with the operator's chain. */
  readonly table: string;
  readonly operatorChain: string;
  /** `inet linkspan`: tables that are ours. */
  readonly ownTables: readonly string[];
}

/** True also where it cannot be told. */
export async function hasFrameReaders(options: FrameReadersOptions): Promise<boolean> {
  const { kernel, tools, table, operatorChain } = options;
  for (const path of legacyTables) if (((await tools.readText(path)) ?? '').trim() !== '') return true;
  const list = async (what: string): Promise<Listing> =>
    readListing(await kernel.nft(`list ${what}`, { isJson: true }));
  try {
    if ((await list(`chain inet ${table} ${operatorChain}`)).rules.length > 0) return true;
    const own = new Set(options.ownTables);
    const { chains } = await list('chains');
    return chains.some(
      ({ family, table: name, hook }) =>
        families.has(family) && hooks.has(hook ?? '') && !own.has(`${family} ${name}`),
    );
  } catch {
    return true;
  }
}
