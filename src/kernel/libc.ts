/*
 * The libc calls that Node has no words for, through koffi: sockets of families that Node does not know, namespaces,
 * mounts. Everything else (open, close, stat, /proc) is node:fs. All of Linkspan's foreign calls are in this file and
 * in libnftables.ts; a wrong type here is a crash of the process.
 * A buffer is passed by address for the length of a call: synchronous calls keep it alive, `sendLater` retains it.
 */
import koffi from 'koffi';
import { errnoName } from './errno.ts';
import { KernelError } from './kernel.ts';

/** Constants of x86-64 and arm64 (the generic ABI); see socket(2), unshare(2), mount(2). */
export const linux = {
  AF_UNIX: 1,
  AF_INET: 2,
  AF_INET6: 10,
  AF_NETLINK: 16,
  AF_PACKET: 17,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOCK_RAW: 3,
  SOCK_NONBLOCK: 0x800,
  SOCK_CLOEXEC: 0x80000,
  NETLINK_ROUTE: 0,
  NETLINK_NETFILTER: 12,
  NETLINK_KOBJECT_UEVENT: 15,
  NETLINK_GENERIC: 16,
  SOL_SOCKET: 1,
  SO_REUSEADDR: 2,
  SO_TYPE: 3,
  SO_RCVBUF: 8,
  SO_ATTACH_FILTER: 26,
  SO_ACCEPTCONN: 30,
  SO_ATTACH_BPF: 50,
  SO_SNDBUF: 7,
  SO_SNDBUFFORCE: 32,
  SO_RCVBUFFORCE: 33,
  SO_DOMAIN: 39,
  IPPROTO_IP: 0,
  IP_MTU_DISCOVER: 10,
  IP_PMTUDISC_DONT: 0,
  IP_PMTUDISC_PROBE: 3,
  IPPROTO_ICMP: 1,
  SOL_RAW: 255,
  ICMP_FILTER: 1,
  IPPROTO_IPV6: 41,
  IPV6_V6ONLY: 26,
  IPPROTO_SCTP: 132,
  SOL_NETLINK: 270,
  NETLINK_ADD_MEMBERSHIP: 1,
  NETLINK_LISTEN_ALL_NSID: 8,
  NETLINK_CAP_ACK: 10,
  NETLINK_EXT_ACK: 11,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  SCM_RIGHTS: 1,
  SIOCOUTQ: 0x5411,
  MFD_CLOEXEC: 1,
  MFD_ALLOW_SEALING: 2,
  F_ADD_SEALS: 1033,
  F_SEAL_SEAL: 1,
  F_SEAL_SHRINK: 2,
  F_SEAL_GROW: 4,
  F_SEAL_WRITE: 8,
  CLONE_FILES: 0x400,
  CLONE_NEWNET: 0x40000000,
  MS_BIND: 0x1000,
  MNT_DETACH: 2,
  MADV_DONTNEED: 4,
} as const;

/** One of a classic BPF program (linux/filter.h); `ifNot`: how many to pass over where a comparison fails. */
export interface FilterInstruction {
  readonly code: number;
  readonly ifNot?: number;
  readonly k: number;
}

type IntCall = (...args: (number | bigint | string | Uint8Array | null)[]) => number;

/** Calls return -1 on failure; `check` turns that into a KernelError. */
export interface Libc {
  readonly socket: (family: number, type: number, protocol: number) => number;
  readonly bind: (fd: number, address: Uint8Array, length: number) => number;
  readonly listen: (fd: number, backlog: number) => number;
  readonly connect: (fd: number, address: Uint8Array, length: number) => number;
  readonly getsockname: (fd: number, address: Uint8Array, length: Uint8Array) => number;
  readonly getsockopt: (
    fd: number,
    level: number,
    option: number,
    value: Uint8Array,
    length: Uint8Array,
  ) => number;
  readonly setsockopt: (
    fd: number,
    level: number,
    option: number,
    value: Uint8Array,
    length: number,
  ) => number;
  readonly send: (fd: number, bytes: Uint8Array, length: number, flags: number) => number;
  readonly sendto: (
    fd: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
    address: Uint8Array,
    addressLength: number,
  ) => number;
  readonly recv: (fd: number, bytes: Uint8Array, length: number, flags: number) => number;
  /** Loads a socket filter that takes no packet (bpf(2), BPF_PROG_LOAD) and returns its descriptor; -1 where it may not. */
  readonly loadDropAll: () => number;
  /**
   * Attaches a socket filter that takes no packet: `program` of `loadDropAll`, or for -1 one of the socket's own
   * (SO_ATTACH_FILTER), which costs 80 microseconds more, since the kernel compiles it each time.
   */
  readonly dropAll: (fd: number, program: number) => number;
  /** Attaches a socket filter (SO_ATTACH_FILTER). */
  readonly attachFilter: (fd: number, instructions: readonly FilterInstruction[]) => number;
  /** `messages` is an array of struct mmsghdr; what its pointers lead to must stay referenced by the caller. */
  readonly recvmmsg: (
    fd: number,
    messages: Uint8Array,
    count: number,
    flags: number,
    timeout: null,
  ) => number;
  readonly sendmmsg: (fd: number, messages: Uint8Array, count: number, flags: number) => number;
  /** Where a buffer's bytes are, for pointers inside other buffers. Keeps nothing alive. */
  readonly addressOf: (bytes: Uint8Array) => bigint;
  /** `header` is a struct msghdr; what its pointers lead to must stay referenced by the caller. */
  readonly recvmsg: (fd: number, header: Uint8Array, flags: number) => number;
  /** As `recvmsg`. */
  readonly sendmsg: (fd: number, header: Uint8Array, flags: number) => number;
  /** A request with an int as its answer. */
  readonly ioctl: (fd: number, request: number, answer: Uint8Array) => number;
  readonly fcntl: (fd: number, command: number, argument: number) => number;
  /** A file in memory (glibc 2.27). */
  readonly memfdCreate: (name: string, flags: number) => number;
  /** A descriptor that stands for a process (Linux 5.3). */
  readonly pidfdOpen: (pid: number) => number;
  /** A descriptor of ours for what `fd` is in the process of `pidFd` (Linux 5.6), closed on exec. */
  readonly pidfdGetfd: (pidFd: number, fd: number) => number;
  readonly unshare: (flags: number) => number;
  readonly setns: (fd: number, type: number) => number;
  readonly mount: (source: string, target: string, type: null, flags: number, data: null) => number;
  readonly umount2: (target: string, flags: number) => number;
  readonly mkfifo: (path: string, mode: number) => number;
  readonly madvise: (address: bigint, length: bigint, advice: number) => number;
  /** errno of this thread's last failed call. */
  readonly errno: () => number;
  /** Sends from a thread of libuv's pool and resolves with send's result; `bytes` stays referenced meanwhile. */
  readonly sendLater: (fd: number, bytes: Uint8Array) => Promise<number>;
  /** Calls `onReadable` whenever `fd` has something to read, until disposed. Must stay referenced: koffi closes a collected one. */
  readonly poll: (fd: number, onReadable: () => void) => Disposable;
}

export function loadLibc(): Libc {
  const lib = koffi.load(null);
  const call = (definition: string): IntCall => lib.func(definition) as IntCall;
  const setsockopt = call('int setsockopt(int, int, int, void *, uint32_t)');
  const syscall = call('long syscall(long, int, void *, uint32_t)');
  const syscallOfInts = call('long syscall(long, int, int, uint32_t)');
  const sendFunction = lib.func('intptr_t send(int, void *, size_t, int)');
  const attachFilter: Libc['attachFilter'] = (fd, given) => {
    const program = filterProgram(given);
    const result = setsockopt(fd, linux.SOL_SOCKET, linux.SO_ATTACH_FILTER, program.header, 16);
    // Naming the instructions here keeps them alive until the call is over.
    return program.instructions.length > 0 ? result : -1;
  };
  return {
    socket: call('int socket(int, int, int)'),
    bind: call('int bind(int, void *, uint32_t)'),
    listen: call('int listen(int, int)'),
    getsockopt: call('int getsockopt(int, int, int, void *, void *)'),
    setsockopt,
    loadDropAll: () => {
      const { attributes, instructions, license } = dropAllAttributes();
      const result = syscall(bpfNumber, BPF_PROG_LOAD, attributes, attributes.length);
      // Naming them here keeps them alive until the call is over.
      return instructions.length + license.length > 0 ? result : -1;
    },
    dropAll: (fd, shared) => {
      if (shared >= 0) {
        const descriptor = Buffer.alloc(4);
        descriptor.writeInt32LE(shared);
        return setsockopt(fd, linux.SOL_SOCKET, linux.SO_ATTACH_BPF, descriptor, 4);
      }
      return attachFilter(fd, [{ code: 6, k: 0 }]);
    },
    attachFilter,
    connect: call('int connect(int, void *, uint32_t)'),
    getsockname: call('int getsockname(int, void *, void *)'),
    send: sendFunction as IntCall,
    sendto: call('intptr_t sendto(int, void *, size_t, int, void *, uint32_t)'),
    recv: call('intptr_t recv(int, void *, size_t, int)'),
    recvmmsg: call('int recvmmsg(int, void *, unsigned int, int, void *)'),
    sendmmsg: call('int sendmmsg(int, void *, unsigned int, int)'),
    addressOf: (bytes) => koffi.address(bytes),
    recvmsg: call('intptr_t recvmsg(int, void *, int)'),
    sendmsg: call('intptr_t sendmsg(int, void *, int)'),
    ioctl: call('int ioctl(int, unsigned long, void *)'),
    fcntl: call('int fcntl(int, int, int)'),
    memfdCreate: call('int memfd_create(const char *, unsigned int)'),
    pidfdOpen: (pid) => syscallOfInts(pidfdOpenNumber, pid, 0, 0),
    pidfdGetfd: (pidFd, fd) => syscallOfInts(pidfdGetfdNumber, pidFd, fd, 0),
    unshare: call('int unshare(int)'),
    setns: call('int setns(int, int)'),
    mount: call('int mount(const char *, const char *, const char *, unsigned long, void *)'),
    umount2: call('int umount2(const char *, int)'),
    mkfifo: call('int mkfifo(const char *, unsigned int)'),
    madvise: call('int madvise(uintptr_t, size_t, int)'),
    errno: () => koffi.errno(),
    sendLater: (fd, bytes) => sendFromPool(sendFunction.async as AsyncSend, fd, bytes),
    poll: (fd, onReadable) => {
      // Koffi calls from outside any callback scope, after which Node does not run what promises have queued: a
      // continuation would wait for the next event of another kind. An immediate follows at once and has a scope.
      let isOpen = true;
      const read = (): void => {
        if (isOpen) onReadable();
      };
      const handle = koffi.node.poll(fd, { readable: true }, () => void setImmediate(read));
      return {
        [Symbol.dispose]: () => {
          isOpen = false;
          handle.stop();
          handle.close();
        },
      };
    },
  };
}

/**
 * sock_fprog (0 u16 count | 8 address) of sock_filters (0 u16 code | 2 u8 jump if true | 3 u8 jump if false | 4 u32 k).
 * The header holds the instructions' address without keeping them alive.
 */
function filterProgram(
  given: readonly FilterInstruction[],
): Readonly<Record<'header' | 'instructions', Uint8Array>> {
  const instructions = Buffer.alloc(8 * given.length);
  for (const [i, { code, ifNot = 0, k }] of given.entries()) {
    instructions.writeUInt16LE(code, 8 * i);
    instructions.writeUInt8(ifNot, 8 * i + 3);
    instructions.writeUInt32LE(k, 8 * i + 4);
  }
  const header = Buffer.alloc(16);
  header.writeUInt16LE(given.length, 0);
  header.writeBigUInt64LE(koffi.address(instructions), 8);
  return { header, instructions };
}

/** Of pidfd_open(2) and pidfd_getfd(2), which glibc does not wrap before 2.36; the same on all architectures. */
const pidfdOpenNumber = 434;
const pidfdGetfdNumber = 438;

/** Of bpf(2), which glibc does not wrap. */
const bpfNumber = process.arch === 'arm64' ? 280 : 321;
const BPF_PROG_LOAD = 5;

/**
 * union bpf_attr (0 u32 type: 1 = socket filter | 4 u32 count | 8 address of the instructions | 16 address of the
 * license | zeros) of `r0 = 0; exit`. The attributes hold the addresses without keeping what is there alive.
 */
function dropAllAttributes(): Readonly<Record<'attributes' | 'instructions' | 'license', Uint8Array>> {
  const instructions = Buffer.alloc(16);
  instructions[0] = 0xb7;
  instructions[8] = 0x95;
  const license = Buffer.from('Apache-2.0\0');
  const attributes = Buffer.alloc(48);
  attributes.writeUInt32LE(1, 0);
  attributes.writeUInt32LE(2, 4);
  attributes.writeBigUInt64LE(koffi.address(instructions), 8);
  attributes.writeBigUInt64LE(koffi.address(license), 16);
  return { attributes, instructions, license };
}

type AsyncSend = (
  fd: number,
  bytes: Uint8Array,
  length: number,
  flags: number,
  done: (error: Error | null, result: number) => void,
) => void;

function sendFromPool(send: AsyncSend, fd: number, bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    send(fd, bytes, bytes.length, 0, (error, result) => {
      // Naming `bytes` here keeps it alive until the call is over.
      if (error !== null) reject(error);
      else if (bytes.length > 0) resolve(result);
    });
  });
}

/** `result`, unless it is negative: then throws the thread's errno. */
export function check(libc: Libc, operation: string, result: number): number {
  if (result < 0) throw new KernelError(operation, errnoName(libc.errno()));
  return result;
}
