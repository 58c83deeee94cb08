/*
 * Makes this node what the swarm says that it is, a manager or a worker, again and again until it is; and lets other
 * managers go on when this one goes.
 */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import type { StoreMembers } from './managers/storeMember.ts';
import type { Manager } from './managing.ts';
import { asWorker, type SelfPart, type SelfRecord } from './membership/records.ts';
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
  /** Part of what this node knows of its swarm; what is undefined goes. `unlockKey`: it is locked from now on. */
  readonly save: (part: SelfPart, unlockKey?: string) => Promise<void>;
  /** Closes what is open, and opens what is stored. */
  readonly reopen: () => Promise<void>;
  /** Goes on with `work` until it works or the daemon ends, while nothing else changes the membership. */
  readonly goOn: (failure: string, work: () => Promise<void>, waitMs?: number) => void;
  /** The daemon ends. */
  readonly ending: AbortSignal;
}

const becomeTimeoutMs = 20_000;
/** For the store to let a member go: it lets nobody go within five seconds of another change of members. */
const dismissalMs = 10_000;
/** For this node's own; it is tried again. */
const partingMs = 3000;

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
    const { members, clock, logger, records, save, reopen, place, ending } = this.#deps;
    const { becomeManager } = await import('./membership/parts.ts');
    const gained = await becomeManager(
      {
        ...{ clock, logger, save, hasElsewhere: records.isElsewhere },
        ...(members === undefined ? {} : { members }),
      },
      place()?.self ?? before,
      AbortSignal.any([signal, ending]),
    );
    if (gained.isElsewhere === true) await records.use(before);
    await save(gained);
    await reopen();
    logger.info({ node: before.nodeId }, 'this node is a manager now');
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
      if (place === undefined) return;
      if (isManager === (this.#wanted === 'manager')) {
        if (!isManager) await this.#dropUnfinished(place);
        return;
      }
      if (isManager) await this.#resign(place);
      else await this.become(place, AbortSignal.timeout(becomeTimeoutMs));
    }
  }

  /** A worker that was about to become a manager, and is not to be one now. */
  async #dropUnfinished({ self }: Place): Promise<void> {
    if (self.member === undefined) return;
    await this.#deps.save({ member: undefined, sealKey: undefined });
    await this.#deps.members?.wipe();
  }

  async #resign({ self, manager }: Place): Promise<void> {
    const { members, logger, records, save, reopen } = this.#deps;
    const today = { ...self, managers: manager?.managers() ?? self.managers };
    // What still counts must not go: the others could not decide anything any more.
    if (manager !== undefined && !(await this.#isOut(today, manager)))
      throw new LinkspanError('storeUnavailable', "the managers' store does not let this one go yet");
    await records.letBe(self.swarmId);
    await save(asWorker(today));
    await reopen();
    await members?.wipe();
    logger.info({ node: self.nodeId }, 'this node is a manager no more');
  }

  /** Its member of the store is out; or the others, who can decide without it, say that it is no manager. */
  async #isOut(self: SelfRecord, manager: Manager): Promise<boolean> {
    try {
      await within(this.#deps.clock, partingMs, manager.admission.dismiss(self.nodeId));
      return true;
    } catch {
      // A member that goes may end before it has told.
    }
    const { askRole } = await import('./membership/parts.ts');
    return ['worker', 'removed'].includes(await askRole(self, AbortSignal.timeout(dismissalMs)));
  }
}
