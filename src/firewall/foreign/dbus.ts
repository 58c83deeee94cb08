/*
 * One method call on the D-Bus system bus: connect, authenticate as our uid, say hello, call, read the answer, close.
 * Arguments are strings; answers are strings, arrays of strings, or nothing. Not a general client: no signals, no
 * other types. D-Bus Specification 0.42, sections "Message Protocol" and "Authentication Protocol".
 */
import { connect, type Socket } from 'node:net';
import { getuid } from 'node:process';

/** One call of a method. Its replies are text values in order: a string is one value, an array of strings many. */
export interface BusCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly args: readonly string[];
}

const methodCall = 1;
const methodReturn = 2;
const errorReply = 3;
/** Header field codes. */
const field = {
  path: 1,
  interface: 2,
  member: 3,
  error: 4,
  replySerial: 5,
  destination: 6,
  signature: 8,
} as const;
const callTimeoutMs = 10_000;

function padded(bytes: Buffer, to: number): Buffer {
  const rest = bytes.length % to;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(to - rest)]);
}

/** u32 length, bytes, NUL: types `s` and `o`. */
function encodeString(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes, Buffer.alloc(1)]);
}

/** u8 length, bytes, NUL: type `g`. */
const encodeSignature = (text: string): Buffer =>
  Buffer.concat([Buffer.from([text.length]), Buffer.from(text), Buffer.alloc(1)]);

/** A struct (y, v) of the header array; structs start at a multiple of 8. */
function encodeField(code: number, type: 's' | 'o' | 'g', value: string): Buffer {
  const head = Buffer.concat([Buffer.from([code]), encodeSignature(type)]);
  return Buffer.concat([head, type === 'g' ? encodeSignature(value) : encodeString(value)]);
}

/**
 * Little-endian message: u8 'l', u8 type, u8 flags, u8 version 1, u32 body length, u32 serial, u32 length of the
 * header fields, the fields, padding to 8, body.
 */
export function encodeCall(call: BusCall, serial: number): Buffer {
  const fields = [
    encodeField(field.path, 'o', call.path),
    encodeField(field.interface, 's', call.interface),
    encodeField(field.member, 's', call.member),
    encodeField(field.destination, 's', call.destination),
    ...(call.args.length === 0 ? [] : [encodeField(field.signature, 'g', 's'.repeat(call.args.length))]),
  ];
  const fieldBytes = fields.reduce((all, next) => Buffer.concat([padded(all, 8), next]), Buffer.alloc(0));
  const body = call.args.reduce(
    (all, arg) => Buffer.concat([padded(all, 4), encodeString(arg)]),
    Buffer.alloc(0),
  );
  const head = Buffer.alloc(16);
  head.write('l', 0);
  head.writeUInt8(methodCall, 1);
  head.writeUInt8(1, 3);
  head.writeUInt32LE(body.length, 4);
  head.writeUInt32LE(serial, 8);
  head.writeUInt32LE(fieldBytes.length, 12);
  return Buffer.concat([padded(Buffer.concat([head, fieldBytes]), 8), body]);
}

export interface BusMessage {
  readonly type: number;
  readonly replySerial: number | undefined;
  readonly error: string | undefined;
  /** Strings of the body; other types are left out. */
  readonly values: readonly string[];
  /** Bytes that the message took. */
  readonly length: number;
}

function readString(bytes: Buffer, at: number): { readonly text: string; readonly end: number } {
  const start = Math.ceil(at / 4) * 4;
  const length = bytes.readUInt32LE(start);
  return { text: bytes.toString('utf8', start + 4, start + 4 + length), end: start + 4 + length + 1 };
}

function readBody(body: Buffer, signature: string): readonly string[] {
  if (signature.startsWith('as')) {
    const values: string[] = [];
    const end = 4 + body.readUInt32LE(0);
    for (let at = 4; at < end; ) {
      const next = readString(body, at);
      values.push(next.text);
      at = next.end;
    }
    return values;
  }
  return signature.startsWith('s') ? [readString(body, 0).text] : [];
}

/** The first message in `bytes`; undefined if it is not complete yet. Little-endian only, as buses on this machine are. */
export function decodeMessage(bytes: Buffer): BusMessage | undefined {
  if (bytes.length < 16) return undefined;
  const bodyLength = bytes.readUInt32LE(4);
  const fieldsEnd = 16 + bytes.readUInt32LE(12);
  const bodyStart = Math.ceil(fieldsEnd / 8) * 8;
  if (bytes.length < bodyStart + bodyLength) return undefined;
  let replySerial: number | undefined;
  let error: string | undefined;
  let signature = '';
  for (let at = 16; at < fieldsEnd; ) {
    at = Math.ceil(at / 8) * 8;
    const code = bytes.readUInt8(at);
    const type = bytes.toString('latin1', at + 2, at + 3);
    at += 4;
    if (type === 'u') {
      if (code === field.replySerial) replySerial = bytes.readUInt32LE(at);
      at += 4;
    } else if (type === 'g') {
      const length = bytes.readUInt8(at);
      if (code === field.signature) signature = bytes.toString('latin1', at + 1, at + 1 + length);
      at += length + 2;
    } else {
      const { text, end } = readString(bytes, at);
      if (code === field.error) error = text;
      at = end;
    }
  }
  const body = bytes.subarray(bodyStart, bodyStart + bodyLength);
  return {
    type: bytes.readUInt8(1),
    replySerial,
    error,
    values: readBody(body, signature),
    length: bodyStart + bodyLength,
  };
}

const hello: BusCall = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
  member: 'Hello',
  args: [],
};

/** Sends both messages after the handshake and waits for the answer to the second. */
function converse(socket: Socket, call: BusCall): Promise<readonly string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
  let isAuthenticated = false;
  let pending: Buffer = Buffer.alloc(0);
  socket.setTimeout(callTimeoutMs, () => reject(new Error(`${call.member}: no answer from the bus`)));
  socket.on('error', reject);
  socket.on('close', () => reject(new Error(`${call.member}: the bus closed the connection`)));
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    if (!isAuthenticated) {
      const end = pending.indexOf('\r\n');
      if (end < 0) return;
      const line = pending.toString('latin1', 0, end);
      if (!line.startsWith('OK')) return reject(new Error(`the bus refused us: ${line}`));
      isAuthenticated = true;
      pending = pending.subarray(end + 2);
      socket.write(Buffer.concat([Buffer.from('BEGIN\r\n'), encodeCall(hello, 1), encodeCall(call, 2)]));
    }
    for (let message = decodeMessage(pending); message !== undefined; message = decodeMessage(pending)) {
      pending = pending.subarray(message.length);
      if (message.replySerial !== 2) continue;
      if (message.type === methodReturn) resolve(message.values);
      if (message.type === errorReply)
        reject(new Error(`${message.error ?? 'error'}: ${message.values.join(' ')}`));
    }
  });
  const uid = Buffer.from(String(getuid?.() ?? 0)).toString('hex');
  socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
  return promise;
}

/** Strings of the answer; undefined if there is no system bus. Rejects with the error name and text of the callee. */
export async function callBus(call: BusCall): Promise<readonly string[] | undefined> {
  const socket = connect('/run/dbus/system_bus_socket');
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
  } catch {
    return undefined;
  }
  try {
    return await converse(socket, call);
  } finally {
    socket.destroy();
  }
}
