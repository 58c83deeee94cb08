/*
 * What carries encrypted overlay networks: one WireGuard device of this node, in a namespace where nothing else is, and the
 * nodes of the swarm as its peers. The node makes its key; the public half goes to managers in the node's own session, and
 * to the others with what they are told of nodes. The device is there while an encrypted network of this host needs it.
 *
 *   the host's namespace     the tunnels' namespace                     an overlay's namespace
 *   UDP socket          <--- device, 100.64.0.0/10, VXLAN's socket <--- vxlan0 ---- br0
 *
 * What is for a peer without a session waits or is dropped: it cannot leave in clear, since there is no other way out.
 */
import { setMaxListeners } from 'node:events';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import type { RepairLog } from '../../base/repairLog.ts';
import type { NodeTunnel, SwarmNetworks, SwarmNode, TunnelOffer } from '../../cluster/swarmNetworks.ts';
import { type PublicKey, parsePublicKey, presharedKeyOf } from '../../codec/wireguard/key.ts';
import type { Carrier } from '../../drivers/overlay/carrier.ts';
import type { Underlay } from '../../drivers/overlay/segments.ts';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import type { TunnelGuard } from '../../firewall/tunnelGuard.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { formatHostPort, parseHostPort } from '../../net/hostPort.ts';
import type { Ip } from '../../net/ip.ts';
import type { EngineChoice, Tunnel, TunnelPeer, Tunnels } from '../../tunnels/tunnel.ts';
import type { Encryption, TunnelPath } from '../engine.ts';
import type { TunnelKeys } from './tunnelKeys.ts';
import { pathTo } from './tunnelPath.ts';

export interface EncryptedCarrierDependencies {
  /** Disposed of with the carrier. */
  readonly tunnels: Tunnels;
  readonly keys: TunnelKeys;
  readonly swarm: SwarmNetworks;
  readonly kernel: Pick<Kernel, 'createNamespace' | 'removeNamespace' | 'hasNamespace'>;
  /** Of VXLAN packets in the tunnels' namespace. */
  readonly guard: TunnelGuard;
  /** Of the host, which carries the tunnels. */
  readonly underlay: () => Underlay;
  readonly namespace: string;
  readonly makeFolder: (path: string) => Promise<unknown>;
  /** Of the device; unique on the machine. */
  readonly name: string;
  /** Owner mark of the device. */
  readonly alias: string;
  /** UDP, of the tunnels. */
  readonly port: number;
  /** The same on all nodes, 16 bytes or more: each pair has a preshared key made of it. */
  readonly secret?: Uint8Array;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly repairs: Pick<RepairLog, 'record'>;
}

/** 100.64.0.0/10 (RFC 6598): nobody else's, since nothing else is in the namespace. */
const inside = { bits: 0x64400000n, length: 10 } as const;
/** Outer IPv6 (40) and UDP (8), WireGuard's header (16) and tag (16). IPv4 takes 20 less. */
const headerBytes = 80;
/** How long a container waits for a manager to take this node's key. */
const patienceMs = 5000;
/** A node has a key for as long, and looks at its age as often. */
const keyLifeMs: number = 7 * 24 * 3_600_000;
const ageCheckMs = 3_600_000;
/** How long the old key of a node is known beside its new one. */
const retireMs = 3000;
/** After a failure. */
const againMs = 1000;

/** Of a node inside the tunnels, made of the number that managers gave it. */
export function insideAddressOf(tunnel: Pick<NodeTunnel, 'number'> | undefined): Ip | undefined {
  return tunnel === undefined ? undefined : insideAddress(tunnel.number);
}

function insideAddress(number: number): Ip {
  return { family: 4, bits: inside.bits + BigInt(number) };
}

interface ToldPeer {
  readonly peer: TunnelPeer;
  /** Of all that it is made of. */
  readonly text: string;
}

interface Made {
  readonly nodeId: string;
  readonly number: number;
  readonly mtuBytes: number;
}

/** By node. */
type ToldPeers = ReadonlyMap<string, ToldPeer>;

export class EncryptedCarrier implements Carrier, Encryption, Disposable {
  readonly guard: TunnelGuard;
  readonly namespace: string;
  readonly #deps: EncryptedCarrierDependencies;
  readonly #mutex = new KeyedMutex();
  readonly #listeners = new DisposableStack();
  readonly #stopping = new AbortController();
  /** Networks of this host that need it. */
  readonly #holders = new Set<string>();
  #tunnel: Tunnel | undefined;
  /** What the device was made with; kept until nobody needs it. */
  #made: Made | undefined;
  /** What the device was told; undefined where that is not known. */
  #peers: ToldPeers | undefined;
  #isSettling = false;
  #isKnown = (): boolean => false;
  /** What was told last; undefined: nothing yet of this membership. */
  #offered: TunnelOffer | undefined;
  #hasEngine: boolean | undefined;

  constructor(deps: EncryptedCarrierDependencies) {
    this.#deps = deps;
    this.guard = deps.guard;
    this.namespace = deps.namespace;
    setMaxListeners(0, this.#stopping.signal);
    this.#listeners.use(deps.swarm.events.on('nodes', () => this.#settleSoon()));
  }

  /** Once this node's membership is known. `isKnown`: false as long as it is not known whether it is a member. */
  start(isKnown: () => boolean): void {
    this.#isKnown = isKnown;
    this.#settleSoon();
    void this.#rotateInTime();
  }

  /** The device goes on, for the next daemon. */
  [Symbol.dispose](): void {
    this.#stopping.abort();
    this.#listeners.dispose();
    this.#tunnel?.[Symbol.dispose]();
    this.#deps.tunnels[Symbol.dispose]();
  }

  /** Which engine it is or would be. */
  async engine(): Promise<EngineChoice> {
    return this.#tunnel === undefined
      ? await this.#deps.tunnels.findEngine()
      : { engine: this.#tunnel.engine };
  }

  /** Throws code tunnelUnavailable, with the reason, where this machine cannot encrypt. */
  async check(): Promise<void> {
    const choice = await this.engine();
    this.#hasEngine = choice.engine !== undefined;
    if (choice.engine === undefined)
      throw new LinkspanError(
        'tunnelUnavailable',
        `an encrypted network needs WireGuard, which this machine has not: ${choice.reason}`,
      );
  }

  /** While the device is there, what it was when it was made: a node that joins changes nothing for networks that are up. */
  underlay(): Underlay {
    const { port, mtuBytes } = this.#deps.underlay();
    const others = this.#nodes().flatMap(({ tunnel }) => tunnel?.mtuBytes ?? []);
    const now = { number: this.#own()?.tunnel?.number ?? 0, mtuBytes: Math.min(mtuBytes, ...others) };
    const { number, mtuBytes: least } = this.#made ?? now;
    return { address: insideAddress(number), mtuBytes: least, headerBytes, port };
  }

  async hold(networkId: string): Promise<void> {
    await this.#mutex.run('', async () => {
      // What fails is undone by `release`, or tried again: it is needed.
      this.#holders.add(networkId);
      await this.#open();
    });
  }

  async release(networkId: string): Promise<void> {
    await this.#mutex.run('', async () => {
      if (this.#holders.delete(networkId) && this.#holders.size === 0) await this.#close();
    });
  }

  /** Another key from now on: nothing is lost, and what was recorded before cannot be read with the new one. */
  async rotateKey(): Promise<void> {
    const { keys, swarm, logger } = this.#deps;
    await this.#mutex.run('', async () => {
      const { dataPath } = swarm;
      if (dataPath === undefined) throw new LinkspanError('noSwarm', 'this node is in no swarm');
      const unreachable = (): LinkspanError =>
        new LinkspanError('managerUnreachable', 'no manager answers, who would tell the other nodes');
      if (!swarm.isInTouch) throw unreachable();
      const before = await keys.of(dataPath.nodeId);
      const { privateKey, publicKey } = await keys.renew(dataPath.nodeId);
      const isTold = (): boolean => this.#own()?.tunnel?.publicKey === publicKey;
      try {
        // In this order: docs/adr/0017-wireguard-engines.md.
        await this.#tunnel?.setPrivateKey(privateKey);
        await this.#offer();
        if (!(await this.#until(isTold))) throw unreachable();
      } catch (error) {
        // The others know the old one.
        await keys.restore(dataPath.nodeId, before);
        await this.#tunnel?.setPrivateKey(before.privateKey);
        await this.#offer();
        throw error;
      }
      if (this.#tunnel !== undefined) await this.#program(this.#tunnel);
      logger.info({ node: dataPath.nodeId }, 'the encrypted tunnels of this node have another key');
    });
  }

  async paths(): Promise<readonly TunnelPath[]> {
    const { swarm, clock } = this.#deps;
    const states = new Map((await this.#tunnel?.peers())?.map((state) => [String(state.publicKey), state]));
    return this.#nodes()
      .filter(({ id }) => id !== swarm.dataPath?.nodeId)
      .map((node) => pathTo(node, states.get(node.tunnel?.publicKey ?? ''), clock.nowMs()))
      .toSorted((a, b) => (a.hostname < b.hostname ? -1 : 1));
  }

  async #rotateInTime(): Promise<void> {
    const { clock, keys, swarm, logger } = this.#deps;
    const { signal } = this.#stopping;
    while (!signal.aborted)
      try {
        await clock.sleep(ageCheckMs, signal);
        const { dataPath } = swarm;
        if (dataPath === undefined || this.#tunnel === undefined) continue;
        const { madeAtMs } = await keys.of(dataPath.nodeId);
        if (swarm.isInTouch && clock.nowMs() - madeAtMs >= keyLifeMs) await this.rotateKey();
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error }, 'could not change the key of the encrypted tunnels');
      }
  }

  async sweep(): Promise<void> {
    await this.#mutex.run('', async () => {
      if (this.#holders.size === 0) await this.#close();
    });
  }

  #nodes(): readonly SwarmNode[] {
    return this.#deps.swarm.nodes;
  }

  #own(): SwarmNode | undefined {
    const { swarm } = this.#deps;
    return swarm.findNode(swarm.dataPath?.nodeId ?? '');
  }

  /** After what was told or changed just now; once for several. */
  #settleSoon(): void {
    if (this.#isSettling || this.#stopping.signal.aborted) return;
    this.#isSettling = true;
    queueMicrotask(() => void this.#settleUntilDone());
  }

  async #settleUntilDone(): Promise<void> {
    const { clock, logger } = this.#deps;
    this.#isSettling = false;
    try {
      await this.#mutex.run('', () => this.#settle());
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      // It was lost before anybody listened.
      if (hasCode(error, 'tunnelLost')) this.#tunnel = undefined;
      logger.warn({ err: error }, 'could not follow the swarm with the encrypted tunnels; it is tried again');
      await clock.sleep(againMs, this.#stopping.signal).catch(() => {});
      this.#settleSoon();
    }
  }

  async #settle(): Promise<void> {
    const { swarm, keys } = this.#deps;
    if (swarm.dataPath === undefined) {
      // It may be a member that could not be taken up.
      if (!this.#isKnown()) return;
      this.#offered = undefined;
      swarm.offerTunnel(undefined);
      await this.#close();
      await keys.forget();
      return;
    }
    await this.#offer();
    const { number } = this.#own()?.tunnel ?? {};
    if (number === undefined) return;
    await keys.noteNumber(swarm.dataPath.nodeId, number);
    const { nodeId, number: made } = this.#made ?? { nodeId: swarm.dataPath.nodeId, number };
    // Another membership, or a store that was set back.
    if (nodeId !== swarm.dataPath.nodeId || made !== number) this.#letGo();
    if (this.#holders.size > 0) await this.#open();
    if (this.#tunnel !== undefined) await this.#program(this.#tunnel);
  }

  /** What there is, is to be taken up anew. */
  #letGo(): void {
    this.#tunnel?.[Symbol.dispose]();
    this.#tunnel = undefined;
    this.#made = undefined;
  }

  /** Says what this node has, where that is news. */
  async #offer(): Promise<void> {
    const { swarm, keys, port, underlay } = this.#deps;
    const { dataPath } = swarm;
    if (dataPath === undefined || !(await this.#canEncrypt())) return;
    const { address, mtuBytes } = underlay();
    const { publicKey } = await keys.of(dataPath.nodeId);
    const offer: TunnelOffer = { publicKey, mtuBytes, endpoints: [formatHostPort({ ip: address, port })] };
    if (isDeepStrictEqual(offer, this.#offered)) return;
    this.#offered = offer;
    swarm.offerTunnel(offer);
  }

  /** As the system said when it was asked last: by `check`, and once before. */
  async #canEncrypt(): Promise<boolean> {
    if (this.#tunnel !== undefined) return true;
    this.#hasEngine ??= (await this.#deps.tunnels.findEngine()).engine !== undefined;
    return this.#hasEngine;
  }

  async #open(): Promise<void> {
    const { tunnels, keys, swarm, kernel, namespace, name, alias, port, underlay, logger } = this.#deps;
    if (this.#tunnel !== undefined && (await kernel.hasNamespace(namespace))) return;
    await this.check();
    await this.#offer();
    const number = await this.#number();
    const nodeId = swarm.dataPath?.nodeId ?? '';
    const { privateKey } = await keys.of(nodeId);
    const { mtuBytes } = this.underlay();
    // One whose namespace somebody took away.
    this.#tunnel?.[Symbol.dispose]();
    this.#tunnel = undefined;
    await this.#ensureNamespace();
    let tunnel: Tunnel;
    try {
      tunnel = await tunnels.open({
        ...{ name, namespace, alias, privateKey, port },
        mtuBytes: underlay().mtuBytes - headerBytes,
        addresses: [{ ip: insideAddress(number), length: inside.length }],
      });
    } catch (error) {
      if (this.#holders.size === 0) await kernel.removeNamespace(namespace);
      throw error;
    }
    this.#tunnel = tunnel;
    this.#made = { nodeId, number, mtuBytes };
    this.#peers = undefined;
    tunnel.events.on('lost', ({ cause }) => {
      if (this.#tunnel !== tunnel) return;
      this.#tunnel = undefined;
      logger.error({ cause }, 'the encrypted tunnels are gone: nothing leaves until they are made again');
      void this.#openAgain(cause);
    });
    await this.#program(tunnel);
  }

  async #ensureNamespace(): Promise<void> {
    const { kernel, namespace, makeFolder, guard } = this.#deps;
    if (await kernel.hasNamespace(namespace)) return;
    await makeFolder(dirname(namespace));
    await kernel.createNamespace(namespace);
    await guard.rewrite();
  }

  /** Nobody waits for it. */
  async #openAgain(cause: string): Promise<void> {
    const { clock, logger, repairs, name } = this.#deps;
    for (;;) {
      try {
        await this.#mutex.run('', async () => {
          if (this.#holders.size === 0 || this.#stopping.signal.aborted) return;
          await this.#open();
          repairs.record({ kind: 'tunnel', object: name, cause: `${cause}: made again`, trigger: 'event' });
        });
        return;
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        logger.error({ err: error }, 'the encrypted tunnels cannot be made');
      }
      await clock.sleep(againMs, this.#stopping.signal).catch(() => {});
    }
  }

  async #close(): Promise<void> {
    const { tunnels, kernel, name, namespace } = this.#deps;
    const tunnel = this.#tunnel;
    this.#tunnel = undefined;
    this.#made = undefined;
    if (tunnel !== undefined) await tunnel.close();
    else await tunnels.remove(name, namespace);
    await kernel.removeNamespace(namespace);
  }

  /** Of this node, once a manager has taken its key. */
  async #number(): Promise<number> {
    const { swarm, keys } = this.#deps;
    const find = (): number | undefined => this.#own()?.tunnel?.number;
    const kept = (await keys.of(swarm.dataPath?.nodeId ?? '')).number;
    if (kept === undefined) await this.#until(() => find() !== undefined);
    const number = find() ?? kept;
    if (number !== undefined) return number;
    throw new LinkspanError(
      'managerUnreachable',
      'no manager has taken the public key of this node, so that others could decrypt what it sends',
    );
  }

  /** False if what nodes there are has not become so within five seconds. */
  async #until(isIt: () => boolean): Promise<boolean> {
    const { swarm, clock } = this.#deps;
    const late = new AbortController();
    const known = Promise.withResolvers<void>();
    const look = (): void => {
      if (isIt()) known.resolve();
    };
    using _listening = swarm.events.on('nodes', look);
    clock.sleep(patienceMs, late.signal).then(known.resolve, () => {});
    look();
    await known.promise;
    late.abort();
    return isIt();
  }

  async #program(tunnel: Tunnel): Promise<void> {
    const { swarm, keys } = this.#deps;
    const self = swarm.dataPath?.nodeId ?? '';
    const own = (await keys.of(self)).publicKey;
    // Nobody has told of nodes yet: those that the device has are right until then.
    if (this.#nodes().length === 0) return;
    const nodes = this.#nodes().filter(({ id }) => id !== self);
    const wanted = new Map(nodes.flatMap((node) => this.#peersOf(node, own)));
    const before = this.#peers;
    this.#peers = undefined;
    if (before === undefined) await tunnel.setPeers([...wanted.values()].map(({ peer }) => peer));
    else await this.#change(tunnel, before, wanted);
    this.#peers = wanted;
  }

  /** Only what is new is said, since the device may know better where the others are. */
  async #change(tunnel: Tunnel, before: ToldPeers, wanted: ToldPeers): Promise<void> {
    const put = [...wanted].flatMap(([id, { text, peer }]) =>
      before.get(id)?.text === text ? [] : { id, peer },
    );
    const gone = [...before].flatMap(([id, { peer }]) => (wanted.has(id) ? [] : peer.publicKey));
    if (put.length + gone.length === 0) return;
    await tunnel.changePeers({ put: put.map(({ peer }) => peer), remove: gone });
    const changed = put.flatMap(({ id, peer }) => {
      const old = before.get(id)?.peer.publicKey;
      return old === undefined || old === peer.publicKey ? [] : { old, now: peer.publicKey };
    });
    if (changed.length === 0) return;
    // One with another key than before cannot begin a session until it is heard from.
    await tunnel.wake(changed.map(({ now }) => now));
    void this.#retire(
      tunnel,
      changed.map(({ old }) => old),
    );
  }

  /** Of nodes that have another key by now: what is on its way under the old one is to get there. */
  async #retire(tunnel: Tunnel, old: readonly PublicKey[]): Promise<void> {
    const { clock, logger } = this.#deps;
    try {
      await clock.sleep(retireMs, this.#stopping.signal);
      await this.#mutex.run('', async () => {
        const inUse = new Set([...(this.#peers ?? [])].map(([, { peer }]) => peer.publicKey));
        const remove = old.filter((key) => !inUse.has(key));
        if (this.#tunnel === tunnel) await tunnel.changePeers({ remove });
      });
    } catch (error) {
      // The next `setPeers` does it.
      if (!this.#stopping.signal.aborted) logger.debug({ err: error }, 'could not remove an old key');
    }
  }

  /** None where it cannot encrypt. What was told already is as it was: nothing of it is computed again. */
  #peersOf({ id, tunnel }: SwarmNode, own: PublicKey): readonly [string, ToldPeer][] {
    const { secret } = this.#deps;
    const publicKey = parsePublicKey(tunnel?.publicKey ?? '');
    if (tunnel === undefined || publicKey === undefined) return [];
    const [first = ''] = tunnel.endpoints;
    const text = [own, publicKey, tunnel.number, first].join(' ');
    const known = this.#peers?.get(id);
    if (known?.text === text) return [[id, known]];
    const endpoint = parseHostPort(first);
    const peer: TunnelPeer = {
      ...{ publicKey, allowedIps: [{ base: insideAddress(tunnel.number), length: 32 }] },
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(secret === undefined ? {} : { presharedKey: presharedKeyOf(secret, own, publicKey) }),
    };
    return [[id, { peer, text }]];
  }
}
