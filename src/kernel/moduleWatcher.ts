/*
 * Tells when a kernel module was loaded: its uevent, which the kernel sends once the module has set itself up. The socket
 * has a filter, so that uevents of links, of which each pair makes a dozen, wake nobody. Contract: lib/kobject_uevent.c,
 * kernel/module/main.c (do_init_module).
 *
 *   uevent   "add@/module/br_netfilter" NUL "ACTION=add" NUL …
 */
import { closeSync } from 'node:fs';
import { errnoName } from './errno.ts';
import { type FilterInstruction, linux } from './libc.ts';
import { openNetlinkFd, type SocketContext } from './netlinkSocket.ts';

/** The multicast group of what the kernel itself sends; udev's is another. */
const kernelGroup = 1;
/** BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K. */
const [load, equals, end] = [0x20, 0x15, 0x06] as const;
const wholePacket = 0xffffffff;

/** A filter (SO_ATTACH_FILTER) that takes what begins with these words of four bytes. */
function takesWords(words: readonly string[]): readonly FilterInstruction[] {
  return [
    ...words.flatMap((word, i): readonly FilterInstruction[] => [
      { code: load, k: 4 * i },
      // To the instruction that drops it, which is the last: after those of later words, and the one that takes it.
      { code: equals, ifNot: 2 * (words.length - 1 - i) + 1, k: Buffer.from(word, 'latin1').readUInt32BE() },
    ]),
    { code: end, k: wholePacket },
    { code: end, k: 0 },
  ];
}

/** Calls `onLoaded` after one module or several, until disposed. */
export function watchModules({ libc, buffer }: SocketContext, onLoaded: () => void): Disposable {
  const fd = openNetlinkFd(libc, linux.NETLINK_KOBJECT_UEVENT, kernelGroup);
  // Without it everything would be taken, and more often be nothing.
  libc.attachFilter(fd, takesWords(['add@', '/mod', 'ule/']));
  const poll = libc.poll(fd, () => {
    let count = 0;
    for (;;) {
      const isThere = libc.recv(fd, buffer, buffer.length, linux.MSG_DONTWAIT) >= 0;
      if (!isThere && errnoName(libc.errno()) !== 'ENOBUFS') break;
      count++;
    }
    if (count > 0) onLoaded();
  });
  return {
    [Symbol.dispose]: () => {
      poll[Symbol.dispose]();
      closeSync(fd);
    },
  };
}
