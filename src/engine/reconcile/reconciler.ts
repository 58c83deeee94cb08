/*
 * Keeps the kernel as the records say: notices of the kernel lead to a look at the one network or endpoint that they
 * are about, and a slow compare looks at all of them, whatever was noticed. What somebody took away is put back and
 * logged; what cannot be put back becomes a condition. Not for the firewall, which looks after itself (firewall.ts).
 *
 * A look holds the container's or network's queue, so that it never meets one that is half-way up or down.
 */
import type { Clock } from '../../base/clock.ts';
import type { Condition } from '../../base/condition.ts';
import { ConditionBook } from '../../base/conditionBook.ts';
import type { Logger } from '../../base/logger.ts';
import type { RepairLog, RepairTrigger } from '../../base/repairLog.ts';
import type { Driver } from '../../drivers/interface.ts';
import { messageOf } from '../../errors/linkspanError.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Container, ContainerId, Endpoint, EndpointId, Network, NetworkId } from '../model.ts';
import { toDriverEndpoint, toDriverNetwork } from '../networks/driverValues.ts';
import { getDriver } from '../networks/networkPlan.ts';
import type { NetworkTable } from '../networks/networkTable.ts';
import { Lane, type Outcome } from './lane.ts';
import { isOnParent, Lookout, type Subject } from './lookout.ts';
import { SysctlWatch } from './sysctlWatch.ts';

type EndpointSubject = Extract<Subject, { readonly type: 'endpoint' }>;

/**
 * Whatever happens: for losses that raise no notice that reaches us, which are a resolver's sockets and parameters written
 * by another mount of procfs, and what is lost in the moment before its notices are heard.
 */
const slowCompareMs = 60_000;
/** After an overrun, and no more often than ten times what the last compare took. */
const overrunSettleMs = 200;
const restFactor = 10;

/** Work on something that nobody else changes meanwhile, if it still stands. */
export interface Exclusive {
  /** A network that is ready. */
  network(id: NetworkId, work: (network: Network) => Promise<void>): Promise<void>;
  /** A container that runs, with a network of its own. `isFree`: something in its sandbox may change the network there. */
  container(id: ContainerId, work: (container: Container, isFree: boolean) => Promise<void>): Promise<void>;
}

export interface ReconcilerDependencies {
  readonly table: NetworkTable;
  readonly drivers: ReadonlyMap<string, Driver>;
  readonly kernel: Pick<Kernel, 'events' | 'links' | 'numberNamespace' | 'watchSysctls'>;
  readonly exclusive: Exclusive;
  /** The container's published ports, resolver and so on, once its interfaces are as they should be. */
  readonly onRepaired: (container: Container) => Promise<void>;
  /** What else is kept for it, if it is not as it should be; one sentence a repair. */
  readonly repairKept: (container: Container, extent: 'outside' | 'all') => Promise<readonly string[]>;
  readonly repairs: RepairLog;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Reconciler implements Disposable {
  readonly #deps: ReconcilerDependencies;
  readonly #lookout: Lookout;
  readonly #sysctls: SysctlWatch;
  readonly #lanes = new Map<string, Lane>();
  readonly #conditions: ConditionBook;
  readonly #listeners = new DisposableStack();
  readonly #stopping = new AbortController();
  #isCompareDue = false;
  #lastCompareMs = 0;

  constructor(deps: ReconcilerDependencies) {
    this.#deps = deps;
    this.#conditions = new ConditionBook(deps);
    this.#lookout = this.#listeners.use(new Lookout(deps.table, deps.drivers));
    this.#sysctls = this.#listeners.use(new SysctlWatch(deps));
  }

  /** Begins to watch, and looks at everything once in the background: what happened while no daemon ran. */
  start(): void {
    const { events } = this.#deps.kernel;
    const lookout = this.#lookout;
    this.#listeners.use(
      events.on('link', (event) => {
        this.#sysctls.ofLink(event);
        this.#notice(...lookout.ofLink(event));
      }),
    );
    this.#listeners.use(
      events.on('sysctl', (event) => {
        const id = this.#sysctls.ofSysctl(event);
        if (id !== undefined) this.#notice({ type: 'network', id });
      }),
    );
    this.#listeners.use(events.on('address', (event) => this.#notice(lookout.ofAddress(event))));
    this.#listeners.use(events.on('route', (event) => this.#notice(lookout.ofRoute(event))));
    this.#listeners.use(events.on('farLoss', (event) => this.#notice(...lookout.ofFarLoss(event))));
    this.#listeners.use(events.on('farRuleset', (event) => this.#notice(lookout.ofFarRuleset(event))));
    this.#listeners.use(
      this.#deps.table.events.on('endpoint', ({ before, after }) => {
        if (after !== undefined && isOnParent(after) && before?.state !== 'attached')
          void this.#number(after.containerId);
      }),
    );
    this.#listeners.use(events.on('overrun', () => this.#compareSoon()));
    void this.#compareSlowly();
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
    this.#listeners.dispose();
  }

  get conditions(): readonly Condition[] {
    return this.#conditions.list();
  }

  /** Looks at everything; resolves when all of it was looked at. */
  async compare(): Promise<void> {
    const { clock, kernel, table } = this.#deps;
    const startedMs = clock.nowMs();
    this.#sysctls.renew();
    this.#lookout.note(await kernel.links());
    const onParents = table.endpoints.filter(isOnParent);
    for (const id of new Set(onParents.map(({ containerId }) => containerId))) await this.#number(id);
    const networks = table.networks.map(({ id }) => this.#request({ type: 'network', id }, 'compare'));
    await Promise.all(networks);
    // One container after the other: nobody waits, and calls of users come between.
    const attached = table.endpoints.filter(({ state }) => state === 'attached');
    for (const [id, endpoints] of Map.groupBy(attached, ({ containerId }) => containerId)) {
      const subjects: readonly Subject[] = [...endpoints.map(subjectOf), { type: 'sandbox', id }];
      await Promise.all(subjects.map((subject) => this.#request(subject, 'compare')));
    }
    this.#lastCompareMs = clock.nowMs() - startedMs;
  }

  #notice(...subjects: readonly (Subject | undefined)[]): void {
    for (const subject of subjects) if (subject !== undefined) void this.#request(subject, 'event');
  }

  #request(subject: Subject, trigger: RepairTrigger): Promise<void> {
    const key = keyOf(subject);
    const lane = this.#lanes.get(key) ?? this.#newLane(subject, key);
    return lane.request(trigger).then(() => this.#tidy(key));
  }

  #newLane(subject: Subject, key: string): Lane {
    const lane = new Lane({
      clock: this.#deps.clock,
      stopping: this.#stopping.signal,
      look: (trigger) => this.#look(subject, trigger),
      report: (outcome) => this.#report(subject, outcome),
    });
    this.#lanes.set(key, lane);
    return lane;
  }

  /** A lane that has nothing to remember goes, so that there are not as many as there ever were containers. */
  #tidy(key: string): void {
    if (this.#lanes.get(key)?.isAtRest === true) this.#lanes.delete(key);
  }

  #look(subject: Subject, trigger: RepairTrigger): Promise<boolean> {
    switch (subject.type) {
      case 'network':
        return this.#lookAtNetwork(subject.id, trigger);
      case 'endpoint':
        return this.#lookAtEndpoint(subject, trigger);
      case 'sandbox':
        return this.#lookAtSandbox(subject.id, trigger);
      default:
        return subject satisfies never;
    }
  }

  async #lookAtNetwork(id: NetworkId, trigger: RepairTrigger): Promise<boolean> {
    let causes: readonly string[] = [];
    await this.#deps.exclusive.network(id, async (network) => {
      const driver = getDriver(this.#deps.drivers, network.driver);
      causes = await driver.repairNetwork(toDriverNetwork(network));
      this.#log('bridge', `network ${network.name}`, causes, trigger);
    });
    if (causes.length === 0) return false;
    const attached = this.#deps.table.endpointsOf(id).filter(({ state }) => state === 'attached');
    // A namespace that was made again has another number.
    if (attached.length > 0) await this.#numberNetwork(id);
    // A bridge that was gone has lost its ports.
    for (const endpoint of attached) void this.#request(subjectOf(endpoint), trigger);
    return true;
  }

  async #lookAtEndpoint({ id, containerId }: EndpointSubject, trigger: RepairTrigger): Promise<boolean> {
    const { exclusive, onRepaired } = this.#deps;
    const networkId = this.#findEndpoint(containerId, id)?.networkId;
    // A port needs its bridge.
    if (networkId !== undefined) await this.#lanes.get(keyOf({ type: 'network', id: networkId }))?.settled();
    let causes: readonly string[] = [];
    await exclusive.container(containerId, async (container, isFree) => {
      const endpoint = this.#findEndpoint(containerId, id);
      if (endpoint === undefined) return;
      causes = await this.#repairEndpoint(container, endpoint, isFree);
      this.#log('endpoint', `container ${container.name}`, causes, trigger);
      if (causes.length === 0) return;
      await this.#numberNetwork(endpoint.networkId);
      await onRepaired(container);
    });
    return causes.length > 0;
  }

  async #lookAtSandbox(id: ContainerId, trigger: RepairTrigger): Promise<boolean> {
    let causes: readonly string[] = [];
    await this.#deps.exclusive.container(id, async (container, isFree) => {
      causes = await this.#deps.repairKept(container, isFree ? 'outside' : 'all');
      this.#log('resolver', `container ${container.name}`, causes, trigger);
    });
    return causes.length > 0;
  }

  /** Notices come only from namespaces with a number; a pair gives its sandbox one, a link on a parent does not. */
  async #number(id: ContainerId): Promise<void> {
    try {
      await this.#deps.exclusive.container(id, async ({ sandbox }) => {
        if (sandbox === undefined) return;
        this.#lookout.noteNamespace(id, await this.#deps.kernel.numberNamespace(sandbox.path));
        for (const { networkId, state } of this.#deps.table.endpointsOfContainer(id))
          if (state === 'attached') await this.#numberNetwork(networkId);
      });
    } catch (error) {
      if (!this.#stopping.signal.aborted)
        this.#deps.logger.warn(
          { container: id, err: error },
          'losses in a sandbox are found by compares only',
        );
    }
  }

  /** Its own namespace, if it has one; endpoints are attached. */
  async #numberNetwork(id: NetworkId): Promise<void> {
    const { table, drivers, kernel } = this.#deps;
    const network = table.find(id);
    if (network === undefined) return;
    const path = getDriver(drivers, network.driver).namespaceOf?.(toDriverNetwork(network));
    if (path !== undefined) this.#lookout.noteNetworkNamespace(id, await kernel.numberNamespace(path));
  }

  #findEndpoint(containerId: ContainerId, id: EndpointId): Endpoint | undefined {
    return this.#deps.table.endpointsOfContainer(containerId).find((endpoint) => endpoint.id === id);
  }

  async #repairEndpoint(
    { sandbox }: Container,
    endpoint: Endpoint,
    isFree: boolean,
  ): Promise<readonly string[]> {
    const { table, drivers } = this.#deps;
    const network = table.find(endpoint.networkId);
    const { mac, state } = endpoint;
    if (network === undefined || sandbox === undefined || mac === undefined || state !== 'attached')
      return [];
    return await getDriver(drivers, network.driver).repairEndpoint(
      toDriverNetwork(network),
      toDriverEndpoint({ ...endpoint, mac }),
      sandbox.path,
      isFree ? 'outside' : 'all',
    );
  }

  #log(
    kind: 'bridge' | 'endpoint' | 'resolver',
    object: string,
    causes: readonly string[],
    trigger: RepairTrigger,
  ): void {
    for (const cause of causes) {
      this.#deps.logger.warn({ kind, object, cause, trigger }, 'repaired');
      this.#deps.repairs.record({ kind, object, cause, trigger });
    }
  }

  #report(subject: Subject, outcome: Outcome): void {
    const reports = reportsOf(keyOf(subject), this.#nameOf(subject), outcome);
    this.#conditions.report(keyOf(subject), reports);
  }

  #nameOf(subject: Subject): string {
    const { table } = this.#deps;
    if (subject.type === 'network') return `network ${table.find(subject.id)?.name ?? subject.id}`;
    if (subject.type === 'sandbox')
      return `what is kept for container ${table.endpointsOfContainer(subject.id)[0]?.containerName ?? subject.id}`;
    const endpoint = this.#findEndpoint(subject.containerId, subject.id);
    return `interface ${endpoint?.interfaceName ?? '?'} of container ${endpoint?.containerName ?? subject.containerId}`;
  }

  /** After a loss of notices. */
  #compareSoon(): void {
    if (this.#isCompareDue) return;
    this.#isCompareDue = true;
    const waitMs = Math.max(overrunSettleMs, restFactor * this.#lastCompareMs);
    this.#deps.clock.sleep(waitMs, this.#stopping.signal).then(
      async () => {
        this.#isCompareDue = false;
        await this.#compareQuietly();
      },
      () => {},
    );
  }

  async #compareSlowly(): Promise<void> {
    try {
      for (;;) {
        await this.#compareQuietly();
        await this.#deps.clock.sleep(slowCompareMs, this.#stopping.signal);
      }
    } catch {
      // Stopped.
    }
  }

  async #compareQuietly(): Promise<void> {
    try {
      await this.compare();
    } catch (error) {
      if (!this.#stopping.signal.aborted)
        this.#deps.logger.error({ err: error }, 'could not compare the kernel with the records');
    }
  }
}

function keyOf({ type, id }: Subject): string {
  return `${type} ${id}`;
}

function subjectOf({ id, containerId }: Endpoint): Subject {
  return { type: 'endpoint', id, containerId };
}

function reportsOf(key: string, name: string, outcome: Outcome): readonly Omit<Condition, 'since'>[] {
  if (outcome.type === 'failed') {
    const text = `Somebody changed ${name}, and it could not be repaired: ${messageOf(outcome.error)}`;
    return [{ id: `repair.failed:${key}`, severity: 'error', text }];
  }
  if (!outcome.isContested) return [];
  const text = `Something keeps changing ${name}: it is put back, but not as fast. The log says what was changed`;
  return [{ id: `repair.contested:${key}`, severity: 'warning', text }];
}
