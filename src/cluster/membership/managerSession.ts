/*
 * A node's session with one of its managers, for as long as it is in the swarm: tries them in turn, says hello, hears
 * their pings, and begins again when it hears none. What the node does without a session is not its concern.
 */
import { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import type { Logger } from '../../base/logger.ts';
import type { Link } from '../networks/link.ts';
import {
  closeCode,
  graceHeartbeats,
  type Hello,
  helloTimeoutMs,
  managerName,
  maxPushBytes,
  type News,
  parseMessage,
  path,
  readTrustPush,
  readNews,
  readWelcome,
  type TrustPush,
  type Welcome,
} from './protocol.ts';
import type { SelfRecord } from './records.ts';
import { WebSocketLink } from './webSocketLink.ts';

/** Between two attempts: doubled from the first to the second, and half of it by chance. */
const firstWaitMs = 200;
const longestWaitMs = 10_000;

export interface ManagerSessionDependencies {
  /** Read for every attempt. */
  readonly self: () => Pick<SelfRecord, 'keys' | 'rootPem' | 'managers'>;
  readonly hello: () => Hello;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ManagerSessionEvents extends Record<string, unknown> {
  readonly welcome: Welcome & { readonly manager: string; readonly link: Link };
  /** After a welcome. */
  readonly trust: { readonly manager: string; readonly push: TrustPush };
  /** Who the managers are, and what this node is to be. */
  readonly news: News;
  /** A session ended, or could not begin. */
  readonly lost: { readonly cause: string };
  /** The manager says that the node is not of this swarm any more; nothing comes after it. */
  readonly removed: null;
}

/** So that tables are not parsed twice. */
function startsLike(type: string, data: Parameters<typeof parseMessage>[0]): boolean {
  const start = `{"type":"${type}"`;
  return Buffer.isBuffer(data) && data.subarray(0, start.length).equals(Buffer.from(start));
}

type Ending = { readonly isRemoved: boolean; readonly cause: string; readonly wasWelcome: boolean };

export class ManagerSession implements Disposable {
  readonly events: Events<ManagerSessionEvents> = new Events();
  readonly #deps: ManagerSessionDependencies;
  readonly #stopping = new AbortController();
  #socket: WebSocket | undefined;
  #hasBeenWelcome = false;
  /** From one by chance, so that managers share the nodes. */
  #turn: number = Math.floor(Math.random() * 1000);

  constructor(deps: ManagerSessionDependencies) {
    this.#deps = deps;
  }

  /** There was a welcome, whether or not its session has ended since. */
  get hasBeenWelcome(): boolean {
    return this.#hasBeenWelcome;
  }

  start(): void {
    void this.#run();
  }

  /** Tells the manager that the node goes for good. */
  leave(): void {
    this.#stopping.abort();
    this.#socket?.close(closeCode.leaving);
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
    this.#socket?.close(1001);
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#stopping;
    for (let waitMs = firstWaitMs; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
      const { managers } = this.#deps.self();
      const manager = managers[this.#turn++ % Math.max(1, managers.length)] ?? '';
      const { isRemoved, cause, wasWelcome } = await this.#meet(manager);
      if (signal.aborted) return;
      if (isRemoved) {
        this.events.emit('removed', null);
        return;
      }
      if (wasWelcome) {
        logger.warn({ manager, cause }, 'lost the session with a manager');
        waitMs = firstWaitMs;
      } else logger.debug({ manager, cause }, 'could not begin a session');
      this.events.emit('lost', { cause });
      try {
        await clock.sleep(waitMs * (0.5 + Math.random() / 2), signal);
      } catch {
        return;
      }
    }
  }

  /** Resolves when the session has ended, or could not begin. */
  #meet(manager: string): Promise<Ending> {
    const { keys, rootPem } = this.#deps.self();
    return new Promise((resolve) => {
      let wasWelcome = false;
      let cause = '';
      let isRemoved = false;
      let timer: NodeJS.Timeout | undefined;
      const socket = new WebSocket(`wss://${manager}${path.session}`, {
        ...{ ca: rootPem, key: keys.keyPem, cert: keys.certificatePem, servername: managerName },
        handshakeTimeout: helloTimeoutMs,
        maxPayload: maxPushBytes,
        perMessageDeflate: false,
      });
      this.#socket = socket;
      const listenFor = (ms: number): void => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          cause = 'the manager was silent';
          socket.terminate();
        }, ms).unref();
      };
      socket.on('open', () => {
        listenFor(helloTimeoutMs);
        socket.send(JSON.stringify(this.#deps.hello()));
      });
      socket.on('message', (data, isBinary) => {
        if (isBinary) return;
        if (wasWelcome) {
          // The rest of what comes now is the link's.
          const push = startsLike('trust', data) ? readTrustPush(parseMessage(data)) : undefined;
          if (push !== undefined) this.events.emit('trust', { manager, push });
          const news = startsLike('news', data) ? readNews(parseMessage(data)) : undefined;
          if (news !== undefined) this.events.emit('news', news);
          return;
        }
        const welcome = readWelcome(parseMessage(data));
        if (welcome === undefined) return;
        wasWelcome = true;
        this.#hasBeenWelcome = true;
        const silenceMs = graceHeartbeats * welcome.heartbeatMs;
        listenFor(silenceMs);
        socket.on('ping', () => listenFor(silenceMs));
        this.events.emit('welcome', { ...welcome, manager, link: new WebSocketLink(socket) });
      });
      socket.on('unexpected-response', (_request, answer) => {
        isRemoved = answer.statusCode === 403;
        cause = `the manager answered with status ${answer.statusCode}`;
        socket.terminate();
      });
      socket.on('error', (error) => (cause ||= error.message));
      socket.on('close', (code, reason) => {
        clearTimeout(timer);
        const said = String(reason) === '' ? `closed with code ${code}` : String(reason);
        resolve({ isRemoved: isRemoved || code === closeCode.removed, cause: cause || said, wasWelcome });
      });
    });
  }
}
