/*
 * The fields of a protobuf message as they lie in its bytes, so that a message can pass through with some of them
 * changed and those that nobody here knows kept. Source: Protocol Buffers, "Encoding".
 */

export interface RawField {
  readonly number: number;
  /** Tag and value. */
  readonly bytes: Uint8Array;
  /** The value of a field of bytes, a text or a message; empty for a number. */
  readonly value: Uint8Array;
}

/** Wire types: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes. Groups (3, 4) are of proto2 and refused. */
export function splitFields(message: Uint8Array): readonly RawField[] {
  const fields: RawField[] = [];
  let at = 0;

  /** Below 2^53, which lengths and tags are; of a larger one only where it ends matters. */
  function readVarint(): number {
    let [value, factor] = [0, 1];
    for (let count = 0; count < 10; count += 1) {
      const byte = message[at];
      if (byte === undefined) break;
      at += 1;
      value += (byte & 0x7f) * factor;
      factor *= 128;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a protobuf message is cut off');
  }

  while (at < message.length) {
    const start = at;
    const tag = readVarint();
    let value = message.subarray(at, at);
    const wireType = tag % 8;
    if (wireType === 0) readVarint();
    else if (wireType === 1) at += 8;
    else if (wireType === 2) {
      const length = readVarint();
      value = message.subarray(at, at + length);
      at += length;
    } else if (wireType === 5) at += 4;
    else throw new RangeError(`a protobuf message has a field of wire type ${wireType}`);
    if (at > message.length) throw new RangeError('a protobuf message is cut off');
    fields.push({ number: Math.floor(tag / 8), bytes: message.subarray(start, at), value });
  }
  return fields;
}
