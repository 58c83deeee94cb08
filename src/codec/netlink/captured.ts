/*
 * For tests: datagrams that other programs exchanged with the kernel, by name.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Capture {
  readonly name: string;
  readonly command: string;
  readonly hex: string;
}

const file = join(import.meta.dirname, 'testdata/captured.json');
const { captures } = JSON.parse(readFileSync(file, 'utf8')) as { readonly captures: readonly Capture[] };

/** The datagram called `name`; throws if there is none. */
export function capturedHex(name: string): string {
  const found = captures.find((capture) => capture.name === name);
  if (found === undefined) throw new RangeError(`no capture is called ${name}`);
  return found.hex;
}

export function capturedBytes(name: string): Uint8Array {
  return Buffer.from(capturedHex(name), 'hex');
}
