/*
 * One session of one node about networks, on its manager: does what the node may ask, in the order in which it asks, and
 * nothing any more once the session counts no longer. Whoever breaks the rules or asks too much is cut off.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { formatHostPort, parseHostPort } from '../../net/hostPort.ts';
import type { Ip } from '../../net/ip.ts';
import { isPrivateIp } from '../../net/prefix.ts';
import type { Compare } from '../../store/store.ts';
import { type EndpointClaim, mostEndpoints, type TunnelOffer } from '../swarmNetworks.ts';
import type { EndpointBook, Writer } from './endpointBook.ts';
import type { Link } from './link.ts';
import type { NetworkBook } from './networkBook.ts';
import type { Sighting, TunnelBook } from './tunnelBook.ts';
import { type Answer, type Call, errorAnswer, type Request, readRequest } from './wire.ts';

/** Calls that wait for their answer; nodes send fewer. */
const mostPending = 256;
/** Messages at once, and then each second. */
const burst = 10_000;
const perSecond = 5000;
/** Endpoints that a node may have. */
const mostClaims = 100_000;

export interface NodeSessionDependencies {
  readonly nodeId: string;
  readonly link: Link;
  /** Absent for one within a process. */
  readonly sighting?: Sighting;
  /** By which the node wants to be reached, without a port; undefined where that is not known. */
  readonly addressOf: () => Ip | undefined;
  readonly book: NetworkBook;
  readonly endpoints: EndpointBook;
  readonly tunnels: TunnelBook;
  readonly clock: Clock;
  readonly logger: Logger;
  /** It is the node's newest, and the node is one of the swarm. */
  readonly counts: () => boolean;
  readonly mayRelay: () => boolean;
  /** Of the store: what `counts` says is so as long as this holds. */
  readonly unchanged: () => Compare;
  readonly subscribe: () => void;
  readonly ended: () => void;
}

export class NodeSession {
  readonly #deps: NodeSessionDependencies;
  /** Ends what it follows, by network. */
  readonly #follows = new Map<string, () => void>();
  /** Of a sync whose last part has not come. */
  #claims: EndpointClaim[] = [];
  #queue: Promise<void> = Promise.resolve();
  #pending = 0;
  #credit = burst;
  #creditAtMs: number;
  #isOver = false;

  constructor(deps: NodeSessionDependencies) {
    this.#deps = deps;
    this.#creditAtMs = deps.clock.nowMs();
  }

  begin(): void {
    this.#deps.link.listen({ message: (value) => this.#hear(value), end: () => this.end() });
  }

  /** It is told nothing more; what it asked and was not begun is not done. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const stop of this.#follows.values()) stop();
    this.#follows.clear();
    this.#deps.ended();
  }

  unfollow(networkId: string): void {
    this.#follows.get(networkId)?.();
    this.#follows.delete(networkId);
  }

  #hear(value: unknown): void {
    if (this.#isOver) return;
    if (!this.#affords()) {
      this.#refuse('it says too much');
      return;
    }
    const request = readRequest(value);
    if (request === 'malformed') this.#refuse('it says what cannot be understood');
    else if (request !== 'other') this.#do(request);
  }

  #do(request: Request): void {
    switch (request.type) {
      case 'subscribe':
        this.#deps.subscribe();
        break;
      case 'follow':
        this.#follow(request);
        break;
      case 'unfollow':
        this.unfollow(request.network);
        break;
      case 'call':
        this.#enqueue(request);
        break;
      case 'unknownCall': {
        const error = new LinkspanError('notImplemented', 'this manager is of an earlier version');
        this.#deps.link.send(JSON.stringify(errorAnswer(request.id, error)));
        break;
      }
    }
  }

  #affords(): boolean {
    const nowMs = this.#deps.clock.nowMs();
    const earned = (Math.max(0, nowMs - this.#creditAtMs) * perSecond) / 1000;
    this.#credit = Math.min(burst, this.#credit + earned) - 1;
    this.#creditAtMs = nowMs;
    return this.#credit >= 0 && this.#pending < mostPending;
  }

  #refuse(why: string): void {
    this.#deps.logger.warn({ node: this.#deps.nodeId, cause: why }, 'cut a node off');
    this.#deps.link.refuse(why);
    this.end();
  }

  /** A network that is none, or is not yet, has an empty table. */
  #follow({ network, epoch, revision }: Extract<Request, { type: 'follow' }>): void {
    const { book, link } = this.#deps;
    this.unfollow(network);
    const feed = book.states.get(network)?.feed;
    if (feed !== undefined) {
      this.#follows.set(network, feed.follow(link, { epoch, revision }));
      return;
    }
    const nothing = { network, epoch: book.epoch, revision: book.revision, rows: [], part: 0, isLast: true };
    link.send(JSON.stringify({ type: 'snapshot', ...nothing }));
  }

  /** One after the other, so that a node's view of its own endpoints has an order. */
  #enqueue({ id, ...call }: Extract<Request, { type: 'call' }>): void {
    this.#pending += 1;
    this.#queue = this.#queue.then(async () => {
      const answer = await this.#answer(id, call);
      this.#pending -= 1;
      if (!this.#isOver) this.#deps.link.send(JSON.stringify(answer));
    });
  }

  async #answer(id: number, call: Call): Promise<Answer> {
    try {
      return { type: 'answer', id, result: (await this.#run(call)) ?? null };
    } catch (error) {
      if (!(error instanceof LinkspanError))
        this.#deps.logger.error({ node: this.#deps.nodeId, err: error }, 'could not do what a node asked');
      return errorAnswer(id, error);
    }
  }

  /**
   * Nobody asks a node that is no relay where it sees others, so that it is not told to all. A relay whose daemon began
   * again has not looked yet.
   */
  #offered({
    sees = this.#deps.tunnels.find(this.#deps.nodeId)?.sees ?? {},
    ...offer
  }: TunnelOffer): TunnelOffer {
    const placed = { ...offer, endpoints: this.#placed(offer.endpoints) };
    return Object.keys(sees).length === 0 || !this.#deps.mayRelay() ? placed : { ...placed, sees };
  }

  /** With the address that it is known by, which may be its router's, where a port is passed on. */
  #placed([first, ...others]: readonly string[]): readonly string[] {
    const ip = this.#deps.addressOf();
    const port = parseHostPort(first ?? '')?.port;
    if (first === undefined || port === undefined) return [];
    if (ip === undefined || isPrivateIp(ip)) return [first, ...others];
    return [...new Set([first, formatHostPort({ ip, port }), ...others])].slice(0, mostEndpoints);
  }

  async #run(call: Call): Promise<unknown> {
    const { nodeId, endpoints, tunnels } = this.#deps;
    const writer: Writer = { check: () => this.#check() };
    writer.check();
    switch (call.method) {
      case 'claim':
        return await endpoints.claim(nodeId, call.params.claim, writer);
      case 'amend':
        return { refused: await endpoints.amend(nodeId, call.params.claims, writer) };
      case 'release':
        return await endpoints.release(nodeId, call.params.endpoints, writer);
      case 'tunnel':
        return await tunnels.publish(nodeId, this.#offered(call.params.offer), writer, this.#deps.sighting);
      case 'sync': {
        const { claims, keep, isLast } = call.params;
        if (this.#claims.length + claims.length > mostClaims)
          throw new LinkspanError('nodeRefused', `a node has at most ${mostClaims} endpoints`);
        this.#claims.push(...claims);
        if (!isLast) return { refused: [] };
        const all = this.#claims;
        this.#claims = [];
        return { refused: await endpoints.sync(nodeId, all, keep, writer) };
      }
    }
  }

  #check(): readonly Compare[] {
    if (!this.#isOver && this.#deps.counts()) return [this.#deps.unchanged()];
    // The node is to begin another.
    this.#deps.link.drop();
    throw new LinkspanError('nodeRefused', 'the session is over: the node has a newer one, or was removed');
  }
}
