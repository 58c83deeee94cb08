/*
 * Which devices were lost, and how long to wait before one of the same name is made again: at once after a long life,
 * else longer each time. Pure.
 */

/** After the first short life; doubled with each that follows. */
const pauseMs = { least: 200, most: 10_000 } as const;
/** What lived as long is made again at once. */
const longLifeMs = 60_000;

export class LossBook {
  readonly #losses = new Map<string, { readonly pauseMs: number; readonly atMs: number }>();

  note(name: string, bornMs: number, atMs: number): void {
    const lastMs = this.#losses.get(name)?.pauseMs ?? 0;
    const isLong = atMs - bornMs >= longLifeMs;
    const nextMs = isLong ? 0 : Math.min(Math.max(pauseMs.least, lastMs * 2), pauseMs.most);
    this.#losses.set(name, { pauseMs: nextMs, atMs });
  }

  /** 0 if it may be made now. */
  waitMs(name: string, nowMs: number): number {
    const loss = this.#losses.get(name);
    // A clock that was set back does not make it wait longer.
    return loss === undefined ? 0 : Math.max(0, Math.min(loss.pauseMs, loss.atMs + loss.pauseMs - nowMs));
  }
}
