/*
 * The firewall: two nft tables kept as the networks want them (`inet` for what is forwarded and published, `bridge`
 * for what endpoints may send), forwarding switched on with its guard, and other firewalls asked to let our packets
 * pass. Rules are constant in number; networks, published ports and endpoints are elements of sets and maps.
 */
import { type Clock, systemClock } from '../base/clock.ts';
import type { Condition } from '../base/condition.ts';
import { ConditionBook, type ConditionReport } from '../base/conditionBook.ts';
import type { Logger } from '../base/logger.ts';
import { KeyedMutex } from '../base/mutex.ts';
import type { Repair, RepairTrigger } from '../base/repairLog.ts';
import { messageOf } from '../errors/linkspanError.ts';
import { discardedPrefix, type Kernel, type Link } from '../kernel/kernel.ts';
import { acceptsAsHostOnly, linksLosingRoutes } from './advertisedRoutes.ts';
import type { FirewallBinding } from './binding.ts';
import { bridgeFilteringKey, isBridgeFiltering } from './bridgeFiltering.ts';
import type { GuardedEndpoint } from './endpointGuard.ts';
import { hasFrameReaders } from './foreign/frameReaders.ts';
import { type HostTools, hostTools } from './foreign/hostTools.ts';
import { createIntegration, type Integration, type IntegrationResult } from './foreign/integration.ts';
import {
  type ForwardingFamily,
  type ForwardingRecord,
  guardedBy,
  isForwarding,
  readBootId,
  switchForwardingOn,
} from './forwarding.ts';
import { GuardTable } from './guardTable.ts';
import { MainTable } from './mainTable.ts';
import type { FirewallNetwork } from './network.ts';
import { operatorChain } from './skeleton.ts';
import type { Carrier } from './tableKeeper.ts';
import { tunnelTable } from './tunnelGuard.ts';

type FirewallKernel = Pick<
  Kernel,
  'nft' | 'changeElements' | 'links' | 'routes' | 'getSysctl' | 'setSysctl' | 'watchSysctls' | 'events'
>;

export interface FirewallOptions {
  /** Name of the tables in the families inet and bridge; default `linkspan`. Daemons that share a namespace need different ones. */
  readonly table?: string;
  /** `--firewall-integration`; default true. False: drops of others become conditions. */
  readonly integratesForeign?: boolean;
  /** `--ip-forward`; default true. False: forwarding that is off becomes a condition. */
  readonly switchesForwarding?: boolean;
  /** The opposite of `--ip-forward-no-drop`; default true. */
  readonly guardsForwarding?: boolean;
  /** `--publish-policy=host-input`: a published port is open only to whom the host's INPUT rules let pass. Default false. */
  readonly asksHost?: boolean;
  /** What `saveForwarding` was last given, from the store; undefined at first. */
  readonly forwarding?: ForwardingRecord | undefined;
  /** Stores durably that we are about to switch forwarding on; called before it happens. */
  readonly saveForwarding?: (record: ForwardingRecord) => Promise<void>;
  /** Told of what a check found changed and repaired. */
  readonly onRepair?: (repair: Omit<Repair, 'id' | 'at'>) => void;
}

export interface Firewall {
  /** Makes the tables (elements of an earlier run stay until `apply…`), and begins to watch. Repeatable. */
  start(): Promise<void>;
  /** All networks there are: adds, changes, and sweeps what belongs to none. */
  apply(networks: readonly FirewallNetwork[]): Promise<void>;
  /**
   * Adds or changes one network by a few elements. `carry` makes its bridge, with the elements or after them, so that it
   * carries no packet without; called again, without elements, if it said that they were refused. Undone when it
   * fails, but not when `carry` does: then the network stays until `removeNetwork`.
   */
  addNetwork(network: FirewallNetwork, carry?: Carrier): Promise<void>;
  /** Success if it is not there. */
  removeNetwork(id: string): Promise<void>;
  /** What `owner` publishes from now on; empty = nothing. Undone when it fails. */
  publish(owner: string, bindings: readonly FirewallBinding[]): Promise<void>;
  /** All that is published, by owner, after a restart: bindings of an earlier daemon stay until this sweeps them. */
  applyBindings(bindings: ReadonlyMap<string, readonly FirewallBinding[]>): Promise<void>;
  /**
   * From now on `endpoint.link` may send as itself only. `carry` makes the link, as in `addNetwork`. Undone when it
   * fails, but not when `carry` does; a kernel that cannot is no failure, but a condition.
   */
  guardEndpoint(endpoint: GuardedEndpoint, carry?: Carrier): Promise<void>;
  /** Call when the link is gone. Success if it was not guarded. */
  releaseEndpoint(link: string): Promise<void>;
  /** All guarded endpoints, after a restart: those of an earlier daemon stay guarded until this sweeps them. */
  applyEndpoints(endpoints: readonly GuardedEndpoint[]): Promise<void>;
  /** Switches forwarding on for these families if it is off; the guard is in place before. */
  ensureForwarding(families: readonly ForwardingFamily[]): Promise<void>;
  /** Compares everything with what should be and repairs it; resolves with what it found, one sentence each. */
  check(): Promise<readonly string[]>;
  readonly conditions: readonly Condition[];
  /** Our tables as `nft list table` shows them. Rejects with a KernelError if one is gone. */
  dump(): Promise<string>;
  /** Stops watching and takes our rule out of foreign chains (unless told to keep it). The table stays: containers go on. */
  stop(options?: { readonly keepsForeignRule?: boolean }): Promise<void>;
}

/**
 * Changes by others are looked at after this time, or after ten times what the last look took, to bound its share; but not
 * later than these, as until then our packets may not pass. Programs of other firewalls wait longer than they work.
 */
const settleMs = 20;
const restFactor = 10;
const longestRestMs = 3000;
const longestForeignRestMs = 1000;
/** A full compare whatever happens: legacy iptables raises no events. */
const slowCheckMs = 60_000;
/** While firewalld's zone could not be had: firewalld may be starting, and tells nobody when it is done. */
const zoneRetryMs = 2000;

const distinct = (families: readonly ForwardingFamily[]): readonly ForwardingFamily[] =>
  ([4, 6] as const).filter((family) => families.includes(family));

class NftFirewall implements Firewall {
  readonly #kernel: FirewallKernel;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #options: FirewallOptions;
  readonly #tools: HostTools;
  readonly #main: MainTable;
  readonly #guard: GuardTable;
  readonly #integration: Integration;
  /** Every bridge of the host, by ifindex. */
  readonly #bridgeNames = new Map<number, string>();
  readonly #conditions: ConditionBook;
  readonly #mutex = new KeyedMutex();
  #forwarding: ForwardingRecord | undefined;
  #bootId = '';
  #forwardedFamilies: readonly ForwardingFamily[] = [];
  /** What the last look at other firewalls was made for. */
  #integratedFor = '';
  #usesZone = false;
  #listeners: DisposableStack | undefined;
  #stopping = new AbortController();
  #needsMark = false;
  /** Links that had a default route from a router when we switched IPv6 forwarding on. */
  #losingRoutes: readonly string[] = [];
  #isCheckDue = false;
  #isRetryDue = false;
  /** How long to leave others alone after the last check. */
  #restMs = settleMs;

  constructor(
    kernel: FirewallKernel,
    logger: Logger,
    clock: Clock,
    tools: HostTools,
    options: FirewallOptions,
  ) {
    const table = options.table ?? 'linkspan';
    this.#kernel = kernel;
    this.#logger = logger;
    this.#clock = clock;
    this.#options = options;
    this.#tools = tools;
    this.#forwarding = options.forwarding;
    this.#main = new MainTable(kernel, {
      table,
      marksAccepted: false,
      guardedFamilies: [],
      asksHost: options.asksHost ?? false,
      servesLoopback6: false,
    });
    this.#guard = new GuardTable(kernel, table, 'host');
    this.#integration = createIntegration({
      table,
      kernel,
      tools,
      logger,
      isAllowed: options.integratesForeign ?? true,
      mark: () => this.#main.setOptions({ marksAccepted: true }),
    });
    this.#conditions = new ConditionBook({ clock, logger });
  }

  async start(): Promise<void> {
    this.#bootId = await readBootId(this.#kernel);
    this.#listen();
    await this.#watchBridgeFiltering([bridgeFilteringKey]);
    for (const link of await this.#kernel.links()) await this.#noteBridge('new', link);
    const servesLoopback6 = !(await isBridgeFiltering(this.#kernel));
    await this.#main.setOptions({ guardedFamilies: this.#guarded(), servesLoopback6 });
    await this.#main.sync();
    await this.#followFrameReaders();
    await this.#syncGuard();
  }

  async apply(networks: readonly FirewallNetwork[]): Promise<void> {
    await this.#main.apply(networks);
    await this.#integrate();
  }

  async addNetwork(network: FirewallNetwork, carry?: Carrier): Promise<void> {
    await this.#main.addNetwork(network, carry);
    if (this.#integratedFor !== this.#integrationKey()) await this.#integrate();
  }

  async removeNetwork(id: string): Promise<void> {
    await this.#main.removeNetwork(id);
  }

  async publish(owner: string, bindings: readonly FirewallBinding[]): Promise<void> {
    if (bindings.some(({ target }) => target.family === 6)) await this.#followBridgeFiltering();
    await this.#main.setBindings(owner, bindings);
  }

  async applyBindings(bindings: ReadonlyMap<string, readonly FirewallBinding[]>): Promise<void> {
    const repairs = await this.#main.applyBindings(bindings);
    for (const cause of repairs) this.#logger.info({ cause }, 'published ports brought up to date');
  }

  guardEndpoint(endpoint: GuardedEndpoint, carry?: Carrier): Promise<void> {
    return this.#guard.add(endpoint, carry);
  }

  releaseEndpoint(link: string): Promise<void> {
    return this.#guard.remove(link);
  }

  async applyEndpoints(endpoints: readonly GuardedEndpoint[]): Promise<void> {
    await this.#guard.apply(endpoints);
    this.#reportLack();
  }

  ensureForwarding(families: readonly ForwardingFamily[]): Promise<void> {
    return this.#mutex.run('forwarding', async () => {
      this.#forwardedFamilies = distinct([...this.#forwardedFamilies, ...families]);
      await this.#forward();
    });
  }

  async check(trigger: RepairTrigger = 'compare'): Promise<readonly string[]> {
    const startedMs = this.#clock.nowMs();
    await this.#followBridgeFiltering();
    const repairs = [
      ...this.#noteRepairs(this.#main.object, await this.#main.sync(), trigger),
      ...this.#noteRepairs(this.#guard.object, await this.#syncGuard(), trigger),
    ];
    await this.#followFrameReaders();
    await this.#main.forgetAdmitted();
    for (const family of await this.#mutex.run('forwarding', () => this.#forward())) {
      const repair = { object: `IPv${family} forwarding`, cause: 'it was off: switched on', trigger };
      this.#logger.warn({ kind: 'forwarding', ...repair }, 'repaired');
      this.#options.onRepair?.({ kind: 'forwarding', ...repair });
    }
    const ownMs = this.#clock.nowMs() - startedMs;
    await this.#integrate();
    const foreignMs = this.#clock.nowMs() - startedMs - ownMs;
    this.#restMs = Math.max(
      settleMs,
      Math.min(restFactor * ownMs, longestRestMs),
      Math.min(restFactor * foreignMs, longestForeignRestMs),
    );
    return repairs;
  }

  async dump(): Promise<string> {
    const objects = [this.#main.object, ...(this.#guard.lack === undefined ? [this.#guard.object] : [])];
    // One by one: libnftables 1.0 does not find two tables of different families in one run.
    const texts = await Promise.all(objects.map((object) => this.#kernel.nft(`list ${object}`)));
    return texts.join('');
  }

  get conditions(): readonly Condition[] {
    return this.#conditions.list();
  }

  async stop(options: { readonly keepsForeignRule?: boolean } = {}): Promise<void> {
    this.#listeners?.dispose();
    this.#listeners = undefined;
    await this.#watchBridgeFiltering([]);
    this.#stopping.abort();
    await this.#trackAgain();
    if (options.keepsForeignRule === true) return;
    await this.#mutex.run('foreign', () => this.#integration.remove(this.#bridges()));
  }

  /** Where the kernel has no more watches, the next publication or slow check sees a change. */
  async #watchBridgeFiltering(keys: readonly string[]): Promise<void> {
    try {
      await this.#kernel.watchSysctls(`firewall ${this.#main.object}`, keys);
    } catch (error) {
      this.#logger.warn({ err: error }, 'the parameter of br_netfilter is looked at by checks only');
    }
  }

  async #followBridgeFiltering(): Promise<void> {
    await this.#main.setOptions({ servesLoopback6: !(await isBridgeFiltering(this.#kernel)) });
  }

  /** Frames between containers are tracked as soon as somebody's rules may ask for it, and while nobody would notice. */
  async #followFrameReaders(): Promise<void> {
    const { table = 'linkspan' } = this.#options;
    const isRead = await hasFrameReaders({
      ...{ kernel: this.#kernel, tools: this.#tools, table, operatorChain },
      ownTables: [`inet ${table}`, `bridge ${table}`, tunnelTable],
    });
    await this.#guard.skipTracking(!isRead && !this.#stopping.signal.aborted);
  }

  /** Rules that ask for states may come while no daemon runs. */
  async #trackAgain(): Promise<void> {
    try {
      await this.#guard.skipTracking(false);
    } catch (error) {
      this.#logger.warn({ err: error }, 'frames between containers stay untracked while no daemon runs');
    }
  }

  #noteRepairs(object: string, causes: readonly string[], trigger: RepairTrigger): readonly string[] {
    for (const cause of causes) {
      this.#logger.warn(
        { kind: 'firewall', object, cause, trigger },
        'the firewall table had changed: repaired',
      );
      this.#options.onRepair?.({ kind: 'firewall', object, cause, trigger });
    }
    return causes;
  }

  async #syncGuard(): Promise<readonly string[]> {
    const causes = await this.#guard.sync();
    this.#reportLack();
    return causes;
  }

  #reportLack(): void {
    const { lack } = this.#guard;
    this.#report('antiSpoof', lack === undefined ? [] : [antiSpoofIsOff(lack)]);
  }

  /** By index, since a bridge may be renamed. One that is about to vanish counts as gone. */
  async #noteBridge(action: 'new' | 'del', { kind, ifindex, name }: Link): Promise<void> {
    const known = this.#bridgeNames.get(ifindex);
    const isThere = action === 'new' && kind === 'bridge' && !name.startsWith(discardedPrefix);
    if (known === (isThere ? name : undefined)) return;
    if (isThere) this.#bridgeNames.set(ifindex, name);
    else this.#bridgeNames.delete(ifindex);
    if (known !== undefined) await this.#main.setBridge(known, false);
    if (isThere) await this.#main.setBridge(name, true);
  }

  #bridges(): readonly string[] {
    return this.#main.networks.map(({ bridge }) => bridge);
  }

  #families(): readonly ForwardingFamily[] {
    const all = this.#main.networks.flatMap(({ subnets }) => subnets.map(({ prefix }) => prefix.base.family));
    return distinct(all);
  }

  /** Where no zone needs each bridge, only the first network and the first of a family call for another look. */
  #integrationKey(): string {
    const bridges = this.#usesZone ? this.#bridges().toSorted() : [String(this.#bridges().length > 0)];
    return [...bridges, ...this.#families()].join(' ');
  }

  #guarded(): readonly ForwardingFamily[] {
    return this.#options.guardsForwarding === false ? [] : guardedBy(this.#forwarding, this.#bootId);
  }

  /** Families that are needed and off are switched on: record, guard, then the sysctl. Resolves with them. */
  async #forward(): Promise<readonly ForwardingFamily[]> {
    const off: ForwardingFamily[] = [];
    for (const family of this.#forwardedFamilies)
      if (!(await isForwarding(this.#kernel, family))) off.push(family);
    await this.#reportLostRoutes();
    const isOurs = this.#options.switchesForwarding ?? true;
    this.#report('forwarding', isOurs ? [] : off.map(forwardingIsOff));
    if (off.length === 0 || !isOurs) return [];
    const families = distinct([...guardedBy(this.#forwarding, this.#bootId), ...off]);
    const record = { bootId: this.#bootId, families };
    await this.#options.saveForwarding?.(record);
    this.#forwarding = record;
    await this.#main.setOptions({ guardedFamilies: this.#guarded() });
    if (off.includes(6)) this.#losingRoutes = await linksLosingRoutes(this.#kernel);
    for (const family of off) await switchForwardingOn(this.#kernel, family);
    await this.#reportLostRoutes();
    this.#logger.info({ families: off }, 'switched IP forwarding on');
    return off;
  }

  /** Until somebody has done something about it. */
  async #reportLostRoutes(): Promise<void> {
    if (this.#losingRoutes.length === 0) return;
    const still: string[] = [];
    for (const link of this.#losingRoutes) if (await acceptsAsHostOnly(this.#kernel, link)) still.push(link);
    this.#losingRoutes = still;
    this.#report('advertisements', still.map(losesRoute));
  }

  /** Other firewalls: a failure there is a condition, not ours. */
  #integrate(): Promise<void> {
    return this.#mutex.run('foreign', async () => {
      try {
        this.#settle(await this.#integration.reconcile(this.#bridges(), this.#families()));
        await this.#main.setOptions({ marksAccepted: this.#needsMark });
        this.#integratedFor = this.#integrationKey();
      } catch (error) {
        this.#report('foreign', [
          {
            id: 'firewall.foreignUnknown',
            severity: 'warning',
            text: `Other firewalls could not be looked at: ${messageOf(error)}`,
          },
        ]);
      }
    });
  }

  #settle(result: IntegrationResult): void {
    this.#needsMark = result.needsMark;
    this.#usesZone = result.usesZone;
    const isRefused = result.usesZone && result.obstacles.length > 0;
    if (isRefused && !this.#isRetryDue) void this.#retry(this.#stopping.signal);
    this.#report(
      'foreign',
      result.obstacles.map(({ chain, text }) => ({
        id: `firewall.foreignDrop:${chain}`,
        severity: 'warning',
        text,
      })),
    );
  }

  #report(topic: string, reports: readonly ConditionReport[]): void {
    this.#conditions.report(topic, reports);
  }

  #listen(): void {
    if (this.#listeners !== undefined) return;
    this.#stopping = new AbortController();
    const { events } = this.#kernel;
    const listeners = new DisposableStack();
    listeners.use(
      events.on('ruleset', ({ isOwn }) => {
        if (!isOwn) this.#scheduleCheck();
      }),
    );
    listeners.use(events.on('overrun', () => this.#scheduleCheck()));
    listeners.use(
      events.on('forwarding', ({ isOn }) => {
        if (!isOn) this.#scheduleCheck();
      }),
    );
    listeners.use(
      events.on('sysctl', ({ key }) => {
        if (key !== bridgeFilteringKey) return;
        this.#followBridgeFiltering().catch((error: unknown) => {
          this.#logger.error({ err: error }, 'could not follow the parameter of br_netfilter');
        });
      }),
    );
    listeners.use(
      events.on('link', ({ action, link }) => {
        this.#noteBridge(action, link).catch((error: unknown) => {
          this.#logger.error({ link: link.name, err: error }, 'could not note a bridge');
        });
      }),
    );
    this.#listeners = listeners;
    void this.#checkSlowly(this.#stopping.signal);
  }

  #scheduleCheck(): void {
    if (this.#isCheckDue) return;
    this.#isCheckDue = true;
    void this.#checkLater(this.#stopping.signal);
  }

  async #checkLater(signal: AbortSignal): Promise<void> {
    try {
      await this.#clock.sleep(this.#restMs, signal);
    } catch {
      return;
    } finally {
      this.#isCheckDue = false;
    }
    await this.#checkQuietly('event');
  }

  async #checkSlowly(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await this.#clock.sleep(slowCheckMs, signal);
        await this.#checkQuietly();
      }
    } catch {
      // Stopped.
    }
  }

  async #retry(signal: AbortSignal): Promise<void> {
    this.#isRetryDue = true;
    try {
      await this.#clock.sleep(zoneRetryMs, signal);
    } catch {
      return;
    } finally {
      this.#isRetryDue = false;
    }
    await this.#checkQuietly();
  }

  async #checkQuietly(trigger: RepairTrigger = 'compare'): Promise<void> {
    try {
      await this.check(trigger);
    } catch (error) {
      this.#logger.error({ err: error }, 'could not check the firewall');
    }
  }
}

function losesRoute(link: string): ConditionReport {
  return {
    id: `firewall.routerAdvertisements:${link}`,
    severity: 'warning',
    text: `The host's IPv6 default route by ${link} came from a router advertisement, and Linux takes none while IPv6 forwarding is on, which networks with IPv6 need: set net.ipv6.conf.${link}.accept_ra=2 and the next one brings it back`,
  };
}

function antiSpoofIsOff(reason: string): ConditionReport {
  return {
    id: 'firewall.antiSpoofOff',
    severity: 'warning',
    text: `What containers send cannot be checked here, so that one may use another's address; it needs nftables with family bridge (${reason})`,
  };
}

function forwardingIsOff(family: ForwardingFamily): ConditionReport {
  return {
    id: `firewall.forwardingOff:ipv${family}`,
    severity: 'error',
    text: `IPv${family} forwarding is off and Linkspan was told not to switch it on: containers cannot reach the outside`,
  };
}

export interface FirewallDependencies {
  readonly kernel: FirewallKernel;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly tools?: HostTools;
  readonly options?: FirewallOptions;
}

/** Nothing happens until `start`. */
export function createFirewall(dependencies: FirewallDependencies): Firewall {
  const { kernel, logger, clock = systemClock, tools = hostTools, options = {} } = dependencies;
  return new NftFirewall(kernel, logger, clock, tools, options);
}
