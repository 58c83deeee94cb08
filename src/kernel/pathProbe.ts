/*
 * Asks another host for an echo of packets of several lengths, and says which came back: how large a packet may be on the
 * way there and back. Changes nothing and counts as no step of the fault seam, like announce.ts: it is sent from timers, and
 * one that is lost tells something. For the kernel worker, which goes on meanwhile. Contract: raw(7), ip(7), icmp(7).
 */
import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { openSeam } from '../base/seam.ts';
import { decodeEchoReply, encodeEchoRequest, nonceBytes } from '../codec/icmp/echo.ts';
import { encodeSocketAddress } from './ipSockets.ts';
import type { PathProbe } from './kernel.ts';
import { check, type Libc, linux } from './libc.ts';
import { inNamespace, type NamespaceContext } from './namespaces.ts';

const largestPacketBytes = 65_535;
/** linux/icmp.h: bits of the types that the socket does not want; all but 0, the reply. */
const allButReplies = 0xfffffffe;

function setOption(libc: Libc, fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  check(libc, `setsockopt ${level} ${option}`, libc.setsockopt(fd, level, option, bytes, bytes.length));
}

function openEchoSocket(libc: Libc, { from, isWhole }: PathProbe): number {
  const type = linux.SOCK_RAW | linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC;
  const fd = check(libc, 'icmp socket', libc.socket(linux.AF_INET, type, linux.IPPROTO_ICMP));
  try {
    setOption(libc, fd, linux.SOL_RAW, linux.ICMP_FILTER, allButReplies);
    // Whole: whatever was learned of the way must not have the kernel split or refuse it.
    const discovery = isWhole ? linux.IP_PMTUDISC_PROBE : linux.IP_PMTUDISC_DONT;
    setOption(libc, fd, linux.IPPROTO_IP, linux.IP_MTU_DISCOVER, discovery);
    const address = encodeSocketAddress(from, 0);
    check(libc, 'bind icmp', libc.bind(fd, address, address.length));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Where there can be no poll (EMFILE), the socket is closed, and what `poll` throws is thrown. */
function pollOrClose(libc: Libc, fd: number, onReadable: () => void): Disposable {
  try {
    return libc.poll(fd, onReadable);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Those that are under way, so that they end with the worker. */
export class PathProber implements Disposable {
  readonly #context: NamespaceContext;
  readonly #buffer: Uint8Array = new Uint8Array(new ArrayBuffer(largestPacketBytes));
  readonly #running = new Set<() => void>();

  constructor(context: NamespaceContext) {
    // Entering a namespace is a step of the seam otherwise.
    this.#context = { ...context, seam: openSeam() };
  }

  [Symbol.dispose](): void {
    for (const end of this.#running) end();
  }

  /** As Kernel's `probePath`. */
  probe(probe: PathProbe): Promise<readonly number[]> {
    const { libc } = this.#context;
    const { sizes } = probe;
    const fd = inNamespace(this.#context, probe.namespace, () => openEchoSocket(libc, probe));
    const nonce = new Uint8Array(randomBytes(nonceBytes));
    const id = randomBytes(2).readUInt16BE();
    const answered = new Set<number>();
    return new Promise((resolve) => {
      const end = (): void => {
        this.#running.delete(end);
        clearTimeout(timer);
        poll[Symbol.dispose]();
        closeSync(fd);
        resolve(sizes.filter((size) => answered.has(size)));
      };
      const poll = pollOrClose(libc, fd, () => {
        this.#read(fd, (sequence) => answered.add(sizes[sequence] ?? 0), { id, nonce });
        if (answered.size === sizes.length) end();
      });
      const timer = setTimeout(end, probe.timeoutMs);
      this.#running.add(end);
      const address = encodeSocketAddress(probe.to, 0);
      for (const [sequence, size] of sizes.entries()) {
        const bytes = encodeEchoRequest({ id, sequence, nonce }, size);
        // One that the own link does not take (EMSGSIZE) is not answered, as one that is lost.
        libc.sendto(fd, bytes, bytes.length, linux.MSG_DONTWAIT, address, address.length);
      }
    });
  }

  #read(
    fd: number,
    onReply: (sequence: number) => void,
    own: { readonly id: number; readonly nonce: Uint8Array },
  ): void {
    for (;;) {
      const length = this.#context.libc.recv(fd, this.#buffer, this.#buffer.length, linux.MSG_DONTWAIT);
      if (length < 0) return;
      const reply = decodeEchoReply(this.#buffer.subarray(0, length));
      if (reply?.id === own.id && Buffer.compare(reply.nonce, own.nonce) === 0) onReply(reply.sequence);
    }
  }
}
