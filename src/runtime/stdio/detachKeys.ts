/*
 * The key sequence that leaves a terminal without ending its process (`--detach-keys`, default ctrl-p,ctrl-q).
 * Only meaningful with a terminal. Pure: bytes in, bytes out.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

export const defaultDetachKeys = 'ctrl-p,ctrl-q';

function byteOf(key: string): number | undefined {
  if (key.length === 1) return key.charCodeAt(0) < 0x80 ? key.charCodeAt(0) : undefined;
  const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1];
  if (control === undefined) return undefined;
  return control === '@' ? 0 : control.toUpperCase().charCodeAt(0) & 0x1f;
}

/** Parses a comma-separated list of single characters and `ctrl-x`. Throws requestInvalid. */
export function parseDetachKeys(text: string): Buffer {
  const bytes = text.split(',').map(byteOf);
  if (bytes.some((byte) => byte === undefined)) {
    throw new LinkspanError('requestInvalid', `Invalid escape keys (${text}) provided`);
  }
  return Buffer.from(bytes as number[]);
}

/** Looks for the sequence across chunks. Bytes that may still become part of it are held back. */
export class DetachScanner {
  readonly #keys: Buffer;
  #matched = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** What to pass on, and whether the sequence is complete (what follows it is dropped). */
  feed(chunk: Buffer): { readonly pass: Buffer; readonly isDetached: boolean } {
    const pass: Buffer[] = [];
    for (const byte of chunk) {
      if (byte !== this.#keys[this.#matched] && this.#matched > 0) {
        pass.push(this.#keys.subarray(0, this.#matched));
        this.#matched = 0;
      }
      if (byte === this.#keys[this.#matched]) {
        this.#matched += 1;
        if (this.#matched === this.#keys.length) return { pass: Buffer.concat(pass), isDetached: true };
      } else pass.push(Buffer.of(byte));
    }
    return { pass: Buffer.concat(pass), isDetached: false };
  }
}
