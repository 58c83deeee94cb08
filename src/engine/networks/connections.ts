/*
 * Connecting a living sandbox to one more network, and taking it off one. The container's record decides what should
 * be: connect writes it last, disconnect first, so that an endpoint whose network the record does not name is always
 * a change that was cut short, and a restart takes the endpoint back (recover.ts).
 *
 *   connect      endpoint's record, interface, default routes, followers, container's record
 *   disconnect   container's record, default routes, followers, interface, endpoint's record
 *
 * The hidden endpoint (gateway.ts) comes and goes together with the one that needs it.
 * A connect that fails is undone in reverse. A disconnect that fails goes on: every step is tried, twice.
 */
import { allDone } from '../../base/allDone.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { AttachmentRequest, Container, Endpoint, Network } from '../model.ts';
import { withSecondChance } from '../secondChance.ts';
import type { ClaimedByNetwork } from '../overlay/claims.ts';
import { AttachmentPlanner, type PlannedAttachment } from './attachmentPlan.ts';
import { type AttachmentView, planDefaultRoutes, withDefaultRoutes } from './defaultRoutes.ts';
import { gatewaysOf } from './driverValues.ts';
import { EndpointWork } from './endpointWork.ts';
import type { SandboxFollower } from './follower.ts';
import { isHidden, type WayOut } from './gateway.ts';
import type { Sandboxes, SandboxesDependencies } from './sandboxes.ts';

export interface ConnectionsDependencies extends Omit<SandboxesDependencies, 'kernel' | 'namespaceFolder'> {
  readonly kernel: Pick<Kernel, 'setDefaultRoute'>;
  readonly sandboxes: Pick<Sandboxes, 'stateOf'>;
}

/** Writes the container's record: the change is durable, or it throws and is not. */
export type Commit = () => Promise<void>;

/** An endpoint before and after its default routes changed. */
interface RouteChange {
  readonly before: Endpoint;
  readonly after: Endpoint;
}

export class Connections {
  readonly #deps: ConnectionsDependencies;
  readonly #planner: AttachmentPlanner;
  readonly #work: EndpointWork;

  constructor(deps: ConnectionsDependencies) {
    this.#deps = deps;
    this.#planner = new AttachmentPlanner(deps.table, deps.drivers, deps.getNetwork);
    this.#work = new EndpointWork(deps);
  }

  /** `container` runs and has a sandbox of its own. Codes as attachmentCheck's, endpointExists, networkNotFound. */
  async connect(container: Container, request: AttachmentRequest, commit: Commit): Promise<void> {
    const { table } = this.#deps;
    const { claims, getNetwork } = this.#deps;
    const claimed = await claims.claim(container, [{ request, network: getNetwork(request.network) }]);
    const plain = await this.#planOrGiveBack(container, request, claimed);
    const changes = this.#routeChanges(container, { added: plain });
    const after = new Map(changes.map((change) => [change.before.id, change.after]));
    const planned = plain.map((one) => ({
      ...one,
      endpoint: { ...one.endpoint, ...after.get(one.endpoint.id) },
    }));
    const added = planned.map(({ endpoint }) => endpoint);
    const others = changes.filter(({ before }) => !added.some(({ id }) => id === before.id));
    await using undo = new AsyncDisposableStack();
    // Last of all, when the records are as they were.
    undo.defer(() => this.#follow(container));
    try {
      await table.putEndpoints(
        [...added, ...others.map((other) => other.after)],
        planned.flatMap(({ displaced }) => displaced),
      );
    } catch (error) {
      for (const one of planned) this.#planner.giveBack(one);
      claims.giveBack(claimed);
      undo.move();
      throw error;
    }
    undo.defer(async () => {
      await table.putEndpoints(others.map(({ before }) => before));
      await this.#work.takeBackRecords(planned);
    });
    const path = sandboxPathOf(container);
    for (const endpoint of added) undo.defer(() => this.#work.detach(endpoint, path));
    undo.defer(() =>
      this.#route(
        others.map(({ before }) => before),
        path,
      ),
    );
    // Their default routes would collide with those that are there.
    const withoutRoutes = planned.map((one) => ({
      ...one,
      endpoint: { ...one.endpoint, defaultRoutes: [] },
    }));
    await allDone(withoutRoutes.map((one) => this.#work.attach(one, path)));
    await this.#route(added, path);
    await this.#follow(container);
    await commit();
    undo.move();
    for (const { network, endpoint } of planned)
      if (!isHidden(endpoint)) this.#work.emit('connect', network, container);
  }

  /** `endpoint` is an attached one of `container`, which runs. Throws when a step failed twice; a restart finishes it then. */
  async disconnect(
    container: Container,
    endpoint: Endpoint,
    network: Network,
    commit: Commit,
  ): Promise<void> {
    const { table, logger } = this.#deps;
    const gone = this.#goingWith(container, endpoint, network);
    await commit();
    const failures: unknown[] = [];
    const attempt = async (step: () => Promise<void>): Promise<void> => {
      await withSecondChance(logger, { container: container.name, network: network.name }, step).catch(
        (error: unknown) => void failures.push(error),
      );
    };
    const changed = this.#routeChanges(container, { gone }).map(({ after }) => after);
    await attempt(() => table.putEndpoints(changed));
    const path = container.sandbox?.path;
    // Before the interface goes, so that the sandbox is never without a way out.
    if (path !== undefined) await attempt(() => this.#route(changed, path));
    await attempt(() => this.#follow(container, gone));
    for (const one of gone) await attempt(() => this.#work.detach(one, path));
    if (failures.length === 0) await attempt(() => table.delEndpoints(gone));
    if (failures.length > 0)
      throw new LinkspanError(
        'kernel',
        `container ${container.id} failed to leave network ${network.name}: ${failures.map(messageOf).join('; ')}`,
        { cause: failures[0] },
      );
    this.#work.emit('disconnect', network, container);
  }

  /**
   * After a restart, for endpoints of the living `container` that are not to be: what is left of them in its sandbox
   * goes (what was on the host is swept already), the default routes go where they belong, then the records of `gone` go.
   */
  async settle(container: Container, gone: readonly Endpoint[]): Promise<void> {
    const { table, logger } = this.#deps;
    const ids = new Set(gone.map(({ id }) => id));
    const left = this.#attachments(container).filter(({ endpoint }) => !ids.has(endpoint.id));
    const routes = planDefaultRoutes(left);
    const endpoints = left.map(({ endpoint }) => withDefaultRoutes(endpoint, routes));
    await table.putEndpoints(endpoints);
    const path = sandboxPathOf(container);
    await allDone(gone.map((endpoint) => this.#work.detach(endpoint, path)));
    await this.#route(endpoints, path);
    await table.delEndpoints(gone);
    logger.warn(
      {
        container: container.name,
        id: container.id,
        interfaces: gone.map(({ interfaceName }) => interfaceName),
      },
      'took back a change of networks that was cut short',
    );
  }

  async #planOrGiveBack(
    container: Container,
    request: AttachmentRequest,
    claimed: ClaimedByNetwork,
  ): Promise<readonly PlannedAttachment[]> {
    try {
      const wayOut = await this.#wayOut(container, request);
      return this.#planner.planAnother(container, request, { claimed, wayOut });
    } catch (error) {
      this.#deps.claims.giveBack(claimed);
      throw error;
    }
  }

  #attachments(container: Container): readonly AttachmentView[] {
    return this.#deps.sandboxes.stateOf(container).attachments;
  }

  /** What the container is to have beside `request`; nothing where it has it already. */
  async #wayOut(container: Container, request: AttachmentRequest): Promise<WayOut | undefined> {
    const { gateway, getNetwork } = this.#deps;
    const attachments = this.#attachments(container);
    const { sandbox } = container;
    if (sandbox === undefined) return undefined;
    // Where it has one, that network is among these.
    const networks = attachments.map(({ network }) => network);
    const network = await gateway.open([...networks, getNetwork(request.network)]);
    return network === undefined ? undefined : { network, sandboxId: sandbox.id };
  }

  /** `endpoint`, and the hidden one if nothing else needs it. Code networkConflict where it is itself what others need. */
  #goingWith(container: Container, endpoint: Endpoint, network: Network): readonly Endpoint[] {
    const others = this.#attachments(container).filter((one) => one.endpoint.id !== endpoint.id);
    const hidden = others.flatMap((one) => (isHidden(one.endpoint) ? one.endpoint : []));
    const left = others.filter((one) => !isHidden(one.endpoint)).map((one) => one.network);
    if (!this.#deps.gateway.isWanted(left)) return [endpoint, ...hidden];
    if (hidden.length === 0)
      throw new LinkspanError(
        'networkConflict',
        `container ${container.id} has its way out of its overlay networks on network ${network.name}: disconnect it from those first`,
      );
    return [endpoint];
  }

  /** Which endpoints get other default routes when `added` come or `gone` go. */
  #routeChanges(
    container: Container,
    {
      added = [],
      gone = [],
    }: { readonly added?: readonly AttachmentView[]; readonly gone?: readonly Endpoint[] },
  ): readonly RouteChange[] {
    const all = [
      ...this.#attachments(container).filter(({ endpoint }) => !gone.some(({ id }) => id === endpoint.id)),
      ...added,
    ];
    const routes = planDefaultRoutes(all);
    return all.flatMap(({ endpoint: before }) => {
      const after = withDefaultRoutes(before, routes);
      return after === before ? [] : [{ before, after }];
    });
  }

  /** Default routes through each endpoint, for the families that its record says. */
  async #route(endpoints: readonly Endpoint[], path: string): Promise<void> {
    await allDone(
      endpoints.flatMap((endpoint) =>
        gatewaysOf(endpoint).map((gateway) =>
          this.#deps.kernel.setDefaultRoute(endpoint.interfaceName, gateway, path),
        ),
      ),
    );
  }

  async #follow(container: Container, gone: readonly Endpoint[] = []): Promise<void> {
    const state = this.#deps.sandboxes.stateOf(container, new Set(gone.map(({ id }) => id)));
    for (const follower of this.#deps.followers satisfies readonly SandboxFollower[])
      await follower.apply(state);
  }
}

function sandboxPathOf({ id, sandbox }: Container): string {
  if (sandbox === undefined) throw new TypeError(`container ${id} has no sandbox`);
  return sandbox.path;
}
