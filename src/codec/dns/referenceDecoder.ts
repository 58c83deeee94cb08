/*
 * For tests: a second decoder of DNS messages, written from RFC 1035 without a look at the first, recursive where that
 * one loops, and giving names as lists of latin-1 labels. Throws RangeError for what is no message.
 */

interface ReferenceRecord {
  readonly labels: readonly string[];
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly data: Buffer;
}

export interface ReferenceMessage {
  readonly id: number;
  readonly flags: number;
  readonly questions: readonly {
    readonly labels: readonly string[];
    readonly type: number;
    readonly class: number;
  }[];
  readonly sections: readonly (readonly ReferenceRecord[])[];
}

function labelsAt(view: Buffer, at: number): { readonly labels: readonly string[]; readonly next: number } {
  const first = view.readUInt8(at);
  if (first === 0) return { labels: [], next: at + 1 };
  if (first >= 0xc0) {
    const to = view.readUInt16BE(at) - 0xc000;
    if (to >= at) throw new RangeError('forward pointer');
    return { labels: labelsAt(view, to).labels, next: at + 2 };
  }
  if (first >= 0x40) throw new RangeError('label type');
  const label = view.subarray(at + 1, at + 1 + first);
  if (label.length !== first) throw new RangeError('short label');
  const rest = labelsAt(view, at + 1 + first);
  return { labels: [label.toString('latin1'), ...rest.labels], next: rest.next };
}

/** Decodes; RDATA stays as it is on the wire. */
export function referenceDecode(bytes: Uint8Array): ReferenceMessage {
  const view = Buffer.from(bytes);
  let at = 12;
  const questions = Array.from({ length: view.readUInt16BE(4) }, () => {
    const { labels, next } = labelsAt(view, at);
    at = next + 4;
    return { labels, type: view.readUInt16BE(next), class: view.readUInt16BE(next + 2) };
  });
  const sections = [6, 8, 10].map((count) =>
    Array.from({ length: view.readUInt16BE(count) }, () => {
      const { labels, next } = labelsAt(view, at);
      const length = view.readUInt16BE(next + 8);
      at = next + 10 + length;
      return {
        labels,
        type: view.readUInt16BE(next),
        class: view.readUInt16BE(next + 2),
        ttl: view.readUInt32BE(next + 4),
        data: view.subarray(next + 10, at),
      };
    }),
  );
  if (at !== view.length) throw new RangeError('length');
  return { id: view.readUInt16BE(0), flags: view.readUInt16BE(2), questions, sections };
}
