/*
 * Keeps containers working beside firewalls that drop what they do not know: finds chains that would drop what we
 * accept, and sees to it that exactly one rule (or firewalld's zone) at a documented extension point lets it pass.
 * Where there is no such point, or the operator said no, a condition names the chain. Touches nothing else of others.
 */
import type { Logger } from '../../base/logger.ts';
import { hasCode, messageOf } from '../../errors/linkspanError.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { type Listing, readListing } from '../nftJson.ts';
import { ensureTrusted, removeTrusted } from './firewalld.ts';
import {
  acceptsMark,
  extensionPointOf,
  type ForeignFamily,
  type ForwardDrop,
  foreignForwardChains,
  formatDrop,
  isDropping,
  isExtensionChain,
  isFirewalld,
} from './forwardDrop.ts';
import type { HostTools } from './hostTools.ts';
import { addLegacyRule, findLegacyFilter, type LegacyFamily, removeLegacyRule } from './legacyRule.ts';
import { acceptRule, ensureAcceptRule, listChain, removeAcceptRule } from './nftRule.ts';

/** A drop that stands in the way. */
export interface Obstacle {
  /** As an operator would type it: `ip filter FORWARD`, `iptables-legacy filter FORWARD`. */
  readonly chain: string;
  readonly text: string;
}

export interface IntegrationResult {
  /** True while some foreign chain must see our mark, whether by our rule or by one of the operator's. */
  readonly needsMark: boolean;
  /** True while bridges have to be told one by one (firewalld's zone). */
  readonly usesZone: boolean;
  readonly obstacles: readonly Obstacle[];
}

export interface IntegrationOptions {
  readonly table: string;
  readonly kernel: Pick<Kernel, 'nft'>;
  readonly tools: HostTools;
  readonly logger: Logger;
  /** False: nothing is added; drops become conditions. */
  readonly isAllowed: boolean;
  /** Sees to it that our packets carry the mark; called before a rule that looks for it is added. */
  readonly mark: () => Promise<void>;
}

export interface Integration {
  /** Looks at what others have and adds what is missing for these bridges and families. Idempotent. */
  reconcile(bridges: readonly string[], families: readonly LegacyFamily[]): Promise<IntegrationResult>;
  /** Takes back what `reconcile` added; collects failures in the log. */
  remove(bridges: readonly string[]): Promise<void>;
}

const advice = `Let packets with mark 0x10000000 pass there, for example: ${acceptRule}`;

/** Families of nft tables that see packets of `families`. */
function concerns(family: ForeignFamily, families: readonly LegacyFamily[]): boolean {
  if (family === 'inet') return true;
  return families.includes(family === 'ip' ? 4 : 6);
}

export function createIntegration(options: IntegrationOptions): Integration {
  const { kernel, tools, logger, table, isAllowed, mark } = options;

  /** Extension points where our rule could not be recognised: left alone. */
  const unreadable = new Set<string>();

  const listChains = async (): Promise<Listing> =>
    readListing(await kernel.nft('list chains', { isJson: true }));

  /** Adds one rule where it may; undefined when packets pass. */
  async function settleChain(drop: ForwardDrop, listing: Listing): Promise<Obstacle | undefined> {
    const extension = extensionPointOf(drop, listing.chains);
    const { rules } = await listChain(kernel, drop);
    if (rules.some(acceptsMark)) return undefined;
    if (extension === undefined)
      return {
        chain: formatDrop(drop),
        text: `The chain ${formatDrop(drop)} drops forwarded packets and belongs to no firewall that Linkspan knows how to ask: containers cannot reach the outside. ${advice}`,
      };
    const point = { ...drop, chain: extension };
    if (!isAllowed) {
      const known = await listChain(kernel, point);
      return known.rules.some(acceptsMark) ? undefined : refused(formatDrop(drop));
    }
    if (unreadable.has(formatDrop(point)))
      return {
        chain: formatDrop(drop),
        text: `Our rule in ${formatDrop(point)} does not read back. ${advice}`,
      };
    await mark();
    const isAdded = await ensureAcceptRule(kernel, point).catch((error: unknown) => {
      if (hasCode(error, 'firewall')) unreadable.add(formatDrop(point));
      throw error;
    });
    if (isAdded)
      logger.info(
        { chain: formatDrop(point) },
        'a foreign chain drops forwarded packets: added our one rule',
      );
    return undefined;
  }

  const refused = (chain: string): Obstacle => ({
    chain,
    text: `The chain ${chain} drops forwarded packets, and the firewall integration is off: containers cannot reach the outside. ${advice}`,
  });

  async function settleFirewalld(
    drop: ForwardDrop,
    bridges: readonly string[],
  ): Promise<Obstacle | undefined> {
    const chain = formatDrop(drop);
    if (!isAllowed)
      return {
        chain,
        text: `firewalld (${chain}) rejects forwarded packets, and the firewall integration is off: put the bridges into a zone that accepts, for example: firewall-cmd --zone=trusted --add-interface=BRIDGE`,
      };
    try {
      if (await ensureTrusted(tools, bridges)) return undefined;
      return {
        chain,
        text: `firewalld (${chain}) rejects forwarded packets, and there is no system bus to ask it on`,
      };
    } catch (error) {
      return {
        chain,
        text: `firewalld (${chain}) rejects forwarded packets and refused our bridges: ${messageOf(error)}`,
      };
    }
  }

  async function settleNft(
    bridges: readonly string[],
    families: readonly LegacyFamily[],
  ): Promise<{
    readonly drops: number;
    readonly usesZone: boolean;
    readonly obstacles: readonly Obstacle[];
  }> {
    const listing = await listChains();
    const obstacles: Obstacle[] = [];
    let drops = 0;
    let hasZone = false;
    for (const chain of foreignForwardChains(listing, table)) {
      const drop: ForwardDrop = {
        family: chain.family as ForeignFamily,
        table: chain.table,
        chain: chain.name,
      };
      if (!concerns(drop.family, families)) continue;
      const { rules } = await listChain(kernel, drop);
      if (!isDropping(chain, rules)) continue;
      const usesZone = isFirewalld(drop);
      if (usesZone) hasZone = isAllowed;
      else drops++;
      const obstacle = usesZone ? await settleFirewalld(drop, bridges) : await settleChain(drop, listing);
      if (obstacle !== undefined) obstacles.push(obstacle);
    }
    return { drops, usesZone: hasZone, obstacles };
  }

  async function settleLegacy(family: LegacyFamily): Promise<{ isDropping: boolean; obstacle?: Obstacle }> {
    const chain = `${family === 4 ? 'iptables' : 'ip6tables'}-legacy filter FORWARD`;
    const filter = await findLegacyFilter(tools, family);
    if (filter === undefined) return { isDropping: false };
    if (filter === 'missing')
      return {
        isDropping: true,
        obstacle: {
          chain,
          text: `The kernel has a legacy iptables filter table and no iptables-legacy program to look into it: if ${chain} drops, containers cannot reach the outside`,
        },
      };
    if (!filter.isDropping) return { isDropping: false };
    if (filter.acceptsMark) return { isDropping: true };
    if (!isAllowed) return { isDropping: true, obstacle: refused(chain) };
    if (filter.extensionChain === undefined)
      return {
        isDropping: true,
        obstacle: {
          chain,
          text: `${chain} drops forwarded packets and has no chain for additions (DOCKER-USER, ufw): containers cannot reach the outside. Let packets with mark 0x10000000/0x10000000 pass there`,
        },
      };
    await mark();
    await addLegacyRule(tools, family, filter, filter.extensionChain);
    logger.info({ chain }, 'a foreign chain drops forwarded packets: added our one rule');
    return { isDropping: true };
  }

  async function reconcile(
    bridges: readonly string[],
    families: readonly LegacyFamily[],
  ): Promise<IntegrationResult> {
    if (bridges.length === 0) return { needsMark: false, usesZone: false, obstacles: [] };
    const nft = await settleNft(bridges, families);
    const obstacles = [...nft.obstacles];
    let needsMark = nft.drops > 0;
    for (const family of families) {
      const legacy = await settleLegacy(family);
      needsMark ||= legacy.isDropping;
      if (legacy.obstacle !== undefined) obstacles.push(legacy.obstacle);
    }
    return { needsMark, usesZone: nft.usesZone, obstacles };
  }

  async function remove(bridges: readonly string[]): Promise<void> {
    const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
      try {
        await work();
      } catch (error) {
        logger.warn({ err: error }, `could not take our rule back from ${what}`);
      }
    };
    await attempt('nftables', async () => {
      const listing = await listChains();
      for (const chain of listing.chains.filter(({ name }) => isExtensionChain(name)))
        await removeAcceptRule(kernel, {
          family: chain.family as ForeignFamily,
          table: chain.table,
          chain: chain.name,
        });
      if (listing.chains.some(({ family, table: name }) => family === 'inet' && name === 'firewalld'))
        await removeTrusted(tools, bridges);
    });
    for (const family of [4, 6] as const)
      await attempt('legacy iptables', () => removeLegacyRule(tools, family));
  }

  return {
    reconcile,
    remove: async (bridges) => {
      if (isAllowed) await remove(bridges);
    },
  };
}
