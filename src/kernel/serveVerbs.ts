/*
 * A worker's side of the protocol: what it starts with, and running the verbs that come, in their order.
 */
import { writeFileSync } from 'node:fs';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { Seam } from '../base/seam.ts';
import { asKernelError } from './errno.ts';
import type { Call, Operations, Verb, WorkerMessage, WorkerStart } from './protocol.ts';

export interface WorkerThread {
  readonly port: MessagePort;
  readonly post: (message: WorkerMessage) => void;
  readonly seam: Seam;
}

/** Takes what openKernel gave this thread, its name among it. Throws where this is no worker. */
export function enterThread(): WorkerThread {
  if (parentPort === null) throw new Error('this runs in a worker thread only');
  const port = parentPort;
  const { seam, threadName } = workerData as WorkerStart;
  writeFileSync('/proc/thread-self/comm', threadName);
  return { port, post: (message) => port.postMessage(message), seam: new Seam(seam.plan, seam.shared) };
}

/** Runs one verb; its answer is posted at once, or when the promise that it returned settles. */
export function serveVerb<Verbs extends Verb>(
  operations: Operations<Verbs>,
  { id, verb, args }: Call<Verbs>,
  post: (message: WorkerMessage) => void,
): void {
  const startedMs = performance.now();
  const elapsedMs = (): number => performance.now() - startedMs;
  const fail = (error: unknown): void => {
    const { message, code } = asKernelError(verb, error);
    post({ type: 'failure', id, failure: { message, code }, durationMs: elapsedMs() });
  };
  const succeed = (value: unknown): void => {
    post({ type: 'result', id, value, durationMs: elapsedMs() });
  };
  try {
    const run = operations[verb] as (...args: readonly unknown[]) => unknown;
    const value = run(...args);
    if (value instanceof Promise) value.then(succeed, fail);
    else succeed(value);
  } catch (error) {
    fail(error);
  }
}
