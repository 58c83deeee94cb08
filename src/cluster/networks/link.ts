/*
 * What a session between a node and a manager is to those who talk over it: messages in order until it ends. There is
 * one over a WebSocket, and one within a process for a manager's own node.
 */
export interface Link {
  /** JSON text. `sent` is called when it has left this side; never where the link has ended. */
  send(text: string | Buffer, sent?: () => void): void;
  /** What waits to leave, bytes. */
  readonly waitingBytes: number;
  /** Ends it: the other side broke the rules. */
  refuse(why: string): void;
  /** Ends it; the other side may begin again. */
  drop(): void;
  /** Once each, before the first message can come. `message` gets the value of the JSON, undefined if it was none. */
  listen(on: { readonly message: (value: unknown) => void; readonly end: () => void }): void;
}

class Side implements Link {
  readonly waitingBytes = 0;
  readonly #turn: (work: () => void) => void;
  #other: Side | undefined;
  #on: Parameters<Link['listen']>[0] | undefined;

  constructor(turn: (work: () => void) => void) {
    this.#turn = turn;
  }

  join(other: Side): void {
    this.#other = other;
  }

  send(text: string | Buffer, sent?: () => void): void {
    this.#turn(() => {
      const other = this.#other;
      if (other === undefined) return;
      sent?.();
      other.#on?.message(JSON.parse(String(text)));
    });
  }

  refuse(): void {
    this.drop();
  }

  drop(): void {
    const other = this.#other;
    if (other === undefined) return;
    this.#other = undefined;
    other.#other = undefined;
    this.#on?.end();
    other.#on?.end();
  }

  listen(on: Parameters<Link['listen']>[0]): void {
    this.#on = on;
  }
}

/** Both ends of a link within this process. `turn` runs work later, in order. */
export function localLink(turn: (work: () => void) => void): readonly [node: Link, manager: Link] {
  const [node, manager] = [new Side(turn), new Side(turn)];
  node.join(manager);
  manager.join(node);
  return [node, manager];
}
