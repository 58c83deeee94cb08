/*
 * What carries encrypted overlay networks, and others to nodes that no other way leads to: one WireGuard device of this
 * node, in a namespace where nothing else is, and the nodes of the swarm as its peers. The node makes its key; the public half goes to managers in the node's own session, and
 * to the others with what they are told of nodes. The device is there while a network of this host needs it, or nodes
 * behind NAT need this one as their relay. Which path leads to which node is found out in tunnelPaths.ts.
 *
 *   the host's namespace     the tunnels' namespace                     an overlay's namespace
 *   UDP socket          <--- device, 100.64.0.0/10, VXLAN's socket <--- vxlan0 ---- br0
 *
 * What is for a peer without a session waits or is dropped: it cannot leave in clear, since there is no other way out.
 */
import { setMaxListeners } from 'node:events';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Condition } from '../../base/condition.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import type { RepairLog } from '../../base/repairLog.ts';
import {
  longestReason,
  mostEndpoints,
  type SwarmNetworks,
  type SwarmNode,
  type TunnelOffer,
} from '../../cluster/swarmNetworks.ts';
import type { Carrier } from '../../drivers/overlay/carrier.ts';
import { planMtu, type Underlay } from '../../drivers/overlay/segments.ts';
import { hasCode, LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { TunnelGuard } from '../../firewall/tunnelGuard.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { formatHostPort } from '../../net/hostPort.ts';
import { equalIp, type Ip } from '../../net/ip.ts';
import type { EngineChoice, Tunnel, Tunnels } from '../../tunnels/tunnel.ts';
import type { Encryption, TunnelPath } from '../engine.ts';
import type { TunnelKeys } from './tunnelKeys.ts';
import { KeyRotation } from './keyRotation.ts';
import { inside, insideAddress, mayMeet, tunnelNeighbours } from './nodeWays.ts';
import { isEncrypted } from './swarmRecords.ts';
import { type PeerStates, TunnelPaths } from './tunnelPaths.ts';
import { TunnelPeers } from './tunnelPeers.ts';
import { leastLinkMtu, TunnelRoutes, type Ways } from './tunnelRoutes.ts';

export interface EncryptedCarrierDependencies {
  /** Disposed of with the carrier. */
  readonly tunnels: Tunnels;
  readonly keys: TunnelKeys;
  readonly swarm: SwarmNetworks;
  readonly kernel: Pick<
    Kernel,
    'createNamespace' | 'removeNamespace' | 'hasNamespace' | 'setSysctl' | 'changeRoutes'
  >;
  /** Of VXLAN packets in the tunnels' namespace. */
  readonly guard: TunnelGuard;
  /** Of the host, which carries the tunnels. */
  readonly underlay: () => Underlay;
  /** All of this host that others might reach it by. */
  readonly addresses: () => readonly Ip[];
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

/** Outer IPv6 (40) and UDP (8), WireGuard's header (16) and tag (16). IPv4 takes 20 less. */
const headerBytes = 80;
/** How long a container waits for a manager to take this node's key. */
const patienceMs = 5000;
/** Between two looks at the device: while a path is being tried, and otherwise. */
const soonMs = 250;
const laterMs = 5000;
/** Among what holds the device: nodes behind NAT. */
const relaying = 'relay';
/** After a failure. */
const againMs = 1000;

interface Made {
  readonly nodeId: string;
  readonly number: number;
  readonly mtuBytes: number;
}

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
  readonly #paths: TunnelPaths;
  readonly #peers: TunnelPeers;
  readonly #routes: TunnelRoutes;
  readonly #rotation: KeyRotation;
  /** Wakes who waits for the next look at the device. */
  #lookNow: () => void = () => {};
  /** Why the last attempt to be as the swarm says failed. */
  #failure: string | undefined;
  /** Why there is no device though it was asked for. */
  #closed: string | undefined;
  /** Undefined where that is not known. */
  #isForwarding: boolean | undefined;
  /** Nodes to which networks of this host send through it, at the last look. */
  #sharing: ReadonlySet<string> = new Set();
  #isSettling = false;
  #isKnown = (): boolean => false;
  /** What was told last; undefined: nothing yet of this membership. */
  #offered: TunnelOffer | undefined;
  /** As the system said when it was asked last: by `check`, and once before. */
  #choice: EngineChoice | undefined;

  constructor(deps: EncryptedCarrierDependencies) {
    this.#deps = deps;
    this.guard = deps.guard;
    this.namespace = deps.namespace;
    const { swarm, keys, clock, logger, secret } = deps;
    const stopping = this.#stopping.signal;
    setMaxListeners(0, stopping);
    this.#paths = new TunnelPaths({ clock, logger });
    this.#routes = new TunnelRoutes({ ...deps, headerBytes });
    this.#peers = new TunnelPeers({
      ...{ addressOf: insideAddress, clock, logger, stopping },
      ...(secret === undefined ? {} : { secret }),
      inTurn: (tunnel, work) =>
        this.#mutex.run('', async () => {
          if (this.#tunnel === tunnel) await work();
        }),
    });
    this.#rotation = new KeyRotation({
      ...{ swarm, keys, clock, logger },
      alone: (work) => this.#mutex.run('', work),
      tunnel: () => this.#tunnel,
      offer: () => this.#offer(),
      until: (isIt) => this.#until(isIt),
      program: (tunnel) => this.#program(tunnel),
    });
    const settleSoon = (): void => this.#settleSoon();
    this.#listeners.use(swarm.events.on('nodes', settleSoon));
    // Who is on a network of this host that needs it, and whether nodes may need this one as their relay.
    this.#listeners.use(
      swarm.events.on('peers', ({ networkId, added }) => {
        const isNews = added.some(({ nodeId }) => !this.#sharing.has(nodeId));
        if (isNews && this.#holders.has(networkId)) settleSoon();
      }),
    );
    this.#listeners.use(
      swarm.events.on('blocks', ({ networkId }) => {
        if (this.#holders.has(networkId)) settleSoon();
      }),
    );
    this.#listeners.use(
      swarm.events.on('networks', ({ added, removed }) => {
        if (this.#own()?.isRelay === true || [...added, ...removed].some(isEncrypted)) settleSoon();
      }),
    );
  }

  /** Once this node's membership is known. `isKnown`: false as long as it is not known whether it is a member. */
  start(isKnown: () => boolean): void {
    this.#isKnown = isKnown;
    this.#settleSoon();
    void this.#rotation.rotateInTime(this.#stopping.signal);
    void this.#look();
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
    this.#choice = choice;
    if (choice.engine === undefined)
      throw new LinkspanError(
        'tunnelUnavailable',
        `encrypted tunnels need WireGuard, which this machine has not: ${choice.reason}`,
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
      await this.#open().catch((error: unknown) => {
        this.#closed = messageOf(error);
        throw error;
      });
    });
  }

  async release(networkId: string): Promise<void> {
    await this.#mutex.run('', async () => {
      if (this.#holders.delete(networkId) && this.#holders.size === 0) await this.#close();
    });
  }

  rotateKey(): Promise<void> {
    return this.#rotation.rotate();
  }

  get conditions(): readonly Condition[] {
    return this.#paths.conditions;
  }

  /** Half a sentence: why packets do not get to the node by the tunnels though they should; undefined if nothing says so. */
  failureTo(nodeId: string): string | undefined {
    return this.#tunnel === undefined ? this.#closed : this.#paths.failureTo(nodeId);
  }

  async paths(): Promise<readonly TunnelPath[]> {
    const { swarm } = this.#deps;
    const nodeId = swarm.dataPath?.nodeId;
    const states = await this.#mutex.run('', async () => {
      const tunnel = this.#tunnel;
      if (tunnel === undefined) return new Map<string, never>();
      await this.#program(tunnel, true);
      return await statesOf(tunnel);
    });
    if (nodeId === undefined) return [];
    const others = this.#nodes().filter(({ id }) => id !== nodeId);
    const ways = this.#waysTo(others);
    return others
      .map((node) => {
        const path = this.#paths.pathTo(node, states.get(node.tunnel?.publicKey ?? ''));
        const mtuBytes = leastLinkMtu(ways, node);
        if (mtuBytes === undefined) return path;
        return {
          ...path,
          mtuBytes: planMtu({ underlayMtuBytes: undefined }, { ...this.underlay(), mtuBytes }, false),
        };
      })
      .toSorted((a, b) => (a.hostname < b.hostname ? -1 : 1));
  }

  async sweep(): Promise<void> {
    await this.#mutex.run('', async () => {
      // It goes on for others while this daemon begins.
      if (this.#isRelay()) this.#holders.add(relaying);
      if (this.#holders.size === 0) await this.#close();
    });
  }

  #waysTo(nodes: readonly SwarmNode[]): Ways {
    const relayOf = (id: string): string | undefined => this.#paths.routeTo(id).relay;
    const byId = new Map(nodes.map((node) => [node.id, node]));
    return { ownMtuBytes: this.#deps.underlay().mtuBytes, nodes: byId, relayOf };
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
    const { clock } = this.#deps;
    this.#isSettling = false;
    try {
      await this.#mutex.run('', () => this.#settle());
      this.#failure = undefined;
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      // It was lost before anybody listened.
      if (hasCode(error, 'tunnelLost')) this.#tunnel = undefined;
      this.#noteFailure(error, 'could not follow the swarm with the encrypted tunnels; it is tried again');
      await clock.sleep(againMs, this.#stopping.signal).catch(() => {});
      this.#settleSoon();
    }
  }

  /** Warns once for each reason, however long it lasts. */
  #noteFailure(error: unknown, text: string): void {
    const failure = `${text}: ${messageOf(error)}`;
    this.#deps.logger[this.#failure === failure ? 'debug' : 'warn']({ err: error }, text);
    this.#failure = failure;
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
    await this.#relay();
    if (this.#holders.size > 0) await this.#open();
    if (this.#tunnel !== undefined) await this.#program(this.#tunnel);
  }

  async #relay(): Promise<void> {
    if (this.#isRelay()) this.#holders.add(relaying);
    else if (this.#holders.delete(relaying) && this.#holders.size === 0) await this.#close();
    if (this.#tunnel !== undefined) await this.#forward();
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
    if (dataPath === undefined) return;
    const reason = await this.#lack();
    // Who never told a key has nothing to take back.
    if (reason !== undefined && this.#own()?.tunnel === undefined) return;
    const { address, mtuBytes } = underlay();
    const { publicKey } = await keys.of(dataPath.nodeId);
    const others = this.#deps.addresses().filter((ip) => !equalIp(ip, address));
    const endpoints = [address, ...others].slice(0, mostEndpoints).map((ip) => formatHostPort({ ip, port }));
    const sees = this.#holders.has(relaying) ? this.#paths.seen(this.#nodes()) : undefined;
    const offer: TunnelOffer = {
      ...{ publicKey, mtuBytes, endpoints },
      ...(sees === undefined ? {} : { sees }),
      ...(reason === undefined ? {} : { lacks: reason.slice(0, longestReason) }),
    };
    if (isDeepStrictEqual(offer, this.#offered)) return;
    this.#offered = offer;
    swarm.offerTunnel(offer);
  }

  /** Why this node cannot encrypt; undefined if it can. */
  async #lack(): Promise<string | undefined> {
    if (this.#tunnel !== undefined) return undefined;
    this.#choice ??= await this.#deps.tunnels.findEngine();
    return this.#choice.engine === undefined ? this.#choice.reason : undefined;
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
    this.#closed = undefined;
    this.#made = { nodeId, number, mtuBytes };
    this.#peers.forget();
    this.#routes.forget();
    this.#paths.renew();
    // A namespace begins with what the host's first one has.
    this.#isForwarding = undefined;
    tunnel.events.on('lost', ({ cause }) => {
      if (this.#tunnel !== tunnel) return;
      this.#tunnel = undefined;
      this.#closed = cause;
      logger.error({ cause }, 'the encrypted tunnels are gone: nothing leaves until they are made again');
      void this.#openAgain(cause);
    });
    await this.#forward();
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
        this.#closed = messageOf(error);
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
    this.#paths.forget();
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

  /** `isLook`: what the device says now counts, not what it said last. */
  async #program(tunnel: Tunnel, isLook = false): Promise<void> {
    const { swarm, keys } = this.#deps;
    const nodeId = swarm.dataPath?.nodeId ?? '';
    const own = (await keys.of(nodeId)).publicKey;
    const nodes = this.#nodes();
    // Nobody has told of nodes yet: those that the device has are right until then.
    if (nodes.length === 0) return;
    // One that got a session since it was looked at must not be tried anew.
    const isOld = this.#peers.isUnknown || this.#paths.isTrying;
    const states = isLook || isOld ? await statesOf(tunnel) : undefined;
    this.#sharing = tunnelNeighbours(swarm, this.#holders);
    this.#paths.step({ nodeId, nodes, needed: this.#sharing }, states);
    const others = nodes.filter(({ id }) => id !== nodeId);
    await this.#peers.tell(tunnel, {
      ...{ own, nodes: others },
      routeTo: (id) => this.#paths.routeTo(id),
      isLive: (id) => this.#paths.isLive(id),
    });
    await this.#routes.tell(this.#waysTo(others));
    if (this.#isBusy) this.#lookNow();
  }

  /** At the device, again and again as long as it is there. */
  async #look(): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#untilNextLook();
      try {
        await this.#mutex.run('', async () => {
          const tunnel = this.#tunnel;
          if (tunnel === undefined || this.#deps.swarm.dataPath === undefined) return;
          await this.#program(tunnel, true);
          await this.#offer();
        });
      } catch (error) {
        if (!signal.aborted) this.#noteFailure(error, 'could not look at the encrypted tunnels');
        await clock.sleep(againMs, signal).catch(() => {});
      }
    }
  }

  /** The device is to be looked at soon. */
  get #isBusy(): boolean {
    return this.#paths.isTrying || this.#paths.untilHandoverMs !== undefined;
  }

  async #untilNextLook(): Promise<void> {
    const { clock } = this.#deps;
    const over = new AbortController();
    const { signal } = this.#stopping;
    const due = Promise.withResolvers<void>();
    const end = (): void => due.resolve();
    const soon = (): void => {
      const ms = Math.min(soonMs, this.#paths.untilHandoverMs ?? soonMs);
      clock.sleep(ms, over.signal).then(end, () => {});
    };
    this.#lookNow = soon;
    signal.addEventListener('abort', end, { once: true });
    if (this.#isBusy) soon();
    clock.sleep(laterMs, over.signal).then(end, () => {});
    await due.promise;
    signal.removeEventListener('abort', end);
    this.#lookNow = () => {};
    over.abort();
  }

  /** Whether what two nodes behind NAT say to each other may go by this one. */
  #isRelay(): boolean {
    const own = this.#own();
    if (own?.isRelay !== true || own.tunnel === undefined || own.tunnel.seenAs !== undefined) return false;
    const hidden = this.#nodes().filter(({ tunnel }) => tunnel?.seenAs !== undefined);
    return mayMeet(hidden, this.#deps.swarm.networks);
  }

  /** In the tunnels' namespace, where nothing else is: from one node to another. */
  async #forward(): Promise<void> {
    const { kernel, namespace, name } = this.#deps;
    const isWanted = this.#holders.has(relaying);
    if (isWanted === this.#isForwarding) return;
    const set = (key: string, value: string): Promise<void> =>
      kernel.setSysctl(`net/ipv4/${key}`, value, namespace);
    // It sends back where it came from, which is no mistake of the sender's.
    for (const link of ['all', name]) await set(`conf/${link}/send_redirects`, '0');
    await set('ip_forward', isWanted ? '1' : '0');
    this.#isForwarding = isWanted;
  }
}

async function statesOf(tunnel: Tunnel): Promise<PeerStates> {
  return new Map((await tunnel.peers()).map((state) => [String(state.publicKey), state]));
}
