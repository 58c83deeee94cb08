/*
 * Blocks that this node has of the swarm's networks, and addresses that it chooses from them, also while no manager
 * answers:
 *
 *   swarm/blocks/<network>/<first address>   the claim by which the node has the block
 *
 * A block is the node's from a manager's answer on; nothing is chosen from it before that is written down here. A block
 * without endpoints is given back after a while: first it is forgotten here, for good, then a manager is told.
 */
import type { Clock } from '../../base/clock.ts';
import { newId } from '../../base/ids.ts';
import type { Logger } from '../../base/logger.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import {
  type BlockSubnet,
  blockOf,
  blockSubnetOf,
  chooseAddress,
  normalizeAddress,
} from '../../ipam/blocks.ts';
import { compareIp, formatIp, type Ip, type IpFamily, parseIp } from '../../net/ip.ts';
import { containsIp, formatPrefix, type Prefix, parsePrefix } from '../../net/prefix.ts';
import type { Store } from '../../store/store.ts';
import type { EndpointClaim, SwarmNetwork } from '../swarmNetworks.ts';
import { restMs } from './addressBook.ts';
import { addressesOf } from './records.ts';
import { type EndpointName, keyOf } from './wire.ts';

export interface NodeBlocksDependencies {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** All endpoints that the node has of the network, or is about to have. */
  readonly own: (networkId: string) => readonly EndpointClaim[];
  /** Asks a manager for the block, with an address or of any. */
  readonly claim: (claim: EndpointClaim) => Promise<EndpointClaim>;
  /** Tells a manager, or the next one. */
  readonly release: (blocks: readonly EndpointName[]) => Promise<void>;
  /** A manager hears what is said now. */
  readonly isHeard: () => boolean;
  /** Name of the node that has the block with this first address, as far as is known. */
  readonly ownerOf: (networkId: string, first: string) => Promise<string | undefined>;
}

export interface Chosen {
  readonly ipv4?: string;
  readonly ipv6?: string;
}

interface BlockRecord {
  readonly claim: EndpointClaim;
  /** `10.0.1.64/26`. */
  readonly block: string;
}

interface HeldBlock extends BlockRecord {
  /** Nobody knows what the disk has of it otherwise; then nothing is chosen from it. */
  isWritten: boolean;
}

const blocksPrefix = 'swarm/blocks/';
const blockKey = (networkId: string, first: string): string => `${blocksPrefix}${networkId}/${first}`;
/** How long a block is kept for the next container of this node. */
const lingerMs = 300_000;
const noMac = '00:00:00:00:00:00';

const families = [
  { family: 4, field: 'ipv4', has: 'hasIpv4' },
  { family: 6, field: 'ipv6', has: 'hasIpv6' },
] as const;

export type BlockNetwork = SwarmNetwork & { readonly blockBits: number };

export const hasBlocks = (network: SwarmNetwork | undefined): network is BlockNetwork =>
  network?.blockBits !== undefined;

function firstOf(claim: EndpointClaim): Ip {
  const ip = parseIp(addressesOf(claim)[0] ?? '');
  if (ip === undefined) throw new TypeError(`block ${claim.endpointId} has no address`);
  return ip;
}

const subnetsOf = ({ pools }: SwarmNetwork): readonly BlockSubnet[] =>
  pools.flatMap((pool) => blockSubnetOf(pool) ?? []);

export class NodeBlocks {
  readonly #deps: NodeBlocksDependencies;
  readonly #mutex = new KeyedMutex();
  /** By their key. */
  readonly #held = new Map<string, HeldBlock>();
  /** Keys of records to be deleted. */
  readonly #lost = new Set<string>();
  /** Asked for, and not stored yet. */
  readonly #asking = new Map<string, EndpointName>();
  /** Chosen for an endpoint that does not count as the node's yet; `<network> <address>`. */
  readonly #picked = new Set<string>();
  /** When an address that was given back has rested; likewise. */
  readonly #resting = new Map<string, number>();
  /** Since when a block has no endpoints, by its key. */
  readonly #idleSince = new Map<string, number>();
  #isTidying = false;
  /** Something may have become idle since the look that is under way began. */
  #isTidyDue = false;
  #stopping = new AbortController();

  constructor(deps: NodeBlocksDependencies) {
    this.#deps = deps;
  }

  /** What an earlier daemon had. */
  async load(): Promise<void> {
    for (const { key, value } of (await this.#deps.store.list(blocksPrefix)).entries)
      this.#held.set(key, { ...(value as BlockRecord), isWritten: true });
  }

  /** The daemon ends, or the node is in no swarm any more: what is stored stays. */
  forgetAll(): void {
    this.#stopping.abort();
    this.#stopping = new AbortController();
    for (const map of [this.#held, this.#lost, this.#asking, this.#picked, this.#resting, this.#idleSince])
      map.clear();
  }

  /** In the order of their addresses. */
  of(networkId: string): readonly Prefix[] {
    return this.#prefixes(networkId, () => true);
  }

  /** By which the node has them. */
  get claims(): readonly EndpointClaim[] {
    return [...this.#held.values()].map(({ claim }) => claim);
  }

  /** What is being asked for. */
  get asking(): readonly EndpointName[] {
    return [...this.#asking.values()];
  }

  /** Addresses for an endpoint, until `letGo`; by then it is among `own`. Codes as `SwarmNetworks.claim`. */
  async choose(network: BlockNetwork, claim: EndpointClaim): Promise<Chosen> {
    const chosen: { ipv4?: string; ipv6?: string } = {};
    return await this.#mutex.run(network.id, async () => {
      for (const [key, held] of this.#held)
        if (held.claim.networkId === network.id && !held.isWritten) await this.#write(key, held);
      try {
        for (const { family, field, has } of families) {
          const wanted = claim[field];
          if (wanted === undefined && !network[has]) continue;
          const ip =
            wanted === undefined
              ? await this.#chooseAny(network, family, claim)
              : await this.#chooseNamed(network, family, claim, wanted);
          this.#picked.add(`${network.id} ${ip}`);
          for (const key of [...this.#idleSince.keys()])
            if (key.startsWith(blockKey(network.id, ''))) this.#idleSince.delete(key);
          chosen[field] = ip;
        }
        return chosen;
      } catch (error) {
        this.letGo(network.id, chosen);
        throw error;
      }
    });
  }

  letGo(networkId: string, { ipv4, ipv6 }: Chosen): void {
    for (const ip of [ipv4, ipv6]) this.#picked.delete(`${networkId} ${ip}`);
  }

  /** Nobody is to get it for a while: its holder has gone, or a manager says that it is another's. */
  rest(networkId: string, addresses: readonly string[]): void {
    for (const ip of addresses) {
      this.#resting.delete(`${networkId} ${ip}`);
      this.#resting.set(`${networkId} ${ip}`, this.#deps.clock.nowMs() + restMs);
    }
  }

  /** A manager refuses the block, or the network is gone: it is the node's no more, whatever the disk says. */
  async drop(isLost: (claim: EndpointClaim) => boolean): Promise<void> {
    for (const [key, { claim }] of [...this.#held]) {
      if (!isLost(claim)) continue;
      this.#held.delete(key);
      this.#lost.add(key);
    }
    try {
      await this.#forgetLost();
    } catch (error) {
      this.tidy();
      throw error;
    }
  }

  /** Looks for blocks without endpoints, now and until there are none. */
  tidy(): void {
    this.#isTidyDue = true;
    if (!this.#isTidying) void this.#tidy(this.#stopping.signal);
  }

  async #tidy(signal: AbortSignal): Promise<void> {
    this.#isTidying = true;
    try {
      while (!signal.aborted) {
        this.#isTidyDue = false;
        if (await this.#tryTidy()) await this.#deps.clock.sleep(lingerMs / 4, signal).catch(() => {});
        else if (!this.#isTidyDue) return;
      }
    } finally {
      this.#isTidying = false;
    }
  }

  /** True if there is more to do later. */
  async #tryTidy(): Promise<boolean> {
    try {
      return await this.#tidyOnce();
    } catch (error) {
      this.#deps.logger.warn({ err: error }, 'could not give a block of a network back');
      return true;
    }
  }

  /** True if some are without endpoints, and are still had. */
  async #tidyOnce(): Promise<boolean> {
    const { clock, isHeard, release, logger } = this.#deps;
    await this.#forgetLost();
    let isSome = false;
    for (const [key, held] of [...this.#held]) {
      const { claim, block } = held;
      await this.#mutex.run(claim.networkId, async () => {
        if (this.#held.get(key) !== held) return;
        if (!this.#isIdle(claim.networkId, block)) {
          this.#idleSince.delete(key);
          return;
        }
        const since = this.#idleSince.get(key) ?? clock.nowMs();
        this.#idleSince.set(key, since);
        if (clock.nowMs() - since < lingerMs || !isHeard()) {
          isSome = true;
          return;
        }
        await this.#forget(key, held);
        logger.info({ network: claim.networkId, block }, 'gave a block back');
        await release([claim]);
      });
    }
    return isSome;
  }

  #isIdle(networkId: string, text: string): boolean {
    const block = parsePrefix(text);
    const isInside = (address: string): boolean => {
      const ip = parseIp(address);
      return ip !== undefined && block !== undefined && containsIp(block, ip);
    };
    const own = this.#deps.own(networkId).flatMap(addressesOf);
    return ![...own, ...ofNetwork(networkId, this.#picked)].some(isInside);
  }

  async #forgetLost(): Promise<void> {
    for (const key of [...this.#lost]) {
      // It is there again.
      if (!this.#held.has(key)) await this.#deps.store.txn({ write: [{ key, del: true }] });
      this.#lost.delete(key);
    }
  }

  /** First of all the disk: what it has, a daemon that starts takes for its own. */
  async #forget(key: string, held: HeldBlock): Promise<void> {
    held.isWritten = false;
    await this.#deps.store.txn({ write: [{ key, del: true }] });
    this.#held.delete(key);
    this.#idleSince.delete(key);
  }

  async #write(key: string, held: HeldBlock): Promise<void> {
    const value: BlockRecord = { claim: held.claim, block: held.block };
    await this.#deps.store.txn({ write: [{ key, put: value }] });
    held.isWritten = true;
  }

  async #chooseNamed(
    network: BlockNetwork,
    family: IpFamily,
    claim: EndpointClaim,
    wanted: string,
  ): Promise<string> {
    const ip = normalizeAddress(wanted, family, subnetsOf(network), network.blockBits);
    if (ip === undefined)
      throw new LinkspanError(
        'addressInvalid',
        `invalid endpoint settings:\nno configured subnet contains IP address ${wanted}, or it is the first of a block, which no container gets`,
      );
    const text = formatIp(ip);
    const block = blockOf(ip, network.blockBits);
    if (!this.#held.has(blockKey(network.id, formatIp(block.base))))
      await this.#getNamed(network, family, block, text);
    const others = this.#own(network.id, claim).flatMap(addressesOf);
    const taken = [...reserved(network), ...others];
    if (taken.includes(text) || this.#picked.has(`${network.id} ${text}`))
      throw new LinkspanError('addressTaken', 'Address already in use');
    return text;
  }

  async #getNamed(network: BlockNetwork, family: IpFamily, block: Prefix, wanted: string): Promise<void> {
    const first = formatIp(block.base);
    try {
      await this.#get(network, family, first);
    } catch (error) {
      if (!hasCode(error, 'addressTaken')) throw error;
      const owner = await this.#deps.ownerOf(network.id, first);
      const text = `Address already in use: ${wanted} is in the block ${formatPrefix(block)} of node ${owner ?? 'another'}, from which only containers there get addresses: take one of another block, or none`;
      throw new LinkspanError('addressTaken', text, { cause: error });
    }
  }

  async #chooseAny(network: BlockNetwork, family: IpFamily, claim: EndpointClaim): Promise<string> {
    const found = this.#lowest(network, family, claim, true);
    if (found !== undefined) return found;
    try {
      await this.#get(network, family, undefined);
    } catch (error) {
      const old = this.#lowest(network, family, claim, false);
      if (old !== undefined) return old;
      throw explain(error, network);
    }
    const fresh = this.#lowest(network, family, claim, false);
    if (fresh !== undefined) return fresh;
    throw explain(new LinkspanError('addressesExhausted', 'the block has no address to give'), network);
  }

  #lowest(
    network: BlockNetwork,
    family: IpFamily,
    claim: EndpointClaim,
    letsRest: boolean,
  ): string | undefined {
    const nowMs = this.#deps.clock.nowMs();
    for (const [text, untilMs] of this.#resting) if (untilMs <= nowMs) this.#resting.delete(text);
    // Of another one a daemon that starts would know nothing.
    const written = this.#prefixes(network.id, ({ isWritten }) => isWritten);
    const blocks = written.filter(({ base }) => base.family === family);
    const subnets = subnetsOf(network);
    const taken = [
      ...reserved(network),
      ...this.#own(network.id, claim).flatMap(addressesOf),
      ...ofNetwork(network.id, this.#picked),
    ];
    const resting = ofNetwork(network.id, this.#resting.keys());
    const free = chooseAddress({ blocks, subnets, taken: [...taken, ...resting] });
    if (free !== undefined || letsRest) return free;
    // The longest rested.
    const held = new Set(taken);
    return resting.find((text) => {
      const ip = parseIp(text);
      return ip !== undefined && !held.has(text) && blocks.some((one) => containsIp(one, ip));
    });
  }

  #prefixes(networkId: string, isWanted: (held: HeldBlock) => boolean): readonly Prefix[] {
    return [...this.#held.values()]
      .filter((held) => held.claim.networkId === networkId && isWanted(held))
      .flatMap(({ block }) => parsePrefix(block) ?? [])
      .toSorted((a, b) => compareIp(a.base, b.base));
  }

  /** Of other endpoints. */
  #own(networkId: string, { endpointId }: EndpointClaim): readonly EndpointClaim[] {
    return this.#deps.own(networkId).filter((one) => one.endpointId !== endpointId);
  }

  async #get(network: BlockNetwork, family: IpFamily, first: string | undefined): Promise<void> {
    const { claim, logger } = this.#deps;
    const wanted: EndpointClaim = {
      ...{ endpointId: newId<'endpoint'>(), networkId: network.id, block: family, isUp: false },
      ...{ containerId: '', containerName: '', mac: noMac, dnsNames: [] },
      ...(first === undefined ? {} : family === 4 ? { ipv4: first } : { ipv6: first }),
    };
    const name = keyOf(wanted);
    this.#asking.set(name, wanted);
    try {
      const held = await claim(wanted);
      const block = blockOf(firstOf(held), network.blockBits);
      const key = blockKey(network.id, formatIp(block.base));
      const value: HeldBlock = { claim: held, block: formatPrefix(block), isWritten: false };
      this.#held.set(key, value);
      this.tidy();
      await this.#write(key, value);
      logger.info({ network: network.name, block: value.block }, 'this node has a block');
    } finally {
      this.#asking.delete(name);
    }
  }
}

/** Addresses of `<network> <address>`. */
function ofNetwork(networkId: string, texts: Iterable<string>): readonly string[] {
  const at = `${networkId} `;
  return [...texts].flatMap((text) => (text.startsWith(at) ? text.slice(at.length) : []));
}

/** Of nobody: the network's own. */
function reserved({ pools }: SwarmNetwork): readonly string[] {
  return pools.flatMap(({ gateway, auxAddresses }) => [gateway ?? [], ...Object.values(auxAddresses)].flat());
}

/** What no free block means to a user. */
function explain(error: unknown, { name, blockBits }: BlockNetwork): unknown {
  const options = { cause: error };
  if (hasCode(error, 'addressesExhausted'))
    return new LinkspanError(
      'networkFull',
      `network ${name} has no free address for this node: all its blocks of ${1 << blockBits} addresses are held, here or by other nodes; remove containers from it, remove nodes that are gone from the swarm (node rm), or use a network with a larger subnet or smaller blocks (linkspan.host-prefix)`,
      options,
    );
  if (hasCode(error, 'managerUnreachable'))
    return new LinkspanError(
      'managerUnreachable',
      `no manager of the swarm answers, and this node has no free address on network ${name}: only a manager can give it a block`,
      options,
    );
  return error;
}
