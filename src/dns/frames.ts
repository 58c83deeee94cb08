/*
 * DNS messages on a TCP stream: each behind its length, 2 bytes, most significant first (RFC 1035 §4.2.2). Pure.
 */

/** `message` with its length before it. */
export function frame(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(message.length + 2);
  framed[0] = message.length >> 8;
  framed[1] = message.length & 0xff;
  framed.set(message, 2);
  return framed;
}

/** Cuts a stream into messages. Holds one unfinished message at most. */
export class FrameReader {
  readonly #maxBytes: number;
  #rest: Uint8Array = new Uint8Array(0);

  /** A message longer than `maxBytes` is refused. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Messages that `chunk` completes, each a copy. Throws RangeError for one that is too long. */
  push(chunk: Uint8Array): readonly Uint8Array[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: Uint8Array[] = [];
    let at = 0;
    while (bytes.length - at >= 2) {
      const length = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
      if (length > this.#maxBytes) throw new RangeError(`a message of ${length} bytes`);
      if (bytes.length - at - 2 < length) break;
      messages.push(Uint8Array.from(bytes.subarray(at + 2, at + 2 + length)));
      at += 2 + length;
    }
    this.#rest = Uint8Array.from(bytes.subarray(at));
    return messages;
  }
}
