/*
 * Published ports: follows sandboxes, and keeps for each running container the bindings that its requests and its
 * endpoints mean. Order of a change: ports settled (table and sockets, which die with us), durable record, kernel; a
 * failure takes all of it back. A restart adopts: the firewall still translates, only the sockets have to come back.
 * Key: `bindings/<container id>`.
 */
import type { Clock } from '../../base/clock.ts';
import type { Condition } from '../../base/condition.ts';
import { ConditionBook } from '../../base/conditionBook.ts';
import type { Logger } from '../../base/logger.ts';
import type { Driver } from '../../drivers/interface.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { FirewallBinding } from '../../firewall/binding.ts';
import type { Firewall } from '../../firewall/firewall.ts';
import type { FlowFilter, Kernel } from '../../kernel/kernel.ts';
import { formatIp, type Ip, type IpFamily, parseIp } from '../../net/ip.ts';
import { parsePrefix } from '../../net/prefix.ts';
import type { Store } from '../../store/store.ts';
import type { Binding, Container, ContainerId, Endpoint, EndpointId, PortRequest } from '../model.ts';
import { toDriverNetwork } from '../networks/driverValues.ts';
import type { SandboxFollower, SandboxState } from '../networks/follower.ts';
import { addressOf, type Door, type Doors, planBindings, planWants, settledPorts } from './bindingPlan.ts';
import { PortTable, type TablePort } from './portTable.ts';
import { hostPortsOf, type PortKernel, Settler } from './settler.ts';

export interface PublishedPortsDependencies {
  readonly store: Store;
  readonly drivers: ReadonlyMap<string, Driver>;
  readonly kernel: PortKernel & Pick<Kernel, 'forgetFlows' | 'setHairpin'>;
  readonly firewall: Pick<Firewall, 'publish' | 'applyBindings'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What stands for one container. */
interface BindingRecord {
  readonly containerId: ContainerId;
  readonly containerName: string;
  readonly bindings: readonly Binding[];
}

const keyOf = (id: ContainerId): string => `bindings/${id}`;
/** How long a host port that somebody took while no daemon ran may stay lost before it is asked for again. */
const retryMs = 30_000;

function mustParse(text: string): Ip {
  const ip = parseIp(text);
  if (ip === undefined) throw new TypeError(`a stored address is malformed: ${text}`);
  return ip;
}

/** The host ports of bindings; routed ones have none. */
function portsOf(bindings: readonly Binding[]): readonly TablePort[] {
  return bindings.flatMap(({ proto, hostIp, hostPort, count }) =>
    hostPort === 0
      ? []
      : Array.from({ length: count }, (_, i) => ({ proto, ip: mustParse(hostIp), port: hostPort + i })),
  );
}

const nameOf = ({ proto, ip, port }: TablePort): string => `${formatIp(ip)} ${port}/${proto}`;
const textOf = (binding: Binding): string => JSON.stringify(binding);

/** `a` without what `b` has too. */
function without<T>(a: readonly T[], b: readonly T[], name: (one: T) => string): readonly T[] {
  const names = new Set(b.map(name));
  return a.filter((one) => !names.has(name(one)));
}

/** Its failure, or undefined. */
async function settle(work: () => Promise<void>): Promise<unknown> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return error;
  }
}

function toFirewall(binding: Binding): FirewallBinding {
  const hostIp = mustParse(binding.hostIp);
  return {
    proto: binding.proto,
    hostIp: hostIp.bits === 0n ? undefined : hostIp,
    hostPort: binding.hostPort,
    count: binding.count,
    target: mustParse(binding.target),
    port: binding.port,
    isRouted: binding.hostPort === 0,
    sources: binding.sources.flatMap((text) => parsePrefix(text) ?? []),
    trustedLinks: binding.trustedLinks ?? [],
  };
}

/** Flows of connectionless protocols: others end with their connection. */
function flowsOf(bindings: readonly Binding[]): readonly FlowFilter[] {
  return bindings
    .filter(({ proto, hostPort }) => proto === 'udp' && hostPort !== 0)
    .map((binding) => {
      const ip = mustParse(binding.hostIp);
      return {
        family: ip.family,
        proto: binding.proto,
        firstPort: binding.hostPort,
        count: binding.count,
        hostIp: ip.bits === 0n ? undefined : ip,
      };
    });
}

/** What a container wants published: what it was asked for, and with `-P` every exposed port that is not yet. */
export function requestsOf({ spec, process }: Container): readonly PortRequest[] {
  if (!spec.publishesAllPorts) return spec.ports;
  const covers = (request: PortRequest, proto: string, port: number): boolean =>
    request.proto === proto && port >= request.port && port < request.port + request.count;
  const exposed = process.exposedPorts.flatMap((text): readonly PortRequest[] => {
    const [port = '', proto = 'tcp'] = text.split('/');
    if (proto !== 'tcp' && proto !== 'udp' && proto !== 'sctp') return [];
    const isThere = spec.ports.some((request) => covers(request, proto, Number(port)));
    return isThere ? [] : [{ proto, port: Number(port), count: 1, hostIp: '', sources: [] }];
  });
  return [...spec.ports, ...exposed.toSorted((a, b) => a.port - b.port)];
}

export class PublishedPorts implements SandboxFollower {
  readonly #deps: PublishedPortsDependencies;
  readonly #table = new PortTable();
  readonly #settler: Settler;
  readonly #records = new Map<ContainerId, BindingRecord>();
  readonly #conditions: ConditionBook;
  /** Ports that somebody else has, though the firewall translates them for us. */
  readonly #lost = new Map<string, TablePort>();
  readonly #closing = new AbortController();

  constructor(deps: PublishedPortsDependencies) {
    this.#deps = deps;
    this.#settler = new Settler(this.#table, deps.kernel);
    this.#conditions = new ConditionBook(deps);
  }

  get conditions(): readonly Condition[] {
    return this.#conditions.list();
  }

  /** What is published now; runs merged. */
  bindings(id: ContainerId): readonly Binding[] {
    return this.#records.get(id)?.bindings ?? [];
  }

  /** Stops asking for lost ports. What is published stays. */
  close(): void {
    this.#closing.abort();
  }

  async apply(state: SandboxState): Promise<void> {
    const { container } = state;
    const before = this.bindings(container.id);
    const requests = requestsOf(container);
    if (requests.length === 0 && before.length === 0) return;
    const doors = this.#doorsOf(state);
    try {
      await this.#change(state, before, requests, doors);
    } catch (error) {
      const endpoint = (doors[4] ?? doors[6])?.endpoint;
      if (!(error instanceof LinkspanError) || endpoint === undefined) throw error;
      const where = `driver failed programming external connectivity on endpoint ${container.name} (${endpoint.id})`;
      throw new LinkspanError(error.code, `${where}: ${error.message}`, { cause: error });
    }
  }

  async repaired(state: SandboxState): Promise<void> {
    await this.#letHairpin(state, this.bindings(state.container.id));
  }

  async release({ id }: Container): Promise<void> {
    const record = this.#records.get(id);
    if (record === undefined) return;
    const { firewall, kernel, store } = this.#deps;
    const ports = portsOf(record.bindings);
    // The record last: while it is there, all of this is done again.
    const outcomes = [
      await settle(() => firewall.publish(id, [])),
      await settle(() => this.#giveBack(ports)),
      await settle(() => kernel.forgetFlows(flowsOf(record.bindings))),
    ];
    const failures = outcomes.flatMap((outcome) => outcome ?? []);
    if (failures.length > 0) throw new AggregateError(failures, failures.map(messageOf).join('; '));
    await store.txn({ write: [{ key: keyOf(id), del: true }], survives: 'process' });
    this.#records.delete(id);
  }

  async adopt(states: readonly SandboxState[]): Promise<void> {
    const { store, firewall, kernel, logger } = this.#deps;
    const live = new Set(states.map(({ container }) => container.id));
    const records = (await store.list('bindings/')).entries.map(({ value }) => value as BindingRecord);
    const gone = records.filter(({ containerId }) => !live.has(containerId));
    for (const record of records)
      if (live.has(record.containerId)) {
        this.#records.set(record.containerId, record);
        await this.#holdAgain(portsOf(record.bindings));
      }
    await firewall.applyBindings(
      new Map([...this.#records].map(([id, { bindings }]) => [id, bindings.map(toFirewall)])),
    );
    if (gone.length > 0) {
      await kernel.forgetFlows(gone.flatMap(({ bindings }) => flowsOf(bindings)));
      await store.txn({
        write: gone.map(({ containerId }) => ({ key: keyOf(containerId), del: true as const })),
      });
      logger.info({ count: gone.length }, 'took back published ports of containers that ended meanwhile');
    }
    for (const state of states) {
      try {
        // A change that the last daemon had recorded but not made.
        await this.apply(state);
      } catch (error) {
        logger.error(
          { container: state.container.name, id: state.container.id, err: error },
          'could not publish the ports of an adopted container',
        );
      }
    }
  }

  #doorsOf({ sandbox, attachments }: SandboxState): Doors {
    const doors: Partial<Record<IpFamily, Door>> = {};
    if (sandbox === undefined) return {};
    for (const family of [4, 6] as const) {
      const found = attachments.find(({ endpoint }) => endpoint.defaultRoutes.includes(family));
      if (found === undefined) continue;
      const { endpoint, network } = found;
      const publishing = this.#deps.drivers.get(network.driver)?.publishing?.(toDriverNetwork(network));
      const target = addressOf(endpoint, family);
      if (publishing !== undefined && target !== undefined && publishing.modes[family] !== 'isolated')
        doors[family] = { endpoint, publishing, target };
    }
    return doors;
  }

  async #change(
    state: SandboxState,
    before: readonly Binding[],
    requests: readonly PortRequest[],
    doors: Doors,
  ): Promise<void> {
    const { container } = state;
    const kept = settledPorts(before);
    const wants = planWants(requests, doors);
    const held = new Set(portsOf(before).map(nameOf));
    // What stands keeps its host port, in all the places where it is wanted now.
    const known = wants.flatMap((want) => {
      const hostPort = kept.get(want.key);
      if (hostPort === undefined) return [];
      const ports = hostPortsOf(want, hostPort);
      const missing = ports.filter((port) => !held.has(nameOf(port)));
      return missing.length < ports.length ? [{ want, hostPort, missing }] : [];
    });
    await using undo = new AsyncDisposableStack();
    const completed = await this.#settler.complete(known.filter(({ missing }) => missing.length > 0));
    undo.defer(() => this.#settler.releasePorts(completed.flatMap(({ missing }) => missing)));
    const standing = [...known.filter(({ missing }) => missing.length === 0), ...completed];
    const stands = new Set(standing.map(({ want }) => want.key));
    const settled = await this.#settler.settle(wants.filter(({ key }) => !stands.has(key)));
    undo.defer(() => this.#settler.release(settled));
    const after = planBindings([...standing, ...settled], doors);
    if (JSON.stringify(after) === JSON.stringify(before)) {
      undo.move();
      return;
    }
    undo.defer(() => this.#put(container, before));
    await this.#put(container, after);
    await this.#letHairpin(state, after);
    undo.defer(() => this.#deps.firewall.publish(container.id, before.map(toFirewall)));
    await this.#deps.firewall.publish(container.id, after.map(toFirewall));
    await this.#deps.kernel.forgetFlows(
      flowsOf([...without(after, before, textOf), ...without(before, after, textOf)]),
    );
    undo.move();
    await this.#giveBack(without(portsOf(before), portsOf(after), nameOf));
    this.#log(container, after);
  }

  #log({ id, name }: Container, bindings: readonly Binding[]): void {
    const shown = bindings
      .slice(0, 20)
      .map(({ proto, port, count, hostIp, hostPort }) =>
        [`${hostIp}:${hostPort}`, `${port}/${proto}`, ...(count > 1 ? [`×${count}`] : [])].join(' '),
      );
    this.#deps.logger.info({ container: name, id, bindings: shown }, 'published ports');
  }

  /** Outlives the daemon, as what it is about does; an empty list forgets the record. Memory follows the store. */
  async #put({ id, name }: Container, bindings: readonly Binding[]): Promise<void> {
    const record = { containerId: id, containerName: name, bindings };
    const write =
      bindings.length === 0 ? { key: keyOf(id), del: true as const } : { key: keyOf(id), put: record };
    await this.#deps.store.txn({ write: [write], survives: 'process' });
    if (bindings.length === 0) this.#records.delete(id);
    else this.#records.set(id, record);
  }

  /** A container reaches its own published port through the port of the bridge that it sends by. */
  async #letHairpin({ attachments }: SandboxState, bindings: readonly Binding[]): Promise<void> {
    const ids = new Set<EndpointId>(bindings.map(({ endpointId }) => endpointId));
    const names = attachments
      .map(({ endpoint }): Endpoint => endpoint)
      .filter(({ id, hostInterfaceName }) => ids.has(id) && hostInterfaceName !== '')
      .map(({ hostInterfaceName }) => hostInterfaceName);
    for (const name of names) await this.#deps.kernel.setHairpin(name, true);
  }

  /** After a restart: what the firewall translates is ours, whoever has the host's port by now. */
  async #holdAgain(ports: readonly TablePort[]): Promise<void> {
    this.#table.take(ports);
    if (ports.length === 0 || (await this.#deps.kernel.holdPorts(ports)) === undefined) return;
    const isAsking = this.#lost.size > 0;
    for (const port of ports)
      if ((await this.#deps.kernel.holdPorts([port])) !== undefined) this.#lost.set(nameOf(port), port);
    this.#reportLost();
    if (!isAsking) void this.#retry();
  }

  /** Lost ones are asked for no more. */
  async #giveBack(ports: readonly TablePort[]): Promise<void> {
    this.#found(ports);
    await this.#settler.releasePorts(ports);
  }

  #found(ports: readonly TablePort[]): void {
    for (const port of ports) this.#lost.delete(nameOf(port));
    this.#reportLost();
  }

  #reportLost(): void {
    const reports = [...this.#lost.values()].map((port) => ({
      id: `ports.taken:${nameOf(port)}`,
      severity: 'warning' as const,
      text: `A program of the host took port ${nameOf(port)} while the daemon was down. Connections from outside go to the container that publishes it; the program is out of their reach.`,
    }));
    this.#conditions.report('taken', reports);
  }

  async #retry(): Promise<void> {
    try {
      while (this.#lost.size > 0) {
        await this.#deps.clock.sleep(retryMs, this.#closing.signal);
        for (const port of this.#lost.values())
          if ((await this.#deps.kernel.holdPorts([port])) === undefined) this.#found([port]);
      }
    } catch (error) {
      if (!this.#closing.signal.aborted)
        this.#deps.logger.warn({ err: error }, 'stopped asking for host ports that others took');
    }
  }
}
