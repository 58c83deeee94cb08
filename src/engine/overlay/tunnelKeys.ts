/*
 * The private key of this node's encrypted tunnels: made here, kept in this node's database (`tunnel/key`), and never told.
 * Another membership has another key.
 */
import type { Clock } from '../../base/clock.ts';
import {
  makeKey,
  type PublicKey,
  parseSecretKey,
  publicKeyOf,
  type SecretKey,
} from '../../codec/wireguard/key.ts';
import type { Store } from '../../store/store.ts';

interface KeyRecord {
  readonly nodeId: string;
  /** Base64. */
  readonly privateKey: string;
  readonly madeAtMs: number;
  /** That managers gave; absent until they did. */
  readonly number?: number;
}

export interface NodeKey {
  readonly privateKey: SecretKey;
  readonly publicKey: PublicKey;
  readonly madeAtMs: number;
  readonly number?: number;
}

const key = 'tunnel/key';

export class TunnelKeys {
  readonly #store: Store;
  readonly #clock: Clock;
  #known: { readonly nodeId: string; readonly key: NodeKey } | undefined;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Of this node as a member by that id; makes one if there is none. Rejects as the store does. */
  async of(nodeId: string): Promise<NodeKey> {
    if (this.#known?.nodeId === nodeId) return this.#known.key;
    const record = (await this.#store.get(key))?.value as KeyRecord | undefined;
    const privateKey = record?.nodeId === nodeId ? parseSecretKey(record.privateKey) : undefined;
    if (record === undefined || privateKey === undefined) return await this.renew(nodeId);
    return this.#note(nodeId, privateKey, record);
  }

  /** Another one, stored when it resolves. */
  async renew(nodeId: string): Promise<NodeKey> {
    const number = this.#known?.nodeId === nodeId ? this.#known.key.number : undefined;
    return await this.#write(nodeId, makeKey(), { madeAtMs: this.#clock.nowMs(), ...withNumber(number) });
  }

  /** Back to one that it was: the other nodes know it. */
  async restore(nodeId: string, { privateKey, madeAtMs, number }: NodeKey): Promise<NodeKey> {
    return await this.#write(nodeId, privateKey, { madeAtMs, ...withNumber(number) });
  }

  /** So that a daemon that nobody tells knows it. */
  async noteNumber(nodeId: string, number: number): Promise<void> {
    const { privateKey, madeAtMs, number: known } = await this.of(nodeId);
    if (known !== number) await this.#write(nodeId, privateKey, { madeAtMs, number });
  }

  /** This node is a member no more. */
  async forget(): Promise<void> {
    if (this.#known === undefined && (await this.#store.get(key)) === undefined) return;
    this.#known = undefined;
    await this.#store.txn({ write: [{ key, del: true }] });
  }

  async #write(nodeId: string, privateKey: SecretKey, more: KeyFacts): Promise<NodeKey> {
    const record: KeyRecord = { nodeId, privateKey: privateKey.revealBase64(), ...more };
    await this.#store.txn({ write: [{ key, put: record }] });
    return this.#note(nodeId, privateKey, more);
  }

  #note(nodeId: string, privateKey: SecretKey, { madeAtMs, number }: KeyFacts): NodeKey {
    const found: NodeKey = {
      privateKey,
      publicKey: publicKeyOf(privateKey),
      madeAtMs,
      ...withNumber(number),
    };
    this.#known = { nodeId, key: found };
    return found;
  }
}

type KeyFacts = Pick<KeyRecord, 'madeAtMs' | 'number'>;

function withNumber(number: number | undefined): { readonly number?: number } {
  return number === undefined ? {} : { number };
}
