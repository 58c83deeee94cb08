/*
 * A container as the running daemon knows it: its record, and what does not outlive the daemon (streams, waiters).
 */
import type { ProcessIo } from '../../runtime/stdio/processIo.ts';
import type { Container, ContainerId } from '../model.ts';
import type { Health } from './healthState.ts';

/** How a run, or the container itself, ended. */
export interface ContainerEnd {
  readonly exitCode: number;
  readonly error: string;
}

export class LiveContainer {
  record: Container;
  /** Streams of the run to come (somebody attached before the start) or under way. */
  io: ProcessIo | undefined;
  /** Stops under way that a start follows: the end of the run does not remove the container. */
  restartCalls = 0;
  /** Calls off the restart that is due by the policy. */
  restart: AbortController | undefined;
  /** The wait before it; 0 = none yet since somebody started the container. */
  restartDelayMs = 0;
  /** What the record does not keep of its probes. */
  probed: Omit<Health, 'status'> = { failingStreak: 0, log: [] };
  /** Ends the probes of the present run. */
  probing: AbortController | undefined;
  /** `startedAt` of the last run whose end has been worked through. */
  settledRun: string | undefined;
  #exit = Promise.withResolvers<ContainerEnd>();
  readonly #removal = Promise.withResolvers<ContainerEnd>();

  constructor(record: Container) {
    this.record = record;
  }

  get id(): ContainerId {
    return this.record.id;
  }

  /** What a line of the log about it begins with. */
  get logFields(): { readonly container: string; readonly id: ContainerId } {
    return { container: this.record.name, id: this.id };
  }

  get isRestarting(): boolean {
    return this.restartCalls > 0;
  }

  get isRunning(): boolean {
    return this.record.state === 'running' || this.record.state === 'paused';
  }

  /** Settles at the next end of a run, or when the container is removed before. */
  get nextExit(): Promise<ContainerEnd> {
    return this.#exit.promise;
  }

  get removal(): Promise<ContainerEnd> {
    return this.#removal.promise;
  }

  get end(): ContainerEnd {
    // A refused start is told to whoever started; Docker's wait has the exit code only.
    return { exitCode: this.record.exitCode, error: '' };
  }

  /** Tells those who wait that the run has ended; its record says how. */
  announceExit(): void {
    const { resolve } = this.#exit;
    this.#exit = Promise.withResolvers();
    resolve(this.end);
  }

  announceRemoval(): void {
    this.announceExit();
    this.#removal.resolve(this.end);
  }
}
