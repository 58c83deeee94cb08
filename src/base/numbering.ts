/*
 * Numbers that somebody else gives out and may give to another later: each stands for the last that was noted with it,
 * and each owner has one. Every step costs the same, however many there are.
 */

export class Numbering<Owner> {
  readonly #owners = new Map<number, Owner>();
  readonly #numbers = new Map<Owner, number>();

  /** From now on. */
  note(owner: Owner, number: number): void {
    this.forget(owner);
    this.#owners.set(number, owner);
    this.#numbers.set(owner, number);
  }

  ownerOf(number: number): Owner | undefined {
    return this.#owners.get(number);
  }

  numberOf(owner: Owner): number | undefined {
    return this.#numbers.get(owner);
  }

  /** The number may be another's already. */
  forget(owner: Owner): void {
    const number = this.#numbers.get(owner);
    if (number === undefined) return;
    this.#numbers.delete(owner);
    if (this.#owners.get(number) === owner) this.#owners.delete(number);
  }
}
