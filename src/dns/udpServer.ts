/*
 * DNS over UDP for one container: batches in, batches out. Answers that have to wait go out one by one.
 */
import { DatagramRing, ringSlots } from '../kernel/datagramRing.ts';
import type { Libc } from '../kernel/libc.ts';
import type { FdRegister } from './fdRegister.ts';
import type { Outcome } from './resolver.ts';

/** Batches taken in one turn, so that other containers and TCP get theirs. */
const batchesPerTurn = 4;

/** Serves on `fd`, a bound socket, which the result owns. `ring` is shared by the sockets of the thread. */
export function openUdpServer(
  libc: Libc,
  ring: DatagramRing,
  fds: FdRegister,
  fd: number,
  serve: (bytes: Uint8Array) => Outcome,
): Disposable {
  fds.add(fd);
  let isOpen = true;
  const send = (i: number, outcome: Outcome): void => {
    if (outcome instanceof Promise) {
      const sender = ring.sender(i);
      void outcome.then((answer) => {
        if (isOpen) ring.sendTo(fd, answer, sender);
      });
    } else if (outcome !== undefined && outcome.length > DatagramRing.answerBytes)
      ring.sendTo(fd, outcome, ring.sender(i));
    else if (outcome !== undefined) ring.answer(i, outcome);
  };
  const poll = libc.poll(fd, () => {
    for (let batch = 0; batch < batchesPerTurn; batch++) {
      const n = ring.receive(fd);
      for (let i = 0; i < n; i++) {
        const bytes = ring.datagram(i);
        if (bytes !== undefined) send(i, serve(bytes));
      }
      ring.flush(fd);
      if (n < ringSlots) return;
    }
  });
  return {
    [Symbol.dispose]: () => {
      isOpen = false;
      poll[Symbol.dispose]();
      fds.close(fd);
    },
  };
}
