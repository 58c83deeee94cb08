/*
 * Connecting a living sandbox to one more network, and taking it off one. The container's record decides what should
 * be: connect writes it last, disconnect first, so that an endpoint whose network the record does not name is always
 * a change that was cut short, and a restart takes the endpoint back (recover.ts).
 *
 *   connect      endpoint's record, interface, default routes, followers, container's record
 *   disconnect   container's record, default routes, followers, interface, endpoint's record
 *
 * A connect that fails is undone in reverse. A disconnect that fails goes on: every step is tried, twice.
 */
import { allDone } from '../../base/allDone.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { AttachmentRequest, Container, Endpoint, EndpointId, Network } from '../model.ts';
import { withSecondChance } from '../secondChance.ts';
import type { ClaimedByNetwork } from '../overlay/claims.ts';
import { AttachmentPlanner, type PlannedAttachment } from './attachmentPlan.ts';
import { planDefaultRoutes, withDefaultRoutes } from './defaultRoutes.ts';
import { gatewaysOf } from './driverValues.ts';
import { EndpointWork } from './endpointWork.ts';
import type { SandboxFollower } from './follower.ts';
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
    const plain = this.#planOrGiveBack(container, request, claimed);
    const changes = this.#routeChanges(container, plain.endpoint);
    const own = changes.find(({ before }) => before.id === plain.endpoint.id);
    const planned = { ...plain, endpoint: { ...plain.endpoint, ...own?.after } };
    const others = changes.filter(({ before }) => before.id !== plain.endpoint.id);
    await using undo = new AsyncDisposableStack();
    // Last of all, when the records are as they were.
    undo.defer(() => this.#follow(container));
    try {
      await table.putEndpoints([planned.endpoint, ...others.map(({ after }) => after)]);
    } catch (error) {
      this.#planner.giveBack(planned);
      claims.giveBack(claimed);
      undo.move();
      throw error;
    }
    undo.defer(async () => {
      await table.putEndpoints(others.map(({ before }) => before));
      await this.#work.takeBackRecords([planned]);
    });
    const path = sandboxPathOf(container);
    undo.defer(() => this.#work.detach(planned.endpoint, path));
    undo.defer(() =>
      this.#route(
        others.map(({ before }) => before),
        path,
      ),
    );
    // Its default routes would collide with those that are there.
    await this.#work.attach({ ...planned, endpoint: { ...planned.endpoint, defaultRoutes: [] } }, path);
    await this.#route([planned.endpoint], path);
    await this.#follow(container);
    await commit();
    undo.move();
    this.#work.emit('connect', planned.network, container);
  }

  /** `endpoint` is an attached one of `container`, which runs. Throws when a step failed twice; a restart finishes it then. */
  async disconnect(
    container: Container,
    endpoint: Endpoint,
    network: Network,
    commit: Commit,
  ): Promise<void> {
    const { table, logger } = this.#deps;
    await commit();
    const failures: unknown[] = [];
    const attempt = async (step: () => Promise<void>): Promise<void> => {
      await withSecondChance(logger, { container: container.name, network: network.name }, step).catch(
        (error: unknown) => void failures.push(error),
      );
    };
    const changed = this.#routeChanges(container, undefined, endpoint.id).map(({ after }) => after);
    await attempt(() => table.putEndpoints(changed));
    const path = container.sandbox?.path;
    // Before the interface goes, so that the sandbox is never without a way out.
    if (path !== undefined) await attempt(() => this.#route(changed, path));
    await attempt(() => this.#follow(container, endpoint.id));
    await attempt(() => this.#work.detach(endpoint, path));
    if (failures.length === 0) await attempt(() => table.delEndpoints([endpoint]));
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

  #planOrGiveBack(
    container: Container,
    request: AttachmentRequest,
    claimed: ClaimedByNetwork,
  ): PlannedAttachment {
    try {
      return this.#planner.planAnother(container, request, claimed);
    } catch (error) {
      this.#deps.claims.giveBack(claimed);
      throw error;
    }
  }

  #attachments(container: Container): readonly { readonly endpoint: Endpoint; readonly network: Network }[] {
    return this.#deps.sandboxes.stateOf(container).attachments;
  }

  /** Which endpoints get other default routes when `added` comes or the endpoint `removed` goes. */
  #routeChanges(container: Container, added?: Endpoint, removed?: EndpointId): readonly RouteChange[] {
    const network = added === undefined ? undefined : this.#deps.table.find(added.networkId);
    const all = [
      ...this.#attachments(container).filter(({ endpoint }) => endpoint.id !== removed),
      ...(added === undefined || network === undefined ? [] : [{ endpoint: added, network }]),
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

  async #follow(container: Container, without?: EndpointId): Promise<void> {
    const state = this.#deps.sandboxes.stateOf(container, without);
    for (const follower of this.#deps.followers satisfies readonly SandboxFollower[])
      await follower.apply(state);
  }
}

function sandboxPathOf({ id, sandbox }: Container): string {
  if (sandbox === undefined) throw new TypeError(`container ${id} has no sandbox`);
  return sandbox.path;
}
