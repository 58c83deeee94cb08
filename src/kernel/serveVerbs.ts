/*
 * A worker's side of the protocol: runs the verbs that come, in their order, and answers.
 */
import { asKernelError } from './errno.ts';
import type { Call, Operations, Verb, WorkerMessage } from './protocol.ts';

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
