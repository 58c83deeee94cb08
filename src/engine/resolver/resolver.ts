/*
 * Gives each container on a user-defined network its resolver: sockets inside its sandbox (the DNS worker's), the
 * redirect from 127.0.0.11:53 to them, and the view that its networks, links and --dns flags make. Once a sandbox has
 * one it keeps it, as its resolv.conf may name it. The sockets die with the daemon, or with the DNS worker, and are
 * opened again on the same ports.
 */
import type { Logger } from '../../base/logger.ts';
import type { RepairLog } from '../../base/repairLog.ts';
import { foldName } from '../../codec/dns/name.ts';
import type { SandboxView } from '../../dns/localAnswer.ts';
import type { Dns } from '../../dns/openDns.ts';
import type { ResolverPorts } from '../../dns/protocol.ts';
import { listRedirect, planRedirect, readRedirect, redirectTable } from '../../dns/redirect.ts';
import { type Kernel, KernelError } from '../../kernel/kernel.ts';
import { type DnsSettings, ndotsOf, readText, withDefaults } from '../containers/etcFiles.ts';
import { parseLink } from '../containers/links.ts';
import type { Container, ContainerId, Endpoint, Sandbox } from '../model.ts';
import type { SandboxFollower, SandboxState } from '../networks/follower.ts';

export interface ResolverDependencies {
  readonly dns: Pick<Dns, 'events' | 'open' | 'check' | 'close'>;
  readonly kernel: Pick<Kernel, 'nft'>;
  readonly logger: Logger;
  readonly repairs: Pick<RepairLog, 'record'>;
  /** The daemon's --dns, --dns-search and --dns-opt: hold for a container that sets none. */
  readonly defaults: DnsSettings;
  /** The machine's resolv.conf. */
  readonly resolvConfPath: string;
}

/** The table in a sandbox that leads to its resolver. */
interface Redirect {
  readonly isThere: boolean;
  /** Undefined if it is not as we make it. */
  readonly ports: ResolverPorts | undefined;
}

/** A resolver that is open. */
interface OpenResolver {
  readonly path: string;
  readonly ports: ResolverPorts;
  readonly view: SandboxView;
}

/** True if containers on it know each other by name. */
function hasNames({ attachments }: SandboxState): boolean {
  return attachments.some(({ endpoint }) => endpoint.dnsNames.length > 0);
}

/** `db:store` of the wish behind an endpoint as alias → name. Full ids are known by their short form. */
function linksOf({ request }: Endpoint): Readonly<Record<string, string>> {
  const links = request.links.map(parseLink).map(({ target, alias }) => {
    const name = /^[0-9a-f]{64}$/.test(target) ? target.slice(0, 12) : target;
    return [foldName(alias), foldName(name)] as const;
  });
  return Object.fromEntries(links);
}

export class ResolverFollower implements SandboxFollower {
  readonly #deps: ResolverDependencies;
  readonly #resolvers = new Map<ContainerId, OpenResolver>();

  constructor(deps: ResolverDependencies) {
    this.#deps = deps;
    deps.dns.events.on('lost', ({ cause }) => void this.#openAllAgain(cause));
  }

  async apply(state: SandboxState): Promise<void> {
    const { container, sandbox } = state;
    if (sandbox === undefined) return;
    const known = this.#resolvers.get(container.id);
    if (known?.path !== sandbox.path && !hasNames(state)) return;
    const ports = known?.path === sandbox.path ? known.ports : undefined;
    await this.#open(state, sandbox, { isThere: ports !== undefined, ports });
  }

  async release(container: Container): Promise<void> {
    if (!this.#resolvers.delete(container.id)) return;
    await this.#deps.dns.close(container.id);
  }

  async repair(state: SandboxState, extent: 'outside' | 'all'): Promise<readonly string[]> {
    const { container, sandbox } = state;
    const known = this.#resolvers.get(container.id);
    if (sandbox === undefined || (known === undefined && !hasNames(state))) return [];
    const causes: string[] = [];
    if (known === undefined) causes.push('it had no resolver: opened');
    else if (!(await this.#deps.dns.check(container.id))) {
      await this.#deps.dns.close(container.id);
      causes.push('the sockets of its resolver were gone: opened again');
    }
    if (extent === 'outside' && causes.length === 0) return [];
    const installed = await this.#installed(sandbox);
    const { udp, tcp } = known?.ports ?? {};
    const isSame = installed.ports?.udp === udp && installed.ports?.tcp === tcp;
    if (known !== undefined && !isSame)
      causes.push(
        `the table ${redirectTable} in it, which leads to its resolver, was ${installed.isThere ? 'changed' : 'gone'}: made again`,
      );
    if (causes.length > 0) await this.#open(state, sandbox, installed, known?.ports);
    return causes;
  }

  async adopt(states: readonly SandboxState[]): Promise<void> {
    await Promise.all(
      states.map(async (state) => {
        try {
          await this.#adoptOne(state);
        } catch (error) {
          const { id, name } = state.container;
          this.#deps.logger.error({ container: name, id, err: error }, 'could not adopt a resolver');
        }
      }),
    );
  }

  async #adoptOne(state: SandboxState): Promise<void> {
    const { sandbox } = state;
    if (sandbox === undefined) return;
    const installed = await this.#installed(sandbox);
    if (installed.isThere || hasNames(state)) await this.#open(state, sandbox, installed);
  }

  async #open(
    state: SandboxState,
    { path }: Sandbox,
    installed: Redirect,
    wanted: ResolverPorts | undefined = installed.ports,
  ): Promise<void> {
    const { dns } = this.#deps;
    const { id } = state.container;
    const isNew = !this.#resolvers.has(id);
    const view = this.#view(state);
    try {
      const ports = await dns.open({ id, path, view, wanted });
      await this.#redirect(path, ports, installed);
      this.#resolvers.set(id, { path, ports, view });
    } catch (error) {
      if (isNew) await dns.close(id);
      throw error;
    }
  }

  async #redirect(path: string, ports: ResolverPorts, installed: Redirect): Promise<void> {
    if (ports.udp === installed.ports?.udp && ports.tcp === installed.ports.tcp) return;
    await this.#deps.kernel.nft(planRedirect(ports, installed.isThere), { namespace: path });
  }

  /** The DNS worker died. Who is released or changed meanwhile is looked after by that. */
  async #openAllAgain(cause: string): Promise<void> {
    const ids = [...this.#resolvers.keys()];
    if (ids.length === 0) return;
    const outcomes = await Promise.all(ids.map((id) => this.#openAgain(id)));
    // What failed because the next one died too is tried again by then.
    const count = outcomes.filter(Boolean).length;
    if (count === 0) return;
    const repair = {
      kind: 'resolver',
      object: 'DNS worker',
      cause: `it died (${cause}): started again, with the resolvers of ${count} containers`,
      trigger: 'event',
    } as const;
    this.#deps.logger.warn(repair, 'repaired');
    this.#deps.repairs.record(repair);
  }

  async #openAgain(id: ContainerId): Promise<boolean> {
    const known = this.#resolvers.get(id);
    if (known === undefined) return false;
    const { path, ports: wanted, view } = known;
    try {
      const ports = await this.#deps.dns.open({ id, path, view, wanted });
      if (this.#resolvers.get(id) !== known) return true;
      await this.#redirect(path, ports, { isThere: true, ports: wanted });
      this.#resolvers.set(id, { path, ports, view });
      return true;
    } catch (error) {
      this.#deps.logger.error({ id, err: error }, 'could not open a resolver again');
      return false;
    }
  }

  async #installed({ path }: Sandbox): Promise<Redirect> {
    try {
      const listing = await this.#deps.kernel.nft(listRedirect, { namespace: path });
      return { isThere: true, ports: readRedirect(listing) };
    } catch (error) {
      if (error instanceof KernelError && error.code === 'ENOENT')
        return { isThere: false, ports: undefined };
      throw error;
    }
  }

  #view({ container, attachments }: SandboxState): SandboxView {
    const settings = withDefaults(container.spec, this.#deps.defaults);
    return {
      networks: attachments
        .filter(({ endpoint }) => endpoint.dnsNames.length > 0)
        .map(({ endpoint, network }) => ({ id: network.id, links: linksOf(endpoint) })),
      servers: settings.dns,
      canAskHost: attachments.some(({ endpoint }) => endpoint.defaultRoutes.length > 0),
      hasNdots: ndotsOf(readText(this.#deps.resolvConfPath), settings) > 0,
    };
  }
}
