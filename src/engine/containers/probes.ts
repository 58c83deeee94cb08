/*
 * One probe: a command in the container whose exit code says how it is. A probe that takes too long is killed, with
 * whatever it started. Only so many are started at once, and being started does not count towards a probe's time.
 */
import type { Readable } from 'node:stream';
import { Gate } from '../../base/gate.ts';
import { timestamp } from '../../base/timestamp.ts';
import { messageOf } from '../../errors/linkspanError.ts';
import type { Exec, ExecSpec } from '../engine.ts';
import type { ContainersContext } from './dependencies.ts';
import type { Execs } from './execs.ts';
import type { ProbeResult } from './healthState.ts';
import type { LiveContainer } from './liveContainer.ts';
import { settlesWithin } from './patience.ts';

const startsAtOnce = 8;
const outputBytes = 4096;
/** How long a killed probe may take to be gone. */
const killLimitMs = 10_000;

/** The first so many bytes of what is written. */
class FirstBytes {
  readonly #pieces: Buffer[] = [];
  #left = outputBytes;
  #isCut = false;

  async read(stream: Readable | undefined): Promise<void> {
    if (stream === undefined) return;
    for await (const piece of stream as AsyncIterable<Buffer>) {
      const kept = piece.subarray(0, this.#left);
      this.#left -= kept.length;
      this.#isCut ||= kept.length < piece.length;
      if (kept.length > 0) this.#pieces.push(Buffer.from(kept));
    }
  }

  text(): string {
    return Buffer.concat(this.#pieces).toString('utf8') + (this.#isCut ? '...' : '');
  }
}

/** As Go prints a duration: `1m30s`, `1.5s`, `500ms`. */
export function formatGoDuration(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  const seconds = ms / 1000;
  const [hours, minutes] = [Math.trunc(seconds / 3600), Math.trunc(seconds / 60) % 60];
  const rest = Number((seconds % 60).toFixed(9));
  return `${hours > 0 ? `${hours}h` : ''}${seconds >= 60 ? `${minutes}m` : ''}${rest}s`;
}

export class Probes {
  readonly #context: ContainersContext;
  readonly #execs: Execs;
  readonly #gate = new Gate(startsAtOnce);

  constructor(context: ContainersContext, execs: Execs) {
    this.#context = context;
    this.#execs = execs;
  }

  /** Does not throw: a probe that cannot be run is one that failed. */
  async run(live: LiveContainer, args: readonly string[], timeoutMs: number): Promise<ProbeResult> {
    const { clock, logger } = this.#context;
    const start = timestamp(clock);
    const spec: ExecSpec = {
      ...{ args, env: [], isTty: false, isPrivileged: false },
      attach: { stdin: false, stdout: true, stderr: true },
    };
    let exec: Exec | undefined;
    try {
      const created = (exec = this.#execs.create(live, spec));
      const { exitCode, output } = await this.#finish(live, created, timeoutMs);
      return { start, end: timestamp(clock), exitCode, output };
    } catch (error) {
      logger.debug({ ...live.logFields, err: error }, 'could not ask a container how it is');
      return { start, end: timestamp(clock), exitCode: -1, output: messageOf(error) };
    } finally {
      if (exec !== undefined) this.#execs.drop(exec.id);
    }
  }

  async #finish(
    live: LiveContainer,
    { id }: Exec,
    timeoutMs: number,
  ): Promise<{ readonly exitCode: number; readonly output: string }> {
    const { clock, runtime } = this.#context;
    const streams = await this.#gate.run(() => this.#execs.start(id, { isDetached: false }));
    const output = new FirstBytes();
    const isRead = Promise.all([output.read(streams.stdout), output.read(streams.stderr)]);
    // What ends the streams early ends the reading, and no more.
    isRead.catch(() => {});
    const ended = this.#execs.ended(id);
    if (await settlesWithin(ended, timeoutMs, clock)) {
      await isRead;
      return { exitCode: await ended, output: output.text() };
    }
    await runtime.killExec(live.id, id, this.#execs.get(id).pid);
    await settlesWithin(ended, killLimitMs, clock);
    const said = output.text();
    const text = `Health check exceeded timeout (${formatGoDuration(timeoutMs)})`;
    return { exitCode: -1, output: said === '' ? text : `${text}: ${said}` };
  }
}
