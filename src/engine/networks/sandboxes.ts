/*
 * A container's network: its namespace and its endpoints, made at start and taken down at the end. Records first
 * (`attached`), then the kernel; a failure takes everything back in reverse. The namespace is bind-mounted under
 * exec-root, so that it outlives the daemon.
 */
import { join } from 'node:path';
import { allDone } from '../../base/allDone.ts';
import { newId, shortId } from '../../base/ids.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { AttachmentRequest, Container, Endpoint, EndpointId, Network, Sandbox } from '../model.ts';
import type { ClaimedByNetwork, SwarmClaims } from '../overlay/claims.ts';
import { AttachmentPlanner, type PlannedAttachment } from './attachmentPlan.ts';
import { renamedNames } from './dnsNames.ts';
import { toDriverNetwork } from './driverValues.ts';
import { EndpointWork, type EndpointWorkDependencies } from './endpointWork.ts';
import type { SandboxFollower, SandboxState } from './follower.ts';
import { type GatewayNetwork, isHidden, type WayOut } from './gateway.ts';

export interface SandboxesDependencies extends EndpointWorkDependencies {
  readonly kernel: Pick<Kernel, 'createNamespace' | 'removeNamespace'>;
  /** Folder of the bind-mounted namespaces. */
  readonly namespaceFolder: string;
  readonly getNetwork: (ref: string) => Network;
  readonly claims: Pick<SwarmClaims, 'claim' | 'giveBack'>;
  readonly gateway: GatewayNetwork;
  /** In the order in which they are applied. */
  readonly followers: readonly SandboxFollower[];
}

export class Sandboxes {
  readonly #deps: SandboxesDependencies;
  readonly #planner: AttachmentPlanner;
  readonly #work: EndpointWork;

  constructor(deps: SandboxesDependencies) {
    this.#deps = deps;
    this.#work = new EndpointWork(deps);
    this.#planner = new AttachmentPlanner(deps.table, deps.drivers, deps.getNetwork);
  }

  /** A namespace (none for `hasNamespace` false) with every request attached. Undoes everything when a step fails. */
  async create(
    container: Container,
    requests: readonly AttachmentRequest[],
    hasNamespace: boolean,
  ): Promise<{ readonly sandbox: Sandbox | undefined; readonly endpoints: readonly Endpoint[] }> {
    const sandbox = hasNamespace ? this.#newSandbox() : undefined;
    await using _prepared = sandbox === undefined ? undefined : this.#prepare(requests);
    const { planned, claimed } = await this.#plan(container, requests, sandbox);
    const kept = new Set(planned.map(({ endpoint }) => endpoint.id));
    // Reservations on networks that the container is not to be on any more: a change that was cut short.
    const stale = this.#deps.table.endpointsOfContainer(container.id).filter(({ id }) => !kept.has(id));
    await using undo = new AsyncDisposableStack();
    try {
      await this.#deps.table.putEndpoints(
        planned.map(({ endpoint }) => endpoint),
        planned.flatMap(({ displaced }) => displaced),
      );
    } catch (error) {
      for (const one of planned) this.#planner.giveBack(one);
      this.#deps.claims.giveBack(claimed);
      throw error;
    }
    undo.defer(() => this.#work.takeBackRecords(planned));
    if (sandbox !== undefined) {
      undo.defer(() => this.#deps.kernel.removeNamespace(sandbox.path));
      for (const one of planned) undo.defer(() => this.#work.detach(one.endpoint, sandbox.path));
      // Asked for in one go, and done in this order: waiting for each answer would cost a change of threads both ways.
      await allDone([
        this.#deps.kernel.createNamespace(sandbox.path),
        ...planned.map((one) => this.#work.attach(one, sandbox.path)),
      ]);
    }
    for (const follower of this.#deps.followers) {
      undo.defer(() => follower.release(container));
      await follower.apply(this.stateOf({ ...container, ...(sandbox === undefined ? {} : { sandbox }) }));
    }
    await this.#deps.table.delEndpoints(stale);
    undo.move();
    for (const { network, endpoint } of planned)
      if (!isHidden(endpoint)) this.#work.emit('connect', network, container);
    return { sandbox, endpoints: planned.map(({ endpoint }) => endpoint) };
  }

  /** Detaches everything and removes the namespace; addresses stay reserved. Tries every step; throws what failed. */
  async release(container: Container): Promise<void> {
    const attached = this.#deps.table
      .endpointsOfContainer(container.id)
      .filter(({ state }) => state === 'attached');
    const failures: unknown[] = [];
    const attempt = async (step: () => Promise<void>): Promise<void> => {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    };
    for (const follower of this.#deps.followers.toReversed())
      await attempt(() => follower.release(container));
    const path = container.sandbox?.path;
    await Promise.all(attached.map((endpoint) => attempt(() => this.#work.detach(endpoint, path))));
    if (path !== undefined) await attempt(() => this.#deps.kernel.removeNamespace(path));
    if (failures.length === 0)
      await attempt(() =>
        this.#deps.table.putEndpoints(attached.map((e) => ({ ...e, state: 'reserved' as const }))),
      );
    if (failures.length > 0)
      throw new LinkspanError(
        'kernel',
        `could not take down the network of ${container.name}: ${failures.map(messageOf).join('; ')}`,
        {
          cause: failures[0],
        },
      );
    for (const endpoint of attached) {
      const network = this.#deps.table.find(endpoint.networkId);
      if (network !== undefined && !isHidden(endpoint)) this.#work.emit('disconnect', network, container);
    }
  }

  /** The container is going: gives its addresses back. */
  async forget(container: Container): Promise<void> {
    await this.#deps.table.delEndpoints(this.#deps.table.endpointsOfContainer(container.id));
  }

  /** Records follow a container's new name. */
  async renamed(container: Container, name: string): Promise<void> {
    const endpoints = this.#deps.table.endpointsOfContainer(container.id);
    await this.#deps.table.putEndpoints(
      endpoints.map((endpoint) => ({
        ...endpoint,
        containerName: name,
        dnsNames: renamedNames(endpoint.dnsNames, container.name, name),
      })),
    );
  }

  /** A container's sandbox as followers see it; `without` = endpoints that are about to go. */
  stateOf(container: Container, without: ReadonlySet<EndpointId> = new Set()): SandboxState {
    const attachments = this.#deps.table.endpointsOfContainer(container.id).flatMap((endpoint) => {
      const network = this.#deps.table.find(endpoint.networkId);
      const isIn = endpoint.state === 'attached' && !without.has(endpoint.id);
      return isIn && network !== undefined ? [{ endpoint, network }] : [];
    });
    return { container, sandbox: container.sandbox, attachments };
  }

  /** Interfaces were put back: the followers make what they keep match again. */
  async repaired(container: Container): Promise<void> {
    for (const follower of this.#deps.followers) await follower.repaired?.(this.stateOf(container));
  }

  /** What the followers keep for it is put back where it is gone; one sentence a repair. */
  async repairKept(container: Container, extent: 'outside' | 'all'): Promise<readonly string[]> {
    const state = this.stateOf(container);
    const causes: string[] = [];
    for (const follower of this.#deps.followers)
      causes.push(...((await follower.repair?.(state, extent)) ?? []));
    return causes;
  }

  /** After a restart: the followers take over what lives in `running` and drop the rest. */
  async adopt(running: readonly Container[]): Promise<void> {
    const states = running.map((container) => this.stateOf(container));
    for (const follower of this.#deps.followers) await follower.adopt(states);
  }

  /** What drivers can do while addresses are asked for. Never rejects. */
  #prepare(requests: readonly AttachmentRequest[]): AsyncDisposable {
    const { drivers, getNetwork, logger } = this.#deps;
    const begun = requests.flatMap(({ network: ref }) => {
      const network = getNetwork(ref);
      if (network.refusesContainers === true) return [];
      return drivers.get(network.driver)?.prepare?.(toDriverNetwork(network)) ?? [];
    });
    const end = async (one: AsyncDisposable): Promise<void> => {
      try {
        await one[Symbol.asyncDispose]();
      } catch (error) {
        logger.error({ err: error }, 'could not take down a network that nobody uses');
      }
    };
    return { [Symbol.asyncDispose]: async () => void (await Promise.all(begun.map(end))) };
  }

  async #plan(
    container: Container,
    requests: readonly AttachmentRequest[],
    sandbox: Sandbox | undefined,
  ): Promise<{ readonly planned: readonly PlannedAttachment[]; readonly claimed: ClaimedByNetwork }> {
    const { claims, getNetwork } = this.#deps;
    const wanted = requests.map((request) => ({ request, network: getNetwork(request.network) }));
    const claimed = await claims.claim(container, wanted);
    try {
      const networks = wanted.map(({ network }) => network);
      const wayOut = await this.#wayOut(networks, sandbox);
      return { planned: this.#planner.plan(container, requests, { claimed, wayOut }), claimed };
    } catch (error) {
      claims.giveBack(claimed);
      throw error;
    }
  }

  async #wayOut(networks: readonly Network[], sandbox: Sandbox | undefined): Promise<WayOut | undefined> {
    if (sandbox === undefined) return undefined;
    const network = await this.#deps.gateway.open(networks);
    return network === undefined ? undefined : { network, sandboxId: sandbox.id };
  }

  #newSandbox(): Sandbox {
    const id = newId<'sandbox'>();
    return { id, path: join(this.#deps.namespaceFolder, shortId(id)) };
  }
}
