/*
 * Nodes whose packets are to be smaller than the device of the encrypted tunnels takes, since their links are, or their
 * relay's: a route each, so that VXLAN says so to senders, and nothing is cut up on the way.
 */
import type { Logger } from '../../base/logger.ts';
import type { SwarmNode } from '../../cluster/swarmNetworks.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { formatIp, type Ip } from '../../net/ip.ts';
import { prefixOf } from '../../net/prefix.ts';
import { insideAddress } from './nodeWays.ts';

export interface TunnelRoutesDependencies {
  readonly kernel: Pick<Kernel, 'changeRoutes'>;
  /** Of the device. */
  readonly namespace: string;
  readonly name: string;
  /** What the tunnels put around a packet. */
  readonly headerBytes: number;
  readonly logger: Logger;
}

export interface Ways {
  /** Of this node's links. */
  readonly ownMtuBytes: number;
  /** The others, by id. */
  readonly nodes: ReadonlyMap<string, SwarmNode>;
  /** Id of the node that carries what is sent to it. */
  readonly relayOf: (nodeId: string) => string | undefined;
}

/** Of the links between this node and another, its relay's too; undefined where that has no tunnel. */
export function leastLinkMtu(
  { ownMtuBytes, nodes, relayOf }: Ways,
  { id, tunnel }: SwarmNode,
): number | undefined {
  if (tunnel === undefined) return undefined;
  const relay = nodes.get(relayOf(id) ?? '')?.tunnel;
  return Math.min(ownMtuBytes, tunnel.mtuBytes, relay?.mtuBytes ?? ownMtuBytes);
}

interface Told {
  readonly ip: Ip;
  /** Undefined: as the device's, by no route of its own. */
  readonly mtuBytes: number | undefined;
}

export class TunnelRoutes {
  readonly #deps: TunnelRoutesDependencies;
  /** By address. */
  #told: ReadonlyMap<string, Told> = new Map();

  constructor(deps: TunnelRoutesDependencies) {
    this.#deps = deps;
  }

  /** It is another device, or one that an earlier daemon left. */
  forget(): void {
    this.#told = new Map();
  }

  /** Never rejects: what does not fit is cut up then. */
  async tell(ways: Ways): Promise<void> {
    const { ownMtuBytes, nodes } = ways;
    const { kernel, namespace, name, headerBytes, logger } = this.#deps;
    const wanted = new Map(
      [...nodes.values()].flatMap((node): (readonly [string, Told])[] => {
        const least = leastLinkMtu(ways, node);
        if (least === undefined || node.tunnel === undefined) return [];
        const ip = insideAddress(node.tunnel.number);
        return [[formatIp(ip), { ip, mtuBytes: least < ownMtuBytes ? least - headerBytes : undefined }]];
      }),
    );
    const changed = [...wanted].filter(
      ([key, { mtuBytes }]) => !this.#told.has(key) || this.#told.get(key)?.mtuBytes !== mtuBytes,
    );
    const gone = [...this.#told].filter(([key, told]) => !wanted.has(key) && told.mtuBytes !== undefined);
    this.#told = wanted;
    const replace = changed.flatMap(([, { ip: gateway, mtuBytes }]) =>
      mtuBytes === undefined ? [] : [{ destination: prefixOf(gateway, 32), gateway, mtuBytes }],
    );
    const without = changed.filter(([, { mtuBytes }]) => mtuBytes === undefined);
    const del = [...without, ...gone].map(([, { ip }]) => prefixOf(ip, 32));
    if (replace.length + del.length === 0) return;
    try {
      await kernel.changeRoutes({ namespace, link: name, replace, del });
    } catch (error) {
      this.#told = new Map();
      logger.warn({ err: error }, 'could not set how large packets may be in the encrypted tunnels');
    }
  }
}
