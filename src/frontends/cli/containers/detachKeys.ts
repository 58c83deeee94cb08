/*
 * The key sequence that leaves an attached container running (`ctrl-p,ctrl-q` unless told otherwise), found in what
 * the user types. Pure. Bytes that might begin the sequence are held back until the next byte decides.
 */
import { CliError } from '../cliError.ts';

/** The bytes of `a,ctrl-b,ctrl-\`: single characters or `ctrl-` and one of a–z @ [ \ ] ^ _. Throws CliError. */
export function parseDetachKeys(text: string): Uint8Array {
  return Uint8Array.from(text.split(','), (key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1]?.toUpperCase();
    if (control === undefined)
      throw new CliError(`invalid detach keys (${text}): unknown character: '${key}'`, 125);
    return control.charCodeAt(0) & 0x1f;
  });
}

export const defaultDetachKeys = 'ctrl-p,ctrl-q';

export class DetachScanner {
  readonly #keys: Uint8Array;
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** What of `input` to pass on, and whether the sequence was completed (nothing after it is passed on). */
  push(input: Uint8Array): { readonly pass: Buffer; readonly isDetach: boolean } {
    const pass: number[] = [];
    for (const byte of input) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched++;
        if (this.#matched === this.#keys.length) return { pass: Buffer.from(pass), isDetach: true };
        continue;
      }
      pass.push(...this.#keys.subarray(0, this.#matched));
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) pass.push(byte);
    }
    return { pass: Buffer.from(pass), isDetach: false };
  }
}
