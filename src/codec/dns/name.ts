/*
 * Domain names: wire form (RFC 1035 §3.1, compression §4.1.4) and text. In text a name has no final dot, the root is
 * '', and bytes that are not printable, dots and backslashes inside a label are written `\DDD`, `\.` and `\\` (§5.1),
 * so that text and wire form are one to one. Case is kept; compare with `foldName`.
 */

/** Bytes that are no DNS message, or a name that cannot be written. The only error that this folder throws. */
export class DnsFormatError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DnsFormatError';
  }
}

/** Octets of a name on the wire, with length bytes and the root's (RFC 1035 §2.3.4). */
const maxNameBytes = 255;
const maxLabelBytes = 63;
/** The two high bits of a length byte that make it a pointer. */
const pointerBits = 0xc0;
/** No name lies inside the message's header. */
const headerBytes = 12;

const dot = 0x2e;
const backslash = 0x5c;

function isPlain(byte: number): boolean {
  return byte > 0x20 && byte < 0x7f && byte !== dot && byte !== backslash;
}

function escapeByte(byte: number): string {
  if (byte === dot || byte === backslash) return `\\${String.fromCharCode(byte)}`;
  return isPlain(byte) ? String.fromCharCode(byte) : `\\${String(byte).padStart(3, '0')}`;
}

function labelText(bytes: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number;
    text += isPlain(byte) ? String.fromCharCode(byte) : escapeByte(byte);
  }
  return text;
}

/**
 * The name at `offset`, and the offset just after it there. A pointer must lead to before the run of labels that it
 * ends, so that reading always ends. Throws DnsFormatError.
 */
export function readName(bytes: Uint8Array, offset: number): { readonly name: string; readonly end: number } {
  let name = '';
  let at = offset;
  let runStart = offset;
  let end = -1;
  let wireBytes = 1;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw new DnsFormatError('a name runs past the end');
    if (length === 0) return { name, end: end < 0 ? at + 1 : end };
    if ((length & pointerBits) === pointerBits) {
      const low = bytes[at + 1];
      if (low === undefined) throw new DnsFormatError('a pointer runs past the end');
      const target = ((length & ~pointerBits) << 8) | low;
      if (target >= runStart || target < headerBytes)
        throw new DnsFormatError('a pointer does not lead back to a name');
      if (end < 0) end = at + 2;
      at = target;
      runStart = target;
      continue;
    }
    if (length > maxLabelBytes) throw new DnsFormatError('a label has an unknown type');
    wireBytes += length + 1;
    if (wireBytes > maxNameBytes) throw new DnsFormatError('a name is longer than 255 bytes');
    const next = at + 1 + length;
    if (next > bytes.length) throw new DnsFormatError('a label runs past the end');
    name += name === '' ? labelText(bytes, at + 1, next) : `.${labelText(bytes, at + 1, next)}`;
    at = next;
  }
}

/** One label's bytes and where the text goes on; the text is at a label's start. */
function parseLabel(
  text: string,
  start: number,
): { readonly bytes: readonly number[]; readonly end: number } {
  const bytes: number[] = [];
  let at = start;
  while (at < text.length && text.charCodeAt(at) !== dot) {
    let code = text.charCodeAt(at++);
    if (code === backslash) {
      const digits = /^\d{3}/.exec(text.slice(at, at + 3))?.[0];
      code = digits === undefined ? text.charCodeAt(at) : Number(digits);
      at += digits === undefined ? 1 : 3;
    }
    // NaN after a final backslash fails here too.
    if (!(code <= 0xff)) throw new DnsFormatError(`not a domain name: ${text}`);
    bytes.push(code);
  }
  if (bytes.length === 0 || bytes.length > maxLabelBytes)
    throw new DnsFormatError(`not a domain name: ${text}`);
  return { bytes, end: at };
}

/** The labels of a name in text, each as its bytes; none for the root. Throws DnsFormatError. */
export function parseLabels(name: string): readonly (readonly number[])[] {
  const labels: (readonly number[])[] = [];
  let wireBytes = 1;
  let at = 0;
  while (at < name.length) {
    const { bytes, end } = parseLabel(name, at);
    labels.push(bytes);
    wireBytes += bytes.length + 1;
    at = end + 1;
    if (end === name.length - 1) throw new DnsFormatError(`not a domain name: ${name}`);
  }
  if (wireBytes > maxNameBytes) throw new DnsFormatError('a name is longer than 255 bytes');
  return labels;
}

/** Wire form without compression. Throws DnsFormatError where there is none. */
export function encodeName(name: string): Uint8Array {
  return Uint8Array.from([...parseLabels(name).flatMap((label) => [label.length, ...label]), 0]);
}

/** What two names have in common that differ in case only (RFC 4343: ASCII letters). */
export function foldName(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
