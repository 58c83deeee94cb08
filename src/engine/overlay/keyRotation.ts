/*
 * Another private key for this node's encrypted tunnels: by command and each week, in the order that loses no packet
 * (docs/adr/0017-wireguard-engines.md).
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { SwarmNetworks } from '../../cluster/swarmNetworks.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Tunnel } from '../../tunnels/tunnel.ts';
import type { TunnelKeys } from './tunnelKeys.ts';

export interface KeyRotationDependencies {
  readonly swarm: Pick<SwarmNetworks, 'dataPath' | 'findNode' | 'isInTouch'>;
  readonly keys: TunnelKeys;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In turn with all else that changes the device. */
  readonly alone: (work: () => Promise<void>) => Promise<void>;
  readonly tunnel: () => Tunnel | undefined;
  /** Says what this node has, where that is news. */
  readonly offer: () => Promise<void>;
  /** False if what nodes there are has not become so in time. */
  readonly until: (isIt: () => boolean) => Promise<boolean>;
  readonly program: (tunnel: Tunnel) => Promise<void>;
}

/** A node has a key for as long, and looks at its age as often. */
const keyLifeMs: number = 7 * 24 * 3_600_000;
const ageCheckMs = 3_600_000;
/**
 * What was sent with the old key is taken until the others hear of the new one: it gets so much of a lead. What is
 * sent meanwhile waits; of 128 packets a peer that may, so that a longer one loses more than a shorter one.
 */
const leadMs = 50;

export class KeyRotation {
  readonly #deps: KeyRotationDependencies;

  constructor(deps: KeyRotationDependencies) {
    this.#deps = deps;
  }

  /** Nothing is lost, and what was recorded before cannot be read with the new one. Codes noSwarm, managerUnreachable. */
  async rotate(): Promise<void> {
    const { keys, swarm, clock, logger, alone, offer, until, program } = this.#deps;
    await alone(async () => {
      const { dataPath } = swarm;
      if (dataPath === undefined) throw new LinkspanError('noSwarm', 'this node is in no swarm');
      const unreachable = (): LinkspanError =>
        new LinkspanError('managerUnreachable', 'no manager answers, who would tell the other nodes');
      if (!swarm.isInTouch) throw unreachable();
      const before = await keys.of(dataPath.nodeId);
      const { privateKey, publicKey } = await keys.renew(dataPath.nodeId);
      const isTold = (): boolean => swarm.findNode(dataPath.nodeId)?.tunnel?.publicKey === publicKey;
      try {
        await this.#deps.tunnel()?.setPrivateKey(privateKey);
        await clock.sleep(leadMs);
        await offer();
        if (!(await until(isTold))) throw unreachable();
      } catch (error) {
        // The others know the old one.
        await keys.restore(dataPath.nodeId, before);
        await this.#deps.tunnel()?.setPrivateKey(before.privateKey);
        await offer();
        throw error;
      }
      const tunnel = this.#deps.tunnel();
      if (tunnel !== undefined) await program(tunnel);
      logger.info({ node: dataPath.nodeId }, 'the encrypted tunnels of this node have another key');
    });
  }

  /** Until `signal` ends it. */
  async rotateInTime(signal: AbortSignal): Promise<void> {
    const { clock, keys, swarm, logger } = this.#deps;
    while (!signal.aborted)
      try {
        await clock.sleep(ageCheckMs, signal);
        const { dataPath } = swarm;
        if (dataPath === undefined || this.#deps.tunnel() === undefined) continue;
        const { madeAtMs } = await keys.of(dataPath.nodeId);
        if (swarm.isInTouch && clock.nowMs() - madeAtMs >= keyLifeMs) await this.rotate();
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error }, 'could not change the key of the encrypted tunnels');
      }
  }
}
