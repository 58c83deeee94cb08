/*
 * A node's calls to its manager: sends them while a session is there, a few at a time, and settles what was asked when
 * the answer comes, the session ends, or the time is over.
 */
import type { Clock } from '../../base/clock.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Link } from './link.ts';
import { type Answer, type Calls, toError } from './wire.ts';

/** Under way at once, of those that a manager takes. */
const mostUnderWay = 64;

interface Pending {
  readonly text: string;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: LinkspanError) => void;
}

export function unreachable(): LinkspanError {
  return new LinkspanError('managerUnreachable', 'no manager of the swarm answers');
}

export class CallBox {
  readonly #link: Link;
  readonly #underWay = new Map<number, Pending>();
  readonly #waiting: (Pending & { readonly id: number })[] = [];
  #lastId = 0;
  #isOver = false;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Rejects with what the manager refused, or code managerUnreachable where the session ends first. */
  call<M extends keyof Calls>(method: M, params: Calls[M]['params']): Promise<Calls[M]['result']> {
    if (this.#isOver) return Promise.reject(unreachable());
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = ++this.#lastId;
    this.#waiting.push({
      id,
      text: JSON.stringify({ type: 'call', id, method, params }),
      resolve,
      reject,
    });
    this.#sendOn();
    return promise as Promise<Calls[M]['result']>;
  }

  answer({ id, result, error }: Answer): void {
    const pending = this.#underWay.get(id);
    if (pending === undefined) return;
    this.#underWay.delete(id);
    if (error === undefined) pending.resolve(result);
    else pending.reject(toError(error));
    this.#sendOn();
  }

  /** The session is over. */
  end(): void {
    this.#isOver = true;
    for (const { reject } of [...this.#underWay.values(), ...this.#waiting]) reject(unreachable());
    this.#underWay.clear();
    this.#waiting.length = 0;
  }

  #sendOn(): void {
    while (this.#underWay.size < mostUnderWay) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#underWay.set(next.id, next);
      this.#link.send(next.text);
    }
  }
}

/** As `promise`, or code managerUnreachable after `ms`. */
export async function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = clock.sleep(ms, over.signal).then(
    () => {
      throw unreachable();
    },
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    over.abort();
  }
}
