/*
 * A reply of JSON lines that grows while work goes on (pull, load, import, events). Until the first line an error is
 * an ordinary error reply; after it, it is a last line, as Docker's clients expect.
 */
import type { FastifyReply } from 'fastify';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import { headersOf } from './apiContext.ts';
import { untilDrained } from './hijack.ts';

/** A client that leaves more than this unread is cut off, so that it cannot fill our memory. */
const maxUnreadBytes = 8 * 1024 * 1024;

export class JsonLines {
  readonly #reply: FastifyReply;
  #hasHead = false;

  constructor(reply: FastifyReply) {
    this.#reply = reply;
  }

  /** Sends the head now, so that the client knows that it is connected. */
  start(): void {
    if (this.#hasHead) return;
    this.#hasHead = true;
    this.#reply.hijack();
    this.#reply.raw.writeHead(200, { ...headersOf(this.#reply), 'content-type': 'application/json' });
    this.#reply.raw.flushHeaders();
  }

  write(line: unknown): void {
    this.writeText(JSON.stringify(line));
  }

  /** One line that is JSON already. */
  writeText(line: string): void {
    this.start();
    const { raw } = this.#reply;
    if (raw.writableLength > maxUnreadBytes) raw.destroy();
    if (!raw.destroyed) raw.write(`${line}\r\n`);
  }

  /**
   * Resolves when the client has read so much that it may get more, or has gone. For work that can wait: a client that
   * stops reading for a while loses nothing then.
   */
  async drained(): Promise<void> {
    const { raw } = this.#reply;
    if (raw.destroyed || !raw.writableNeedDrain) return;
    await untilDrained(raw);
  }

  /** Runs `work`, which writes lines, and ends the reply. Rejects only while no line has been written. */
  async run(work: () => Promise<unknown>): Promise<FastifyReply> {
    try {
      await work();
      this.start();
    } catch (error) {
      if (!this.#hasHead) throw error;
      const message = messageOf(error);
      const code = error instanceof LinkspanError ? error.details['exitCode'] : undefined;
      this.write({ errorDetail: { ...(code !== undefined && { code }), message }, error: message });
    }
    this.#reply.raw.end();
    return this.#reply;
  }
}
