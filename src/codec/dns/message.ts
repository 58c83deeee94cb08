/*
 * DNS messages (RFC 1035 §4, EDNS0 of RFC 6891). Pure and strict: what decodes has exactly the records that its header
 * counts and nothing behind them, at most one OPT record, and no name that runs in circles.
 *
 *   offset  size  header, all in network byte order
 *   0       2     id
 *   2       2     flags: QR 1, opcode 4, AA 1, TC 1, RD 1, RA 1, Z 1, AD 1, CD 1, rcode 4
 *   4       2×4   numbers of questions, answers, authorities, additionals
 */
import { DnsFormatError, encodeName, foldName, parseLabels, readName } from './name.ts';

export const headerBytes = 12;
/** The longest answer over UDP to a question without EDNS (RFC 1035 §4.2.1). */
export const plainUdpBytes = 512;

/** Bits of the flags word. */
export const flag = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  checkingDisabled: 0x0010,
} as const;
export const opcodeMask = 0x7800;
export const rcodeMask = 0x000f;

/** RFC 1035 §4.1.1; `badVersion` (RFC 6891) needs an OPT record for its high bits. */
export const rcode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const;

/** Record types by number (IANA, DNS parameters). */
export const recordType = {
  a: 1,
  ns: 2,
  cname: 5,
  soa: 6,
  ptr: 12,
  mx: 15,
  txt: 16,
  aaaa: 28,
  srv: 33,
  opt: 41,
  any: 255,
} as const;
export const classInternet = 1;

export interface Question {
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

export interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** seconds */
  readonly ttlS: number;
  /** RDATA; names inside that may be compressed on the wire (RFC 3597 §4) are written out. */
  readonly data: Uint8Array;
}

/** An OPT record (RFC 6891 §6.1). */
export interface Edns {
  /** What its sender can take over UDP, bytes. */
  readonly udpBytes: number;
  readonly version: number;
  /** The upper 8 bits of the response code. */
  readonly rcodeHigh: number;
  readonly isDnssecOk: boolean;
  /** Options as on the wire. */
  readonly options: Uint8Array;
}

export interface Message {
  readonly id: number;
  /** All 16 bits after the id; see `flag`. */
  readonly flags: number;
  readonly questions: readonly Question[];
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  /** Without the OPT record. */
  readonly additionals: readonly DnsRecord[];
  readonly edns?: Edns;
}

const none = new Uint8Array(0);

/** Where names lie in the RDATA of types whose names may be compressed: after so many bytes, so many names. */
const namesInData: ReadonlyMap<number, readonly [before: number, count: number]> = new Map([
  [recordType.ns, [0, 1]],
  [recordType.cname, [0, 1]],
  [recordType.ptr, [0, 1]],
  [recordType.soa, [0, 2]],
  [recordType.mx, [2, 1]],
  [recordType.srv, [6, 1]],
]);

export function readU16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** RDATA with its names written out. */
function readData(bytes: Uint8Array, type: number, start: number, end: number): Uint8Array {
  const layout = namesInData.get(type);
  if (layout === undefined) return bytes.slice(start, end);
  const [before, count] = layout;
  const parts = [bytes.subarray(start, start + before)];
  let at = start + before;
  for (let i = 0; i < count; i++) {
    const { name, end: after } = readName(bytes, at);
    parts.push(encodeName(name));
    at = after;
  }
  if (at > end || (type !== recordType.soa && at !== end))
    throw new DnsFormatError('a name does not fit its record');
  parts.push(bytes.subarray(at, end));
  return concat(parts);
}

interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
}

function readQuestion(cursor: Cursor): Question {
  const { bytes } = cursor;
  const { name, end } = readName(bytes, cursor.at);
  if (end + 4 > bytes.length) throw new DnsFormatError('a question runs past the end');
  cursor.at = end + 4;
  return { name, type: readU16(bytes, end), class: readU16(bytes, end + 2) };
}

function readRecord(cursor: Cursor): DnsRecord {
  const { bytes } = cursor;
  const { name, end } = readName(bytes, cursor.at);
  if (end + 10 > bytes.length) throw new DnsFormatError('a record runs past the end');
  const type = readU16(bytes, end);
  const ttlS = readU16(bytes, end + 4) * 0x10000 + readU16(bytes, end + 6);
  const dataEnd = end + 10 + readU16(bytes, end + 8);
  if (dataEnd > bytes.length) throw new DnsFormatError('the data of a record runs past the end');
  cursor.at = dataEnd;
  const data = readData(bytes, type, end + 10, dataEnd);
  return { name, type, class: readU16(bytes, end + 2), ttlS, data };
}

function readRecords(cursor: Cursor, count: number): DnsRecord[] {
  const records: DnsRecord[] = [];
  // One at a time: a count that lies ends at the message's end, not in an allocation.
  for (let i = 0; i < count; i++) records.push(readRecord(cursor));
  return records;
}

function toEdns(record: DnsRecord): Edns {
  if (record.name !== '') throw new DnsFormatError('an OPT record has a name');
  return {
    udpBytes: record.class,
    rcodeHigh: record.ttlS >>> 24,
    version: (record.ttlS >>> 16) & 0xff,
    isDnssecOk: (record.ttlS & 0x8000) !== 0,
    options: record.data,
  };
}

/** The message that `bytes` are. Throws DnsFormatError. */
export function decodeMessage(bytes: Uint8Array): Message {
  if (bytes.length < headerBytes) throw new DnsFormatError('shorter than a header');
  const cursor: Cursor = { bytes, at: headerBytes };
  const questions: Question[] = [];
  for (let i = readU16(bytes, 4); i > 0; i--) questions.push(readQuestion(cursor));
  const answers = readRecords(cursor, readU16(bytes, 6));
  const authorities = readRecords(cursor, readU16(bytes, 8));
  const additionals = readRecords(cursor, readU16(bytes, 10));
  if (cursor.at !== bytes.length) throw new DnsFormatError('bytes follow the last record');
  const isOpt = ({ type }: DnsRecord): boolean => type === recordType.opt;
  const options = additionals.filter(isOpt);
  if (options.length > 1 || answers.some(isOpt) || authorities.some(isOpt))
    throw new DnsFormatError('an OPT record too many');
  return {
    id: readU16(bytes, 0),
    flags: readU16(bytes, 2),
    questions,
    answers,
    authorities,
    additionals: options.length === 0 ? additionals : additionals.filter((record) => !isOpt(record)),
    ...(options[0] === undefined ? {} : { edns: toEdns(options[0]) }),
  };
}

/** Pointers reach 14 bits. */
const maxPointer = 0x3fff;

/** Grows a message; record owners are compressed against what was written before, without regard to case. */
class MessageWriter {
  readonly #bytes: Uint8Array;
  readonly #names = new Map<string, number>();
  length = headerBytes;

  constructor(maxBytes: number) {
    this.#bytes = new Uint8Array(maxBytes);
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  u16(at: number, value: number): void {
    writeU16(this.#bytes, at, value);
  }

  /** False, with nothing written, if it does not fit. */
  append(name: string, rest: Uint8Array): boolean {
    const start = this.length;
    const added: string[] = [];
    if (this.#appendName(name, added) && this.#append(rest)) return true;
    this.length = start;
    for (const suffix of added) this.#names.delete(suffix);
    return false;
  }

  #appendName(name: string, added: string[]): boolean {
    const labels = parseLabels(name);
    for (const [i, label] of labels.entries()) {
      const suffix = foldName(String.fromCharCode(...labels.slice(i).flatMap((l) => [l.length, ...l])));
      const known = this.#names.get(suffix);
      if (known !== undefined) return this.#append(Uint8Array.of(0xc0 | (known >> 8), known & 0xff));
      if (this.length <= maxPointer) {
        this.#names.set(suffix, this.length);
        added.push(suffix);
      }
      if (!this.#append(Uint8Array.of(label.length, ...label))) return false;
    }
    return this.#append(Uint8Array.of(0));
  }

  #append(part: Uint8Array): boolean {
    if (this.length + part.length > this.#bytes.length) return false;
    this.#bytes.set(part, this.length);
    this.length += part.length;
    return true;
  }
}

function u16Bytes(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values.flatMap((value) => [value >> 8, value & 0xff]));
}

function recordTail({ type, class: recordClass, ttlS, data }: DnsRecord): Uint8Array {
  const head = u16Bytes(type, recordClass, Math.trunc(ttlS / 0x10000), ttlS & 0xffff, data.length);
  return concat([head, data]);
}

function ednsBytes({ udpBytes, rcodeHigh, version, isDnssecOk, options }: Edns): Uint8Array {
  const flags = isDnssecOk ? 0x8000 : 0;
  return concat([
    Uint8Array.of(0),
    u16Bytes(recordType.opt, udpBytes, (rcodeHigh << 8) | version, flags, options.length),
    options,
  ]);
}

/**
 * Bytes of `message`, `maxBytes` (512 to 65535) at most. What does not fit is left out from the end, with TC set if
 * it is more than additional data (RFC 2181 §9); questions and the OPT record always stay. Throws DnsFormatError for
 * names that cannot be written, and where not even the questions fit.
 */
export function encodeMessage(message: Message, maxBytes: number): Uint8Array {
  const edns = message.edns === undefined ? none : ednsBytes(message.edns);
  const writer = new MessageWriter(maxBytes - edns.length);
  for (const { name, type, class: questionClass } of message.questions)
    if (!writer.append(name, u16Bytes(type, questionClass)))
      throw new DnsFormatError('the questions do not fit');
  const counts = [0, 0, 0];
  let isFull = false;
  for (const [section, records] of [message.answers, message.authorities, message.additionals].entries()) {
    for (const record of records) {
      isFull ||= !writer.append(record.name, recordTail(record));
      if (isFull) break;
      counts[section] = (counts[section] as number) + 1;
    }
  }
  const isCut =
    counts[0] !== message.answers.length || counts[1] !== message.authorities.length ? flag.truncated : 0;
  writer.u16(0, message.id);
  writer.u16(2, message.flags | isCut);
  const [answers = 0, authorities = 0, additionals = 0] = counts;
  const total = additionals + (edns.length > 0 ? 1 : 0);
  for (const [i, count] of [message.questions.length, answers, authorities, total].entries())
    writer.u16(4 + 2 * i, count);
  return edns.length === 0 ? writer.bytes : concat([writer.bytes, edns]);
}
