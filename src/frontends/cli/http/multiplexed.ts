/*
 * The stream format of attach, exec and logs without a terminal: frames of an 8-byte header and a payload.
 *   offset 0  1 byte   stream: 0 stdin, 1 stdout, 2 stderr, 3 an error of the daemon
 *   offset 1  3 bytes  zero
 *   offset 4  4 bytes  payload length, big-endian
 */

export type StreamName = 'stdout' | 'stderr' | 'systemError';

export interface Frame {
  readonly stream: StreamName;
  readonly payload: Buffer;
}

function streamOf(byte: number): StreamName {
  if (byte === 0 || byte === 1) return 'stdout';
  if (byte === 2) return 'stderr';
  if (byte === 3) return 'systemError';
  throw new Error(`unrecognized stream: ${byte}`);
}

/** Splits bytes into frames; long payloads come out in pieces as they arrive, except the daemon's errors. */
export class FrameDecoder {
  #pending: Buffer = Buffer.alloc(0);
  #stream: StreamName = 'stdout';
  #left = 0;

  /** Throws on a header that is none. */
  push(bytes: Buffer): Frame[] {
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    const frames: Frame[] = [];
    for (;;) {
      if (this.#left === 0) {
        if (this.#pending.length < 8) return frames;
        this.#stream = streamOf(this.#pending[0] ?? 0);
        this.#left = this.#pending.readUInt32BE(4);
        this.#pending = this.#pending.subarray(8);
        continue;
      }
      const isWhole = this.#pending.length >= this.#left;
      if (this.#pending.length === 0 || (this.#stream === 'systemError' && !isWhole)) return frames;
      const payload = this.#pending.subarray(0, this.#left);
      this.#pending = this.#pending.subarray(payload.length);
      this.#left -= payload.length;
      frames.push({ stream: this.#stream, payload });
    }
  }
}
