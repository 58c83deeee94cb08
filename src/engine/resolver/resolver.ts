/*
 * Gives each container on a user-defined network its resolver: sockets inside its sandbox (the DNS worker's), the
 * redirect from 127.0.0.11:53 to them, and the view that its networks, links and --dns flags make. Once a sandbox has
 * one it keeps it, as its resolv.conf may name it. The sockets die with the daemon and are opened again, on the same
 * ports, by the next.
 */
import type { Logger } from '../../base/logger.ts';
import { foldName } from '../../codec/dns/name.ts';
import type { SandboxView } from '../../dns/localAnswer.ts';
import type { Dns } from '../../dns/openDns.ts';
import type { ResolverPorts } from '../../dns/protocol.ts';
import { listRedirect, planRedirect, readRedirect } from '../../dns/redirect.ts';
import { messageOf } from '../../errors/linkspanError.ts';
import { type Kernel, KernelError } from '../../kernel/kernel.ts';
import { type DnsSettings, ndotsOf, readText, withDefaults } from '../containers/etcFiles.ts';
import { parseLink } from '../containers/links.ts';
import type { Container, ContainerId, Endpoint, Sandbox } from '../model.ts';
import type { SandboxFollower, SandboxState } from '../networks/follower.ts';

export interface ResolverDependencies {
  readonly dns: Pick<Dns, 'open' | 'close'>;
  readonly kernel: Pick<Kernel, 'nft'>;
  readonly logger: Logger;
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
  /** Containers whose sandbox has a resolver, and where it listens. */
  readonly #ports = new Map<ContainerId, { readonly path: string; readonly ports: ResolverPorts }>();

  constructor(deps: ResolverDependencies) {
    this.#deps = deps;
  }

  async apply(state: SandboxState): Promise<void> {
    const { container, sandbox } = state;
    if (sandbox === undefined) return;
    const known = this.#ports.get(container.id);
    if (known?.path !== sandbox.path && !hasNames(state)) return;
    const ports = known?.path === sandbox.path ? known.ports : undefined;
    await this.#open(state, sandbox, { isThere: ports !== undefined, ports });
  }

  async release(container: Container): Promise<void> {
    if (!this.#ports.delete(container.id)) return;
    await this.#deps.dns.close(container.id);
  }

  async adopt(states: readonly SandboxState[]): Promise<void> {
    await Promise.all(
      states.map(async (state) => {
        try {
          await this.#adoptOne(state);
        } catch (error) {
          const { name } = state.container;
          this.#deps.logger.error({ container: name, error: messageOf(error) }, 'could not adopt a resolver');
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

  async #open(state: SandboxState, sandbox: Sandbox, installed: Redirect): Promise<void> {
    const { dns, kernel } = this.#deps;
    const { id } = state.container;
    const { path } = sandbox;
    const isNew = !this.#ports.has(id);
    try {
      const ports = await dns.open({ id, path, view: this.#view(state), wanted: installed.ports });
      if (ports.udp !== installed.ports?.udp || ports.tcp !== installed.ports.tcp)
        await kernel.nft(planRedirect(ports, installed.isThere), { namespace: path });
      this.#ports.set(id, { path, ports });
    } catch (error) {
      if (isNew) await dns.close(id);
      throw error;
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
