/*
 * A tunnel over the device of either engine: turns wanted peers into changes, one after another, keeps paths fresh when
 * addresses of the host change, and tells once when the device is gone.
 */
import { Events } from '../base/events.ts';
import { KeyedMutex } from '../base/mutex.ts';
import type { WireguardChange, WireguardPeerState } from '../codec/wireguard/device.ts';
import type { PublicKey, SecretKey } from '../codec/wireguard/key.ts';
import { LinkspanError, messageOf } from '../errors/linkspanError.ts';
import { containsIp, linkLocal6 } from '../net/prefix.ts';
import type { TunnelContext, TunnelDevice } from './device.ts';
import { type KnownPeers, knownOf, type PeerPlan, planFreshPaths, planPeers, planWake } from './peerPlan.ts';
import type { Tunnel, TunnelEngine, TunnelEvents, TunnelPeer } from './tunnel.ts';

/** Changes of addresses come several at once, the old one's end before the new one's begin. */
const settleMs = 30;

export class WireguardTunnel implements Tunnel {
  readonly name: string;
  readonly events: Events<TunnelEvents> = new Events();
  readonly #device: TunnelDevice;
  readonly #context: TunnelContext;
  readonly #queue = new KeyedMutex();
  readonly #listeners = new DisposableStack();
  #known: KnownPeers;
  #state: 'open' | 'lost' | 'closed' = 'open';
  #isFreshenDue = false;

  private constructor(name: string, device: TunnelDevice, context: TunnelContext, known: KnownPeers) {
    this.name = name;
    this.#device = device;
    this.#context = context;
    this.#known = known;
  }

  /** Over a device that is up, which is the tunnel's from now on. */
  static async over(name: string, device: TunnelDevice, context: TunnelContext): Promise<WireguardTunnel> {
    const { peers } = await device.state();
    const tunnel = new WireguardTunnel(name, device, context, knownOf(peers));
    tunnel.#listen();
    return tunnel;
  }

  get engine(): TunnelEngine {
    return this.#device.engine;
  }

  #listen(): void {
    const { events } = this.#context.kernel;
    this.#listeners.use(
      events.on('address', ({ address }) => {
        if (!containsIp(linkLocal6, address.ip)) this.#freshenSoon();
      }),
    );
    this.#listeners.use(events.on('overrun', () => this.#freshenSoon()));
    void this.#device.gone.then((cause) => this.#lose(cause));
  }

  #lose(cause: string): void {
    if (this.#state !== 'open') return;
    this.#state = 'lost';
    this.#listeners.dispose();
    this.#context.logger.warn({ link: this.name, cause }, 'an encrypted tunnel was lost');
    this.#device.release();
    this.events.emit('lost', { cause });
  }

  #freshenSoon(): void {
    if (this.#isFreshenDue) return;
    this.#isFreshenDue = true;
    const { clock, logger } = this.#context;
    const freshen = async (): Promise<void> => {
      await clock.sleep(settleMs);
      this.#isFreshenDue = false;
      if (this.#state !== 'open') return;
      await this.#do(async () => {
        const { peers } = await this.#device.state();
        await this.#set({ peers: planFreshPaths(peers, clock.nowMs()) });
      });
    };
    freshen().catch((error: unknown) => {
      this.#isFreshenDue = false;
      if (this.#state === 'open')
        logger.warn({ link: this.name, err: messageOf(error) }, 'paths of a tunnel were not renewed');
    });
  }

  /** One after another. Code tunnelLost where the device is gone. */
  #do<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue.run('', async () => {
      if (this.#state !== 'open') throw this.#lostError();
      try {
        return await work();
      } catch (error) {
        if (this.#isOver()) throw this.#lostError(error);
        throw error;
      }
    });
  }

  #isOver(): boolean {
    return this.#state !== 'open';
  }

  #lostError(cause?: unknown): LinkspanError {
    const what = this.#state === 'lost' ? 'was lost' : 'is closed';
    return new LinkspanError('tunnelLost', `the encrypted tunnel ${this.name} ${what}`, { cause });
  }

  async #set(change: WireguardChange): Promise<void> {
    const isNothing = change.privateKey === undefined && change.peers?.length === 0;
    if (!isNothing) await this.#device.set(change);
  }

  async #apply({ changes, known }: PeerPlan): Promise<void> {
    try {
      await this.#set({ peers: changes });
      this.#known = known;
    } catch (error) {
      // Some of it may have been done.
      const state = await this.#device.state().catch(() => undefined);
      if (state !== undefined) this.#known = knownOf(state.peers);
      throw error;
    }
  }

  setPeers(peers: readonly TunnelPeer[]): Promise<void> {
    return this.#do(async () => {
      const state = await this.#device.state();
      const wanted = new Set(peers.map(({ publicKey }) => publicKey));
      const gone = state.peers.map(({ publicKey }) => publicKey).filter((key) => !wanted.has(key));
      await this.#apply(planPeers(knownOf(state.peers), peers, gone));
    });
  }

  changePeers({
    put = [],
    remove = [],
  }: {
    readonly put?: readonly TunnelPeer[];
    readonly remove?: readonly PublicKey[];
  }): Promise<void> {
    return this.#do(() => this.#apply(planPeers(this.#known, put, remove)));
  }

  wake(peers: readonly PublicKey[]): Promise<void> {
    return this.#do(() => this.#set({ peers: planWake(this.#known, peers) }));
  }

  setPrivateKey(privateKey: SecretKey): Promise<void> {
    return this.#do(() => this.#set({ privateKey: privateKey.reveal() }));
  }

  peers(): Promise<readonly WireguardPeerState[]> {
    return this.#do(async () => (await this.#device.state()).peers);
  }

  async close(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closed';
    this.#listeners.dispose();
    await this.#queue.run('', () => this.#device.remove());
  }

  [Symbol.dispose](): void {
    if (this.#state === 'open') this.#state = 'closed';
    this.#listeners.dispose();
    this.#device.release();
  }
}
