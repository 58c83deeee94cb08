/*
 * What a DNS server makes of one request: the question, or the answer that malformed ones deserve. Pure. An error's
 * answer is never longer than what it answers, and nothing answers an answer, so that two servers cannot be set on
 * each other.
 */
import {
  decodeMessage,
  type Edns,
  encodeMessage,
  flag,
  headerBytes,
  opcodeMask,
  plainUdpBytes,
  type Question,
  rcode,
  rcodeMask,
  readU16,
  recordType,
  writeU16,
} from './message.ts';
import { DnsFormatError, foldName, readName } from './name.ts';

/** What we can take over UDP, told in EDNS: fits any path (DNS flag day 2020). */
const ownUdpBytes = 1232;
/** Bytes of our OPT record, which has no options. */
const optBytes = 11;
/** An answer's record up to its data: pointer to the question's name, type, class, TTL, length. */
const recordHeadBytes = 12;
/** The most that UDP over IPv4 carries. */
const maxUdpBytes = 65_507;

/** One well-formed question. */
export interface Query {
  /** The request as it came. */
  readonly bytes: Uint8Array;
  readonly id: number;
  readonly question: Question;
  /** The name in lower case. */
  readonly folded: string;
  /** Where the question section ends. */
  readonly questionEnd: number;
  readonly edns: Edns | undefined;
}

/** A question; or the bytes that refuse the request; or undefined where silence is the only answer. */
export type Request = { readonly query: Query } | { readonly refusal: Uint8Array } | undefined;

/** Flags of an answer to a request with `flags`. */
function replyFlags(flags: number, code: number): number {
  const kept = flags & (opcodeMask | flag.recursionDesired | flag.checkingDisabled);
  return flag.response | flag.recursionAvailable | kept | (code & rcodeMask);
}

function refuse(bytes: Uint8Array, code: number): Request {
  const refusal = new Uint8Array(headerBytes);
  writeU16(refusal, 0, readU16(bytes, 0));
  writeU16(refusal, 2, replyFlags(readU16(bytes, 2), code));
  return { refusal };
}

/** Looks at a request; `bytes` is kept in the result, not copied. */
export function readRequest(bytes: Uint8Array): Request {
  if (bytes.length < headerBytes) return undefined;
  const flags = readU16(bytes, 2);
  if ((flags & flag.response) !== 0) return undefined;
  if ((flags & opcodeMask) !== 0) return refuse(bytes, rcode.notImplemented);
  try {
    const { questions, edns, id } = decodeMessage(bytes);
    const [question] = questions;
    if (question === undefined || questions.length > 1) return refuse(bytes, rcode.formatError);
    const questionEnd = readName(bytes, headerBytes).end + 4;
    const query = { bytes, id, question, folded: foldName(question.name), questionEnd, edns };
    if (edns !== undefined && edns.version > 0)
      return { refusal: encodeReply(query, rcode.badVersion, 0, [], plainUdpBytes) };
    return { query };
  } catch (error) {
    if (error instanceof DnsFormatError) return refuse(bytes, rcode.formatError);
    throw error;
  }
}

/** The most bytes that an answer over UDP may have. */
export function udpLimit({ edns }: Query): number {
  return Math.min(Math.max(edns?.udpBytes ?? 0, plainUdpBytes), maxUdpBytes);
}

/**
 * An answer whose records all belong to the name asked for, `maxBytes` at most: records that do not fit are left out
 * and TC is set. `data` is the RDATA of each. Has an OPT record if the query has.
 */
export function encodeReply(
  query: Query,
  code: number,
  ttlS: number,
  data: readonly Uint8Array[],
  maxBytes: number,
): Uint8Array {
  const { bytes, question, questionEnd, edns } = query;
  const type = question.type === recordType.any ? undefined : question.type;
  const room = maxBytes - (edns === undefined ? 0 : optBytes);
  let length = questionEnd;
  let count = 0;
  for (const one of data) {
    if (length + recordHeadBytes + one.length > room) break;
    length += recordHeadBytes + one.length;
    count++;
  }
  const reply = new Uint8Array(length + (edns === undefined ? 0 : optBytes));
  reply.set(bytes.subarray(0, questionEnd));
  writeU16(reply, 2, replyFlags(readU16(bytes, 2), code) | (count < data.length ? flag.truncated : 0));
  writeU16(reply, 6, count);
  writeU16(reply, 8, 0);
  writeU16(reply, 10, edns === undefined ? 0 : 1);
  let at = questionEnd;
  for (let i = 0; i < count; i++) {
    const one = data[i] as Uint8Array;
    writeU16(reply, at, 0xc000 | headerBytes);
    // Only addresses are ever given for ANY.
    writeU16(reply, at + 2, type ?? (one.length === 4 ? recordType.a : recordType.aaaa));
    writeU16(reply, at + 4, 1);
    writeU16(reply, at + 6, ttlS >>> 16);
    writeU16(reply, at + 8, ttlS & 0xffff);
    writeU16(reply, at + 10, one.length);
    reply.set(one, at + recordHeadBytes);
    at += recordHeadBytes + one.length;
  }
  if (edns !== undefined) {
    // Root name, type, size; the upper bits of the code; version 0; DO as asked (RFC 3225); no options.
    writeU16(reply, at + 1, recordType.opt);
    writeU16(reply, at + 3, ownUdpBytes);
    reply[at + 5] = code >> 4;
    writeU16(reply, at + 7, edns.isDnssecOk ? 0x8000 : 0);
  }
  return reply;
}

/** The same request under another id. */
export function withId(bytes: Uint8Array, id: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  writeU16(copy, 0, id);
  return copy;
}

/**
 * True if `response` answers `query` as sent under `id`: id, opcode and question agree. A server that could not read
 * the question may leave it out of its error.
 */
export function isAnswerTo(query: Query, id: number, response: Uint8Array): boolean {
  if (response.length < headerBytes || readU16(response, 0) !== id) return false;
  const flags = readU16(response, 2);
  if ((flags & flag.response) === 0 || (flags & opcodeMask) !== 0) return false;
  const questions = readU16(response, 4);
  if (questions === 0) return (flags & rcodeMask) !== rcode.noError;
  if (questions !== 1) return false;
  try {
    const { name, end } = readName(response, headerBytes);
    if (end + 4 > response.length) return false;
    const isSame = readU16(response, end) === query.question.type;
    return isSame && readU16(response, end + 2) === query.question.class && foldName(name) === query.folded;
  } catch (error) {
    if (error instanceof DnsFormatError) return false;
    throw error;
  }
}

export function rcodeOf(response: Uint8Array): number {
  return readU16(response, 2) & rcodeMask;
}

export function isTruncated(response: Uint8Array): boolean {
  return (readU16(response, 2) & flag.truncated) !== 0;
}

/** Another server's answer as the asker may have it: under the asker's id, cut to `maxBytes` if it is longer. */
export function passOn(query: Query, response: Uint8Array, maxBytes: number): Uint8Array {
  if (response.length <= maxBytes) return withId(response, query.id);
  try {
    return encodeMessage({ ...decodeMessage(response), id: query.id }, maxBytes);
  } catch (error) {
    if (!(error instanceof DnsFormatError)) throw error;
    const reply = encodeReply(query, rcodeOf(response), 0, [], maxBytes);
    writeU16(reply, 2, readU16(reply, 2) | flag.truncated);
    return reply;
  }
}
