/*
 * Host ports held by bound sockets, so that no program of the host can take what is published, and so that the kernel
 * says what is taken already. Plain descriptors: nothing of theirs is in an event loop. A socket filter drops all that
 * reaches them, so that a packet that meets no translation (somebody flushed the firewall) is repeated by its sender
 * until it does, instead of being refused. TCP on IPv6 is only bound and refuses: what reaches it is the host's own ::1
 * where that cannot be translated, and whose programs should go on to 127.0.0.1 at once. Contract: socket(7), ip(7), ipv6(7).
 *
 *   sockaddr_in    0 u16 family | 2 u16 port, big-endian | 4 address | 8 zero                    16 bytes
 *   sockaddr_in6   0 u16 family | 2 u16 port, big-endian | 4 u32 flow | 8 address | 24 u32 scope   28 bytes
 */
import { closeSync } from 'node:fs';
import type { Seam } from '../base/seam.ts';
import { formatIp, type Ip, ipToBytes } from '../net/ip.ts';
import { asKernelError, hasErrno } from './errno.ts';
import type { HostPort, RefusedPort } from './kernel.ts';
import { check, type Libc, linux } from './libc.ts';

function socketAddress(ip: Ip, port: number): Uint8Array {
  const is4 = ip.family === 4;
  const bytes = Buffer.alloc(is4 ? 16 : 28);
  bytes.writeUInt16LE(is4 ? linux.AF_INET : linux.AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipToBytes(ip), is4 ? 4 : 8);
  return bytes;
}

const one = Buffer.from([1, 0, 0, 0]);

/** One per thread. Dispose closes all. */
export class HostPorts implements Disposable {
  readonly #libc: Libc;
  readonly #seam: Seam;
  readonly #held = new Map<string, number>();
  /** The filter of all sockets; -1 where the kernel does not let us load one. */
  readonly #filter: number;

  constructor(libc: Libc, seam: Seam) {
    this.#libc = libc;
    this.#seam = seam;
    this.#filter = libc.loadDropAll();
  }

  /** All or none: the first that is refused, or undefined. What this process holds already counts as held. */
  hold(ports: readonly HostPort[]): RefusedPort | undefined {
    const taken: HostPort[] = [];
    for (const port of ports) {
      if (this.#held.has(nameOf(port))) continue;
      try {
        this.#seam.step(`kernel bind ${nameOf(port)}`);
        const fd = this.#open(port);
        if (fd !== undefined) this.#held.set(nameOf(port), fd);
        taken.push(port);
      } catch (error) {
        this.release(taken);
        return { port, code: asKernelError(`bind ${nameOf(port)}`, error).code };
      }
    }
    return undefined;
  }

  /** Success if not held. */
  release(ports: readonly HostPort[]): void {
    for (const port of ports) {
      const fd = this.#held.get(nameOf(port));
      if (fd === undefined) continue;
      this.#held.delete(nameOf(port));
      closeSync(fd);
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#held.values()) closeSync(fd);
    this.#held.clear();
    if (this.#filter >= 0) closeSync(this.#filter);
  }

  /** Undefined where the kernel has no such protocol: then no program of the host can have the port either. */
  #open(port: HostPort): number | undefined {
    if (port.ip.family === 4 || port.proto !== 'tcp') return this.#openAs(port, true);
    try {
      return this.#openAs(port, false);
    } catch (error) {
      // It may be free but for connections in TIME_WAIT.
      if (!hasErrno(error, 'EADDRINUSE')) throw error;
      return this.#openAs(port, true);
    }
  }

  #openAs(port: HostPort, swallows: boolean): number | undefined {
    const fd = this.#socket(port);
    if (fd === undefined) return undefined;
    try {
      this.#bind(fd, port, swallows);
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  #socket({ proto, ip }: HostPort): number | undefined {
    const family = ip.family === 4 ? linux.AF_INET : linux.AF_INET6;
    const type = proto === 'udp' ? linux.SOCK_DGRAM : linux.SOCK_STREAM;
    const number = proto === 'sctp' ? linux.IPPROTO_SCTP : 0;
    try {
      return check(
        this.#libc,
        `socket ${proto}`,
        this.#libc.socket(family, type | linux.SOCK_CLOEXEC, number),
      );
    } catch (error) {
      if (hasErrno(error, 'EPROTONOSUPPORT', 'EAFNOSUPPORT', 'ESOCKTNOSUPPORT')) return undefined;
      throw error;
    }
  }

  /** `swallows`: takes no packet and does not refuse any; else it is bound and nothing more. */
  #bind(fd: number, port: HostPort, swallows: boolean): void {
    const libc = this.#libc;
    const { ip, proto } = port;
    const set = (level: number, option: number): void =>
      void check(libc, `setsockopt ${option}`, libc.setsockopt(fd, level, option, one, 4));
    if (swallows) check(libc, 'attach filter', libc.dropAll(fd, this.#filter));
    if (ip.family === 6) set(linux.IPPROTO_IPV6, linux.IPV6_V6ONLY);
    // Connections of an earlier owner in TIME_WAIT do not count. For UDP the option would let others in beside us;
    // for the others listening keeps them out, which takes the option's effect away again.
    if (proto !== 'udp' && swallows) set(linux.SOL_SOCKET, linux.SO_REUSEADDR);
    const address = socketAddress(ip, port.port);
    check(libc, `bind ${nameOf(port)}`, libc.bind(fd, address, address.length));
    if (proto !== 'udp' && swallows) check(libc, `listen ${nameOf(port)}`, libc.listen(fd, 1));
  }
}

function nameOf({ proto, ip, port }: HostPort): string {
  return `${formatIp(ip)} ${port}/${proto}`;
}
