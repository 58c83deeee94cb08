/*
 * Replies of bytes that are made while they are read: tars of images and of containers.
 */
import { Readable } from 'node:stream';

/** What is wrong at the start is thrown, while the status can still say so. */
export async function startReading(parts: AsyncIterable<Uint8Array>): Promise<Readable> {
  const iterator = parts[Symbol.asyncIterator]();
  const first = await iterator.next();
  async function* all(): AsyncGenerator<Uint8Array> {
    try {
      if (first.done === true) return;
      yield first.value;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
        yield next.value;
    } finally {
      await iterator.return?.();
    }
  }
  const reply = Readable.from(all(), { objectMode: false });
  // Of a reply that is closed before anything is read of it, `all` never begins, nor ends.
  reply.once('close', () => void iterator.return?.()?.catch(() => {}));
  return reply;
}
