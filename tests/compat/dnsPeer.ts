/*
 * A DNS client and server for tests: they speak to real sockets, with the project's codec, which has its own second
 * witness. No resolver stands between: what a test asks is what is sent.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { openSeam } from '../../src/base/seam.ts';
import {
  decodeMessage,
  type Edns,
  encodeMessage,
  flag,
  type Message,
  recordType,
} from '../../src/codec/dns/message.ts';
import { encodeName, readName } from '../../src/codec/dns/name.ts';
import { FrameReader, frame } from '../../src/dns/frames.ts';
import { openBound } from '../../src/kernel/ipSockets.ts';
import { loadLibc } from '../../src/kernel/libc.ts';
import { openHome } from '../../src/kernel/namespaces.ts';
import { formatIp, ipFromBytes, parseIp } from '../../src/net/ip.ts';

export interface DnsAnswer {
  readonly code: number;
  readonly isTruncated: boolean;
  readonly bytes: number;
  readonly answers: readonly { readonly ttlS: number; readonly text: string }[];
}

/** With how long it took. */
export interface TimedAnswer extends DnsAnswer {
  readonly ms: number;
}

/** A bound UDP socket with room for thousands of datagrams, which Node alone cannot ask for. */
function openUdp(address: string, port: number): Socket {
  const ip = parseIp(address);
  if (ip === undefined) throw new Error(`not an address: ${address}`);
  using home = openHome();
  const { fd } = openBound({ libc: loadLibc(), seam: openSeam(), home }, undefined, 'udp', ip, port);
  const socket = createSocket('udp4');
  socket.bind({ fd });
  return socket;
}

/** A question as bytes; with EDNS if `udpBytes` is given. */
export function newQuery(name: string, type: number, udpBytes: number | undefined, id: number): Uint8Array {
  const edns: Edns | undefined =
    udpBytes === undefined
      ? undefined
      : { udpBytes, version: 0, rcodeHigh: 0, isDnssecOk: false, options: new Uint8Array(0) };
  return encodeMessage(
    {
      ...{ id, flags: flag.recursionDesired, questions: [{ name, type, class: 1 }] },
      ...{ answers: [], authorities: [], additionals: [] },
      ...(edns === undefined ? {} : { edns }),
    },
    65535,
  );
}

export function toAnswer(bytes: Uint8Array): DnsAnswer {
  const { flags, answers } = decodeMessage(bytes);
  return {
    code: flags & 0xf,
    isTruncated: (flags & flag.truncated) !== 0,
    bytes: bytes.length,
    answers: answers.map(({ type, ttlS, data }) => {
      const isName = type === recordType.ptr;
      const isAddress = type === recordType.a || type === recordType.aaaa;
      const text = isName
        ? readName(Uint8Array.from([...new Uint8Array(12), ...data]), 12).name
        : isAddress
          ? formatIp(ipFromBytes(data))
          : `${data.length} bytes`;
      return { ttlS, text };
    }),
  };
}

/** One question, one answer; waits for ever. */
export async function askUdp(server: string, port: number, query: Uint8Array): Promise<Uint8Array> {
  const socket = createSocket('udp4');
  socket.send(query, port, server);
  const [answer] = (await once(socket, 'message')) as [Buffer];
  socket.close();
  return answer;
}

/** The same over a connection of its own. Rejects if that is closed without an answer. */
export async function askTcp(server: string, port: number, query: Uint8Array): Promise<Uint8Array> {
  const socket = connect(port, server);
  const reader = new FrameReader(65535);
  socket.write(frame(query));
  for await (const chunk of socket) {
    const [answer] = reader.push(chunk as Buffer);
    if (answer === undefined) continue;
    socket.destroy();
    return answer;
  }
  throw new Error('closed without an answer');
}

/** Number of answers by code, and how long the last one took, ms. */
export async function burst(
  server: string,
  name: string,
  count: number,
): Promise<{ readonly codes: Readonly<Record<string, number>>; readonly ms: number }> {
  const socket = openUdp('0.0.0.0', 0);
  const codes: Record<string, number> = {};
  const seen = new Set<number>();
  const start = performance.now();
  const done = Promise.withResolvers<void>();
  const stop = setTimeout(done.resolve, 20_000);
  socket.on('message', (bytes) => {
    const { id, flags } = decodeMessage(bytes);
    if (seen.has(id)) return;
    seen.add(id);
    const code = String(flags & 0xf);
    codes[code] = (codes[code] ?? 0) + 1;
    if (seen.size === count) done.resolve();
  });
  for (let id = 0; id < count; id++) {
    socket.send(newQuery(name, recordType.a, undefined, id), 53, server);
    // Nobody is to be flooded before he can run at all.
    if (id % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await done.promise;
  clearTimeout(stop);
  const ms = performance.now() - start;
  socket.close();
  return { codes, ms };
}

/** Every prefix of a query, every byte of it changed in five ways, and random bytes. */
export async function throwMalformed(
  server: string,
): Promise<{ readonly sent: number; readonly received: number; readonly longest: number }> {
  const query = newQuery('web', recordType.a, 1400, 1);
  const packets = [
    ...Array.from({ length: query.length }, (_, i) => query.slice(0, i)),
    ...Array.from({ length: query.length }, (_, i) =>
      [0, 1, 0x3f, 0xc0, 0xff].map((value) => {
        const copy = query.slice();
        copy[i] = value;
        return copy;
      }),
    ).flat(),
    ...Array.from({ length: 200 }, (_, i) => Uint8Array.from({ length: 12 + i }, () => Math.random() * 256)),
    new Uint8Array(4000).fill(0xc0),
  ];
  const socket = openUdp('0.0.0.0', 0);
  let received = 0;
  let longest = 0;
  socket.on('message', (bytes) => {
    received++;
    longest = Math.max(longest, bytes.length);
  });
  for (const packet of packets) {
    socket.send(packet, 53, server);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
  socket.close();
  for (const packet of packets.slice(0, 200)) {
    const stream = connect(53, server);
    stream.on('error', () => undefined);
    stream.end(packet);
    stream.resume();
    await once(stream, 'close');
  }
  return { sent: packets.length, received, longest };
}

/** What the server answers: `names` = an address for every name, 100 TXT records for `big`; or always one code. */
function respond(bytes: Uint8Array, mode: string): Message | undefined {
  const query = decodeMessage(bytes);
  const [question] = query.questions;
  const { edns: _none, ...plain } = query;
  const base: Message = { ...plain, flags: 0x8180 };
  if (question === undefined || mode === 'silent') return undefined;
  if (mode === 'refuse') return { ...base, flags: 0x8185 };
  if (question.name.startsWith('slow')) return undefined;
  const record = { ...question, ttlS: 30 };
  if (question.type === recordType.txt)
    return {
      ...base,
      answers: Array.from({ length: 100 }, () => ({ ...record, data: encodeName('x'.repeat(60)) })),
    };
  if (question.type === recordType.a)
    return { ...base, answers: [{ ...record, data: Uint8Array.of(198, 51, 100, 7) }] };
  return base;
}

/** A server on port 53 of `address`, UDP and TCP; disposing ends it. */
export async function serveNames(address: string, mode: string): Promise<Disposable> {
  const udp = openUdp(address, 53);
  udp.on('message', (bytes, { port, address: from }) => {
    const answer = respond(bytes, mode);
    const { edns } = decodeMessage(bytes);
    if (answer !== undefined) udp.send(encodeMessage(answer, edns?.udpBytes ?? 512), port, from);
  });
  const tcp = createServer((socket) => {
    const reader = new FrameReader(65535);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      for (const message of reader.push(chunk)) {
        const answer = respond(message, mode);
        if (answer !== undefined) socket.write(frame(encodeMessage(answer, 65535)));
      }
    });
  });
  tcp.listen(53, address);
  await once(tcp, 'listening');
  return {
    [Symbol.dispose]: () => {
      udp.close();
      tcp.close();
    },
  };
}
