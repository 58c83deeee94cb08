/*
 * Netlink framing: messages, attributes, acknowledgements. Bytes to values and back, pure; no socket here.
 * Contract: RFC 3549 and linux/netlink.h. All integers are little-endian, the byte order of every machine that
 * Linkspan is built for; payloads that the kernel wants in network byte order say so (`u16be`, `u32be`).
 *
 *   nlmsghdr   0 u32 length with header | 4 u16 type | 6 u16 flags | 8 u32 sequence | 12 u32 port id
 *   nlattr     0 u16 length with header, without padding | 2 u16 type; the next one starts at a multiple of 4
 */

export const headerBytes = 16;
const attributeHeaderBytes = 4;

/** nlmsg_flags, linux/netlink.h. CREATE, EXCL and APPEND share bits with the flags of get requests. */
export const messageFlag = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  dumpInterrupted: 0x10,
  dump: 0x300,
  replace: 0x100,
  excl: 0x200,
  create: 0x400,
  append: 0x800,
} as const;

/** nlmsg_type below 16: control messages. */
export const controlType = { error: 2, done: 3, overrun: 4 } as const;

/** Set in the type of an attribute that holds attributes; nf_tables wants it, rtnetlink ignores it. */
const nestedFlag = 0x8000;
const typeMask = 0x3fff;
const capped = 0x100;
const ackTlvs = 0x200;

const padded = (length: number): number => (length + 3) & ~3;

/** Writes messages one after another into one growing buffer. Not reusable after `finish`. */
export class Writer {
  // From Buffer's pool, cleared: a buffer of its own costs more than all that is written into it.
  #bytes: Buffer = Buffer.allocUnsafe(512).fill(0);
  #view: DataView = view(this.#bytes);
  #at = 0;

  #reserve(length: number): number {
    const at = this.#at;
    const end = at + length;
    if (end > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
      this.#view = view(larger);
    }
    this.#at = end;
    return at;
  }

  u8(value: number): void {
    const at = this.#reserve(1);
    this.#bytes.writeUInt8(value, at);
  }

  u16(value: number): void {
    const at = this.#reserve(2);
    this.#bytes.writeUInt16LE(value, at);
  }

  u16be(value: number): void {
    const at = this.#reserve(2);
    this.#bytes.writeUInt16BE(value, at);
  }

  u32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setUint32(at, value, true);
  }

  u32be(value: number): void {
    const at = this.#reserve(4);
    this.#bytes.writeUInt32BE(value >>> 0, at);
  }

  bytes(value: Uint8Array): void {
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
  }

  /** Zero bytes up to the next multiple of 4. */
  pad(): void {
    this.#reserve(padded(this.#at) - this.#at);
  }

  /** One message; `body` writes what follows the header. Sequence and port id stay 0: the socket sets them. */
  message(type: number, flags: number, body: () => void): void {
    const at = this.#reserve(headerBytes);
    this.#view.setUint16(at + 4, type, true);
    this.#view.setUint16(at + 6, flags, true);
    body();
    this.#view.setUint32(at, this.#at - at, true);
    this.pad();
  }

  /** One attribute whose payload `body` writes. Throws RangeError when it outgrows 65535 bytes. */
  attribute(type: number, body: () => void): void {
    const at = this.#reserve(attributeHeaderBytes);
    this.#view.setUint16(at + 2, type, true);
    body();
    const length = this.#at - at;
    if (length > 0xffff) throw new RangeError(`a netlink attribute of ${length} bytes`);
    this.#view.setUint16(at, length, true);
    this.pad();
  }

  /** An attribute that holds attributes, marked as such (NLA_F_NESTED). */
  nested(type: number, body: () => void): void {
    this.attribute(type | nestedFlag, body);
  }

  u8Attribute(type: number, value: number): void {
    this.attribute(type, () => this.u8(value));
  }

  u16Attribute(type: number, value: number): void {
    this.attribute(type, () => this.u16(value));
  }

  u32Attribute(type: number, value: number): void {
    this.attribute(type, () => this.u32(value));
  }

  u32beAttribute(type: number, value: number): void {
    this.attribute(type, () => this.u32be(value));
  }

  bytesAttribute(type: number, value: Uint8Array): void {
    this.attribute(type, () => this.bytes(value));
  }

  /** A string with its terminating zero. */
  stringAttribute(type: number, value: string): void {
    this.bytesAttribute(type, Buffer.from(`${value}\0`));
  }

  /** Length written so far. */
  get length(): number {
    return this.#at;
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Port id: of the receiver in an answer, of the one who caused it in a notification. */
  readonly portId: number;
  /** What follows the header; a view into the bytes given. */
  readonly payload: Uint8Array;
}

export function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Splits a datagram. Throws RangeError where a length does not fit. */
export function decodeMessages(bytes: Uint8Array): Message[] {
  const data = view(bytes);
  const messages: Message[] = [];
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const length = data.getUint32(at, true);
    if (length < headerBytes || at + length > bytes.length)
      throw new RangeError(`a netlink message of ${length} bytes`);
    messages.push({
      type: data.getUint16(at + 4, true),
      flags: data.getUint16(at + 6, true),
      sequence: data.getUint32(at + 8, true),
      portId: data.getUint32(at + 12, true),
      payload: bytes.subarray(at + headerBytes, at + length),
    });
    at += padded(length);
  }
  return messages;
}

/** Attributes by type without flag bits; of a repeated type the last counts. Views into the bytes given. */
export type Attributes = ReadonlyMap<number, Uint8Array>;

/** Decodes the attributes from `offset` on. Throws RangeError where a length does not fit. */
export function decodeAttributes(bytes: Uint8Array, offset = 0): Attributes {
  const data = view(bytes);
  const found = new Map<number, Uint8Array>();
  for (let at = offset; at + attributeHeaderBytes <= bytes.length; ) {
    const length = data.getUint16(at, true);
    if (length < attributeHeaderBytes || at + length > bytes.length)
      throw new RangeError(`a netlink attribute of ${length} bytes`);
    found.set(
      data.getUint16(at + 2, true) & typeMask,
      bytes.subarray(at + attributeHeaderBytes, at + length),
    );
    at += padded(length);
  }
  return found;
}

/** What the attributes of `bytes` hold, in order, whatever their types: an array. Throws RangeError as above. */
export function decodeElements(bytes: Uint8Array): readonly Uint8Array[] {
  const data = view(bytes);
  const found: Uint8Array[] = [];
  for (let at = 0; at + attributeHeaderBytes <= bytes.length; ) {
    const length = data.getUint16(at, true);
    if (length < attributeHeaderBytes || at + length > bytes.length)
      throw new RangeError(`a netlink attribute of ${length} bytes`);
    found.push(bytes.subarray(at + attributeHeaderBytes, at + length));
    at += padded(length);
  }
  return found;
}

/** Attributes inside attribute `type`; empty if it is absent. */
export function decodeNested(attributes: Attributes, type: number): Attributes {
  const bytes = attributes.get(type);
  return bytes === undefined ? new Map() : decodeAttributes(bytes);
}

export function stringOf(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined) return undefined;
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString();
}

export function u8Of(bytes: Uint8Array | undefined): number | undefined {
  return bytes?.[0];
}

export function u16Of(bytes: Uint8Array | undefined): number | undefined {
  return bytes === undefined ? undefined : view(bytes).getUint16(0, true);
}

export function u32Of(bytes: Uint8Array | undefined): number | undefined {
  return bytes === undefined ? undefined : view(bytes).getUint32(0, true);
}

export function u32beOf(bytes: Uint8Array | undefined): number | undefined {
  return bytes === undefined ? undefined : view(bytes).getUint32(0, false);
}

/** An NLMSG_ERROR. */
export interface Acknowledgement {
  /** Positive errno, 0 for success. */
  readonly errno: number;
  /** The kernel's sentence (NETLINK_EXT_ACK), where it gives one. */
  readonly text: string | undefined;
}

/**
 * Decodes an NLMSG_ERROR: i32 negative errno, then the header of the request (with its payload unless flag CAPPED),
 * then, with flag ACK_TLVS, attributes of which 1 is a sentence.
 */
export function decodeAcknowledgement(message: Message): Acknowledgement {
  const data = view(message.payload);
  const errno = 0 - data.getInt32(0, true);
  if ((message.flags & ackTlvs) === 0) return { errno, text: undefined };
  const requestBytes = (message.flags & capped) === 0 ? padded(data.getUint32(4, true)) : headerBytes;
  return { errno, text: stringOf(decodeAttributes(message.payload, 4 + requestBytes).get(1)) };
}

/** Sets the sequence number of the message that starts at `bytes[0]`. */
export function setSequence(bytes: Uint8Array, sequence: number): void {
  view(bytes).setUint32(8, sequence, true);
}

/** Whether the kernel answers the message that starts at `bytes[0]` also if it does not fail. */
export function setAcknowledge(bytes: Uint8Array, isAsked: boolean): void {
  const data = view(bytes);
  const flags = data.getUint16(6, true);
  data.setUint16(6, isAsked ? flags | messageFlag.ack : flags & ~messageFlag.ack, true);
}
