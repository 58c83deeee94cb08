/*
 * Makes this node what the swarm says that it is, a manager or a worker, again and again until it is; and lets other
 * managers go on when this one goes.
 */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { StoreMembers } from './managers/storeMember.ts';
import type { Manager } from './managing.ts';
import type { SelfRecord } from './membership/records.ts';
import { within } from './networks/callBox.ts';
import type { NodeRole } from './swarm.ts';
import type { SwarmRecords } from './swarmRecords.ts';

/** What this node is. */
export interface Place {
  readonly self: SelfRecord;
  readonly manager?: Manager;
}

export interface RoleKeeperDependencies {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly records: SwarmRecords;
  readonly members?: StoreMembers;
  /** Undefined: in no swarm. */
  readonly place: () => Place | undefined;
  readonly save: (self: SelfRecord) => Promise<void>;
  /** Opens what `self` says, then closes what was open. */
  readonly replace: (self: SelfRecord) => Promise<void>;
  /** Goes on with `work` until it works or the daemon ends, while nothing else changes the membership. */
  readonly goOn: (failure: string, work: () => Promise<void>, waitMs?: number) => void;
  /** The daemon ends. */
  readonly ending: AbortSignal;
}

const becomeTimeoutMs = 20_000;
/** For the store to let a member go: it lets nobody go within five seconds of another change of members. */
const dismissalMs = 10_000;

export class RoleKeeper {
  readonly #deps: RoleKeeperDependencies;
  #wanted: NodeRole = 'worker';
  #isTaking = false;

  constructor(deps: RoleKeeperDependencies) {
    this.#deps = deps;
  }

  /** The swarm says so. */
  hear(role: NodeRole): void {
    this.#wanted = role;
    if (this.#isTaking) return;
    this.#isTaking = true;
    // Not while the standing that told it is about to open.
    setImmediate(() =>
      this.#deps.goOn('could not become what the swarm says', async () => {
        await this.#take();
        this.#isTaking = false;
      }),
    );
  }

  /** Nothing if it is one. Rejects with what managers said last if it takes too long; it is tried again. */
  async become({ self: before, manager }: Place, signal: AbortSignal): Promise<void> {
    if (manager !== undefined) return;
    const { members, clock, logger, records, save, replace, place, ending } = this.#deps;
    const { becomeManager } = await import('./membership/parts.ts');
    const self = await becomeManager(
      {
        ...{ clock, logger, save, hasElsewhere: records.isElsewhere },
        ...(members === undefined ? {} : { members }),
      },
      place()?.self ?? before,
      AbortSignal.any([signal, ending]),
    );
    await save(self);
    await replace(self);
    logger.info({ node: self.nodeId }, 'this node is a manager now');
  }

  /** This manager leaves the swarm, and the others are to go on without it. */
  async handOver({ self, manager }: Place): Promise<void> {
    if (manager === undefined) return;
    const { clock, logger, records } = this.#deps;
    const { roster, admission } = manager;
    const leave = async (): Promise<void> => {
      const node = roster.find(self.nodeId);
      roster.note(self.nodeId, { state: 'down', message: 'the node has left' });
      if (node !== undefined)
        await roster.changeSpec(self.nodeId, node.version, { ...node.spec, role: 'worker' });
      await admission.dismiss(self.nodeId);
    };
    await within(clock, dismissalMs, leave()).catch((error: unknown) =>
      logger.warn({ err: error }, 'the other managers were not told that this one goes'),
    );
    await records.letBe(self.swarmId);
  }

  /** Another manager is to be one no more. It goes by itself, and takes its member out of the store; unless it cannot. */
  dismissLater(id: string): void {
    const { goOn, place } = this.#deps;
    goOn(
      'could not take a demoted manager out of the store',
      async () => {
        const manager = place()?.manager;
        if (manager?.roster.find(id)?.spec.role !== 'manager') await manager?.admission.dismiss(id);
      },
      dismissalMs,
    );
  }

  /** It may be said otherwise meanwhile. */
  async #take(): Promise<void> {
    for (;;) {
      const place = this.#deps.place();
      const isManager = place?.manager !== undefined;
      if (place === undefined || isManager === (this.#wanted === 'manager')) return;
      if (isManager) await this.#resign(place);
      else await this.become(place, AbortSignal.timeout(becomeTimeoutMs));
    }
  }

  async #resign({ self: before, manager }: Place): Promise<void> {
    const { members, clock, logger, records, save, replace } = this.#deps;
    const managers = manager?.managers() ?? before.managers;
    const { member: _, isElsewhere: _isElsewhere, sealKey: _sealKey, ...rest } = before;
    // Where no majority answers, the others have done it.
    if (manager !== undefined)
      await within(clock, dismissalMs, manager.admission.dismiss(rest.nodeId)).catch(() => {});
    const others = managers.filter((address) => address !== rest.advertise);
    const self: SelfRecord = { ...rest, isManager: false, managers: others };
    await records.letBe(self.swarmId);
    await save(self);
    await replace(self);
    await members?.wipe();
    logger.info({ node: self.nodeId }, 'this node is a manager no more');
  }
}
