/*
 * Which other nodes the networks of this one do not reach that are not encrypted: VXLAN as it is does not pass a NAT. Said
 * as conditions, since nothing else would tell: names lead there, and packets are lost.
 */
import type { Clock } from '../../base/clock.ts';
import type { Condition } from '../../base/condition.ts';
import { ConditionBook, type ConditionReport } from '../../base/conditionBook.ts';
import type { Logger } from '../../base/logger.ts';
import { hostOf } from '../../net/hostPort.ts';
import { parseIp } from '../../net/ip.ts';
import { isPrivateIp } from '../../net/prefix.ts';
import type { SwarmNetworks, SwarmNode } from '../../cluster/swarmNetworks.ts';
import type { NetworkTable } from '../networks/networkTable.ts';
import type { SwarmClaims } from './claims.ts';

export interface PlainPathsDependencies {
  readonly swarm: Pick<SwarmNetworks, 'events' | 'dataPath' | 'nodes' | 'findNode' | 'peers'>;
  readonly claims: Pick<SwarmClaims, 'events' | 'followed'>;
  readonly table: Pick<NetworkTable, 'find'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Of many changes in a row the last one is looked at. */
const restMs = 1000;

export class PlainPaths implements Disposable {
  readonly #deps: PlainPathsDependencies;
  readonly #conditions: ConditionBook;
  readonly #listeners = new DisposableStack();
  readonly #stopping = new AbortController();
  #isDue = false;

  constructor(deps: PlainPathsDependencies) {
    this.#deps = deps;
    this.#conditions = new ConditionBook(deps);
    const { swarm, claims } = deps;
    const look = (): void => void this.#lookSoon();
    this.#listeners.use(swarm.events.on('peers', look));
    this.#listeners.use(swarm.events.on('nodes', look));
    this.#listeners.use(claims.events.on('left', look));
  }

  get conditions(): readonly Condition[] {
    return this.#conditions.list();
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
    this.#listeners.dispose();
  }

  async #lookSoon(): Promise<void> {
    if (this.#isDue) return;
    this.#isDue = true;
    try {
      await this.#deps.clock.sleep(restMs, this.#stopping.signal);
    } catch {
      // Stopped.
      return;
    } finally {
      this.#isDue = false;
    }
    this.#conditions.report('plain', this.#failures());
  }

  #failures(): readonly ConditionReport[] {
    const { swarm, claims, table } = this.#deps;
    const own = swarm.findNode(swarm.dataPath?.nodeId ?? '');
    if (own === undefined) return [];
    const known = new Set(swarm.nodes.flatMap(({ tunnel }) => tunnel?.endpoints.map(hostOf) ?? []));
    const apart = new Map(
      swarm.nodes.filter((node) => isApart(own, node, known)).map((node) => [node.id, node]),
    );
    // Where nobody is behind NAT, endpoints are not looked at.
    if (apart.size === 0) return [];
    return claims.followed.flatMap((id) => {
      const network = table.find(id);
      if (network === undefined || network.isEncrypted === true) return [];
      const ids = new Set(swarm.peers(id).map(({ nodeId }) => nodeId));
      return [...ids].flatMap((nodeId) => {
        const other = apart.get(nodeId);
        if (other === undefined) return [];
        const text = `containers on network ${network.name} on ${own.hostname} and ${other.hostname} do not reach each other: ${behindNat(own, other)}, which only encrypted networks pass (network create --opt encrypted)`;
        return { id: `overlay.noPath:${id}:${nodeId}`, severity: 'error' as const, text };
      });
    });
  }
}

/**
 * Managers see at least one of them come from a NAT that the other is not behind. `known`: the hosts that nodes say they
 * are reached by.
 */
function isApart(own: SwarmNode, other: SwarmNode, known: ReadonlySet<string>): boolean {
  if (own.id === other.id || other.isDown) return false;
  const [one, two] = [own.tunnel?.seenAs, other.tunnel?.seenAs];
  if (one === two) return false;
  const open = one === undefined ? own : two === undefined ? other : undefined;
  const vtep = parseIp(open?.vtep ?? '');
  // One that is in the network of a manager is not behind NAT for who has the data path in there too.
  return !(known.has(one ?? two ?? '') && vtep !== undefined && isPrivateIp(vtep));
}

function behindNat(own: SwarmNode, other: SwarmNode): string {
  const [first, ...rest] = [own, other].filter(({ tunnel }) => tunnel?.seenAs !== undefined);
  return rest.length > 0
    ? 'each is behind a NAT of its own'
    : `${first?.hostname ?? other.hostname} is behind NAT`;
}
