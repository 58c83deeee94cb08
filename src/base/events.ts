/*
 * A typed event source: listeners by name, called in order of registration, synchronously.
 */

export class Events<M extends Record<string, unknown>> {
  readonly #listeners = new Map<keyof M, Set<(value: never) => void>>();

  /** Registers `listener`; disposing the result removes it. */
  on<K extends keyof M>(name: K, listener: (value: M[K]) => void): Disposable {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set);
    set.add(listener);
    return { [Symbol.dispose]: () => void set.delete(listener) };
  }

  emit<K extends keyof M>(name: K, value: M[K]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) (listener as (value: M[K]) => void)(value);
  }
}
