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
}

export interface NodeKey {
  readonly privateKey: SecretKey;
  readonly publicKey: PublicKey;
  readonly madeAtMs: number;
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
    return this.#note(nodeId, privateKey, record.madeAtMs);
  }

  /** Another one, stored when it resolves. */
  async renew(nodeId: string): Promise<NodeKey> {
    const privateKey = makeKey();
    const madeAtMs = this.#clock.nowMs();
    const record: KeyRecord = { nodeId, privateKey: privateKey.revealBase64(), madeAtMs };
    await this.#store.txn({ write: [{ key, put: record }] });
    return this.#note(nodeId, privateKey, madeAtMs);
  }

  /** This node is a member no more. */
  async forget(): Promise<void> {
    if (this.#known === undefined && (await this.#store.get(key)) === undefined) return;
    this.#known = undefined;
    await this.#store.txn({ write: [{ key, del: true }] });
  }

  #note(nodeId: string, privateKey: SecretKey, madeAtMs: number): NodeKey {
    const found: NodeKey = { privateKey, publicKey: publicKeyOf(privateKey), madeAtMs };
    this.#known = { nodeId, key: found };
    return found;
  }
}
