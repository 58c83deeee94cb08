/*
 * One question to one upstream server over a socket of its own, which draws a fresh random port: with the random id an
 * answer cannot be guessed from afar. Connected, so that the kernel takes nothing from another address and tells of a
 * closed port at once. For the DNS worker's thread.
 */
import { Socket } from 'node:net';
import { isAnswerTo } from '../codec/dns/query.ts';
import { errnoName } from '../kernel/errno.ts';
import { openConnected } from '../kernel/ipSockets.ts';
import { KernelError } from '../kernel/kernel.ts';
import { type Libc, linux } from '../kernel/libc.ts';
import type { ThreadContext } from '../kernel/namespaces.ts';
import { parseIp } from '../net/ip.ts';
import type { FdRegister } from './fdRegister.ts';
import type { Exchange } from './forwarder.ts';
import { FrameReader, frame } from './frames.ts';

const dnsPort = 53;
const maxMessageBytes = 65_535;

type Call = Parameters<Exchange>[0];

function connect(context: ThreadContext, { upstream, transport }: Call): number {
  const ip = parseIp(upstream.address);
  if (ip === undefined) throw new TypeError(`not an address: ${upstream.address}`);
  return openConnected(context, upstream.namespace, transport, ip, dnsPort);
}

/** The answer, if it has come; other datagrams are dropped. Throws KernelError where the server's host refused. */
function readAnswer(libc: Libc, fd: number, buffer: Uint8Array, { query, id }: Call): Uint8Array | undefined {
  for (;;) {
    const n = libc.recv(fd, buffer, buffer.length, linux.MSG_DONTWAIT);
    if (n < 0) {
      const code = errnoName(libc.errno());
      if (code === 'EAGAIN') return undefined;
      throw new KernelError('recv', code);
    }
    const response = buffer.subarray(0, n);
    if (isAnswerTo(query, id, response)) return response.slice();
  }
}

function askUdp(
  context: ThreadContext,
  fds: FdRegister,
  buffer: Uint8Array,
  call: Call,
): Promise<Uint8Array> {
  const { libc } = context;
  const fd = connect(context, call);
  fds.add(fd);
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      poll[Symbol.dispose]();
      fds.close(fd);
    };
    const poll = libc.poll(fd, () => {
      try {
        const answer = readAnswer(libc, fd, buffer, call);
        if (answer === undefined) return;
        end();
        resolve(answer);
      } catch (error) {
        end();
        reject(error);
      }
    });
    const timer = setTimeout(() => {
      end();
      reject(new KernelError('recv', 'ETIMEDOUT'));
    }, call.timeoutMs);
    if (libc.send(fd, call.bytes, call.bytes.length, linux.MSG_DONTWAIT) >= 0) return;
    const code = errnoName(libc.errno());
    end();
    reject(new KernelError('send', code));
  });
}

function askTcp(context: ThreadContext, call: Call): Promise<Uint8Array> {
  const socket = new Socket({ fd: connect(context, call) });
  return new Promise((resolve, reject) => {
    const reader = new FrameReader(maxMessageBytes);
    const timer = setTimeout(() => socket.destroy(new KernelError('read', 'ETIMEDOUT')), call.timeoutMs);
    socket.on('data', (chunk: Buffer) => {
      for (const message of reader.push(chunk)) {
        if (!isAnswerTo(call.query, call.id, message)) continue;
        resolve(message);
        socket.destroy();
      }
    });
    socket.on('error', reject);
    socket.on('close', () => {
      clearTimeout(timer);
      reject(new KernelError('read', 'ECONNRESET'));
    });
    socket.write(frame(call.bytes));
  });
}

/** An Exchange over real sockets; port 53 of every server. */
export function openExchange(context: ThreadContext, fds: FdRegister): Exchange {
  const buffer = new Uint8Array(new ArrayBuffer(maxMessageBytes));
  return async (call) =>
    call.transport === 'udp' ? await askUdp(context, fds, buffer, call) : await askTcp(context, call);
}
