/*
 * Which other nodes the networks of this one do not reach that are not encrypted: VXLAN as it is does not pass a NAT, and the
 * tunnels that it takes instead may not get there either. Said as conditions, since nothing else would tell: names lead
 * there, and packets are lost.
 */
import type { Clock } from '../../base/clock.ts';
import type { Condition } from '../../base/condition.ts';
import { ConditionBook, type ConditionReport } from '../../base/conditionBook.ts';
import type { Logger } from '../../base/logger.ts';
import type { SwarmNetworks, SwarmNode } from '../../cluster/swarmNetworks.ts';
import { messageOf } from '../../errors/linkspanError.ts';
import type { NetworkTable } from '../networks/networkTable.ts';
import type { SwarmClaims } from './claims.ts';
import type { EncryptedCarrier } from './encryptedCarrier.ts';
import { isApart, viewOf } from './nodeWays.ts';

export interface PlainPathsDependencies {
  readonly swarm: Pick<SwarmNetworks, 'events' | 'dataPath' | 'nodes' | 'findNode' | 'peers'>;
  readonly claims: Pick<SwarmClaims, 'events' | 'followed'>;
  readonly table: Pick<NetworkTable, 'find'>;
  readonly tunnels: Pick<EncryptedCarrier, 'engine' | 'failureTo'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Of many changes in a row the last one is looked at. */
const restMs = 1000;
/** Of the tunnels nobody tells that they have come to work, or do not any more. */
const againMs = 5000;

export class PlainPaths implements Disposable {
  readonly #deps: PlainPathsDependencies;
  readonly #conditions: ConditionBook;
  readonly #listeners = new DisposableStack();
  readonly #stopping = new AbortController();
  #isDue = false;
  #hasApart = false;

  constructor(deps: PlainPathsDependencies) {
    this.#deps = deps;
    this.#conditions = new ConditionBook(deps);
    const { swarm, claims } = deps;
    const look = (): void => void this.#lookSoon();
    this.#listeners.use(swarm.events.on('peers', look));
    this.#listeners.use(swarm.events.on('nodes', look));
    this.#listeners.use(claims.events.on('left', look));
    void this.#lookAgain();
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
    await this.#look();
  }

  async #lookAgain(): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#stopping;
    try {
      for (;;) {
        await clock.sleep(againMs, signal);
        if (this.#hasApart) await this.#look();
      }
    } catch {
      // Stopped.
    }
  }

  async #look(): Promise<void> {
    const { swarm, claims, table, tunnels } = this.#deps;
    const view = viewOf(swarm);
    const { own } = view;
    const others = swarm.nodes.filter((node) => !node.isDown && isApart(view, node));
    this.#hasApart = others.length > 0;
    // Where nobody is behind NAT, endpoints are not looked at.
    if (own === undefined || others.length === 0) return this.#conditions.report('plain', []);
    const hasTunnel = own.tunnel !== undefined && own.tunnel.lacks === undefined;
    const reason = hasTunnel ? undefined : await this.#whyNoTunnel(own);
    const failures = new Map(
      others.flatMap((node) => {
        const failure = reason ?? failureOf(node) ?? tunnels.failureTo(node.id);
        return failure === undefined ? [] : [[node.id, { node, failure }] as const];
      }),
    );
    const reports = claims.followed.flatMap((id): readonly ConditionReport[] => {
      const network = table.find(id);
      if (failures.size === 0 || network === undefined || network.isEncrypted === true) return [];
      const ids = new Set(swarm.peers(id).map(({ nodeId }) => nodeId));
      return [...ids].flatMap((nodeId) => {
        const found = failures.get(nodeId);
        if (found === undefined) return [];
        const { node, failure } = found;
        const text = `containers on network ${network.name} on ${own.hostname} and ${node.hostname} do not reach each other: ${behindNat(own, node)}, and the encrypted tunnels do not lead there: ${failure}`;
        return [{ id: `overlay.noPath:${id}:${nodeId}`, severity: 'error', text }];
      });
    });
    this.#conditions.report('plain', reports);
  }

  async #whyNoTunnel({ hostname }: SwarmNode): Promise<string> {
    try {
      const choice = await this.#deps.tunnels.engine();
      if (choice.engine === undefined) return `${hostname} has no WireGuard: ${choice.reason}`;
      return `no manager has taken the key of ${hostname} yet`;
    } catch (error) {
      return `${hostname} cannot find out which WireGuard it has: ${messageOf(error)}`;
    }
  }
}

/** Half a sentence, where the other has no end of a tunnel. */
function failureOf({ tunnel, hostname }: SwarmNode): string | undefined {
  return tunnel === undefined ? `${hostname} has no WireGuard, or has not told its key yet` : undefined;
}

function behindNat(own: SwarmNode, other: SwarmNode): string {
  const [first, ...rest] = [own, other].filter(({ tunnel }) => tunnel?.seenAs !== undefined);
  return rest.length > 0
    ? 'each is behind a NAT of its own'
    : `${first?.hostname ?? other.hostname} is behind NAT`;
}
