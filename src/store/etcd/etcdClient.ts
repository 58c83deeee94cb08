/*
 * Calls to an etcd of one or several members: connects by itself and again, and asks another member where one does not
 * answer. Reads are asked again until their time is over; writes never are, since nobody knows whether they were done.
 * Streams end with their connection: who opened one opens another.
 * @grpc/grpc-js is loaded when a client is opened.
 */
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import type * as Grpc from '@grpc/grpc-js';
import type { Clock } from '../../base/clock.ts';
import { openWire, type Wire } from '../../codec/protobuf/wire.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import { type EtcdMethods, type EtcdStreams, etcdSchema } from './schema.ts';

export interface EtcdTls {
  /** PEM; absent = the certificates that Node trusts. */
  readonly ca?: Buffer;
  /** Of this client; both or neither. */
  readonly certificate?: Buffer;
  readonly key?: Buffer;
}

export interface EtcdAddress {
  /** `192.0.2.21:2379`, `[2001:db8::1]:2379` or `name:2379`; at least one. */
  readonly endpoints: readonly string[];
  /** Absent = plain text. */
  readonly tls?: EtcdTls;
}

/** An election takes etcd between one and two seconds; people wait no longer than this. */
const callTimeoutMs = 3000;
/** A member that was restarted is back in a second. */
const connectTimeoutMs = 2000;
/** Between two attempts of one read. */
const againMs = 100;

const channelOptions = {
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  'grpc.service_config_disable_resolution': 1,
  // A proxy for image pulls is no way to the store.
  'grpc.enable_http_proxy': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.max_receive_message_length': 32 << 20,
  // Members share no connection, so that closing one closes it.
  'grpc.use_local_subchannel_pool': 1,
  // A connection that died silently is noticed, while there is a stream. etcd hangs up on who pings without one, or at
  // less than 5 s (--grpc-keepalive-min-time).
  'grpc.keepalive_time_ms': 6000,
  'grpc.keepalive_timeout_ms': 5000,
} as const;

interface Libraries {
  readonly grpc: typeof Grpc;
  readonly wire: Wire;
}

/**
 * Why etcd refused, where a caller can do something: `compacted` = a revision is no longer there, `notFound` = a lease or
 * member is not, `exists` = there is such a member or lease, `notYet` = its members are not so far.
 */
export type RefusalReason = 'compacted' | 'notFound' | 'exists' | 'notYet';

/** A refusal by etcd itself. */
export class EtcdRefusal extends LinkspanError {
  readonly reason: RefusalReason | undefined;
  constructor(text: string, reason?: RefusalReason) {
    super('store', `etcd refused: ${text}`);
    this.reason = reason;
  }
}

/** Not to be asked again where no answer came. */
const writes: ReadonlySet<keyof EtcdMethods> = new Set([
  ...(['KV.Txn', 'Cluster.MemberAdd', 'Cluster.MemberRemove', 'Cluster.MemberPromote'] as const),
]);

type Stream = Grpc.ClientDuplexStream<object, object>;

export class EtcdClient implements Disposable {
  readonly #grpc: typeof Grpc;
  readonly #wire: Wire;
  readonly clock: Clock;
  readonly #address: EtcdAddress;
  readonly #timeoutMs: number;
  readonly #members: Grpc.Client[];
  /** Open ones, by whom they are with. */
  readonly #streams = new Map<Stream, Grpc.Client>();
  /** The member that answered last. */
  #current = 0;
  #isClosed = false;

  private constructor({ grpc, wire }: Libraries, clock: Clock, address: EtcdAddress, timeoutMs: number) {
    this.#grpc = grpc;
    this.#wire = wire;
    this.clock = clock;
    this.#address = address;
    this.#timeoutMs = timeoutMs;
    this.#members = address.endpoints.map((endpoint) => this.#connect(endpoint));
  }

  /** Succeeds also if nobody answers there yet. Throws OpenSSL's error for certificates that are none. */
  static async open(
    address: EtcdAddress,
    clock: Clock,
    timeoutMs: number = callTimeoutMs,
  ): Promise<EtcdClient> {
    const [grpc, wire] = await Promise.all([import('@grpc/grpc-js'), openWire(etcdSchema)]);
    return new EtcdClient({ grpc, wire }, clock, address, timeoutMs);
  }

  /** `etcd at 192.0.2.21:2379,192.0.2.22:2379` */
  get name(): string {
    return `etcd at ${this.#address.endpoints.join(',')}`;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const member of this.#members) this.#close(member);
  }

  /** Code storeUnavailable if nobody answers in time, which says nothing of what was done; EtcdRefusal otherwise. */
  async call<M extends keyof EtcdMethods>(
    method: M,
    request: EtcdMethods[M]['request'],
  ): Promise<EtcdMethods[M]['response']> {
    const untilMs = Date.now() + this.#timeoutMs;
    for (;;) {
      if (this.#isClosed) throw new LinkspanError('store', 'the store is closed');
      const index = await this.#choose(untilMs);
      try {
        return await this.#ask(index, method, request, untilMs);
      } catch (error) {
        const { code, details } = error as Grpc.ServiceError;
        const { status } = this.#grpc;
        const reason = reasonOf(details);
        if (reason !== undefined || !isNoAnswer(status, code)) throw new EtcdRefusal(details, reason);
        this.#turnFrom(index, code === status.DEADLINE_EXCEEDED);
        if (writes.has(method) || Date.now() + againMs >= untilMs) throw this.#unavailable(details, error);
      }
      await this.clock.sleep(againMs);
    }
  }

  /**
   * Sends `request` and calls `hear` for each answer, until it returns something: resolves with that. Code
   * storeUnavailable when the stream cannot be opened, is lost, lasts longer than `limitMs`, or `signal` fires, after
   * which nothing is heard.
   */
  async stream<M extends keyof EtcdStreams, T>(
    method: M,
    request: EtcdStreams[M]['request'],
    hear: (answer: EtcdStreams[M]['response']) => T | undefined,
    { signal, limitMs = Infinity }: { readonly signal: AbortSignal; readonly limitMs?: number },
  ): Promise<T> {
    const index = await this.#choose(Date.now() + this.#timeoutMs);
    if (this.#isClosed || signal.aborted) throw new LinkspanError('store', 'the store is closed');
    const member = this.#member(index);
    const { path, requestSerialize, responseDeserialize } = this.#wire.method(method);
    const metadata = new this.#grpc.Metadata();
    // A member that has lost the others ends the stream, instead of saying nothing.
    metadata.set('hasleader', 'true');
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const stream: Stream = member.makeBidiStreamRequest(
      ...([
        path,
        requestSerialize,
        responseDeserialize,
        metadata,
        { deadline: Date.now() + limitMs },
      ] as const),
    );
    const cancel = (): void => stream.cancel();
    let isOver = false;
    this.#streams.set(stream, member);
    signal.addEventListener('abort', cancel);
    stream.on('data', (answer: EtcdStreams[M]['response']) => {
      if (isOver || signal.aborted) return;
      const result = hear(answer);
      if (result === undefined) return;
      isOver = true;
      resolve(result);
      stream.cancel();
    });
    stream.on('error', reject);
    stream.on('end', () => reject(new Error('the stream ended')));
    stream.write(request);
    try {
      return await promise;
    } catch (error) {
      const { code, details = messageOf(error) } = error as Partial<Grpc.ServiceError>;
      if (!signal.aborted) this.#turnFrom(index, code === this.#grpc.status.DEADLINE_EXCEEDED);
      throw this.#unavailable(details, error);
    } finally {
      isOver = true;
      signal.removeEventListener('abort', cancel);
      this.#streams.delete(stream);
    }
  }

  #ask<M extends keyof EtcdMethods>(
    index: number,
    name: M,
    request: EtcdMethods[M]['request'],
    untilMs: number,
  ): Promise<EtcdMethods[M]['response']> {
    const { path, requestSerialize, responseDeserialize } = this.#wire.method(name);
    const { promise, resolve, reject } = Promise.withResolvers<EtcdMethods[M]['response']>();
    this.#member(index).makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new this.#grpc.Metadata(),
      // Time enough for a member without a connection to say why.
      { deadline: Math.max(untilMs, Date.now() + againMs) },
      (error, value) => {
        if (error === null) resolve(value as EtcdMethods[M]['response']);
        else reject(error);
      },
    );
    return promise;
  }

  /** A member that is connected, the one of last time if it is. None in time: that one all the same, which says why. */
  async #choose(untilMs: number): Promise<number> {
    const current = this.#current;
    const { READY } = this.#grpc.connectivityState;
    if (this.#member(current).getChannel().getConnectivityState(true) === READY) return current;
    const connected = this.#members.map(async (member, index) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      member.waitForReady(Math.min(untilMs, Date.now() + connectTimeoutMs), (error) =>
        error === undefined ? resolve() : reject(error),
      );
      await promise;
      return index;
    });
    this.#current = await Promise.any(connected).catch(() => current);
    return this.#current;
  }

  /** It does not answer: another is next. A connection that swallowed a call may be dead without knowing it. */
  #turnFrom(index: number, isSilent: boolean): void {
    if (this.#current === index) this.#current = (index + 1) % this.#members.length;
    if (!isSilent || this.#isClosed) return;
    this.#close(this.#member(index));
    this.#members[index] = this.#connect(this.#address.endpoints[index] ?? '');
  }

  #close(member: Grpc.Client): void {
    member.close();
    for (const [stream, theirs] of this.#streams) if (theirs === member) stream.cancel();
  }

  #member(index: number): Grpc.Client {
    const member = this.#members[index];
    if (member === undefined) throw new RangeError(`no member ${index}`);
    return member;
  }

  #connect(endpoint: string): Grpc.Client {
    const { credentials, Client } = this.#grpc;
    const { tls } = this.#address;
    if (tls === undefined) return new Client(endpoint, credentials.createInsecure(), channelOptions);
    const { ca = null, key = null, certificate = null } = tls;
    const host = /^\[?(.*?)\]?:\d+$/.exec(endpoint)?.[1] ?? '';
    if (isIP(host) === 0)
      return new Client(endpoint, credentials.createSsl(ca, key, certificate), channelOptions);
    // TLS names hosts, and Node refuses to name an address: it says another name, and checks the address.
    const options = { ...channelOptions, 'grpc.ssl_target_name_override': 'etcd' };
    const verify: Grpc.VerifyOptions = {
      checkServerIdentity: (_name, theirs) => checkServerIdentity(host, theirs),
    };
    return new Client(endpoint, credentials.createSsl(ca, key, certificate, verify), options);
  }

  #unavailable(details: string, cause: unknown): LinkspanError {
    const reason = (details === '' ? messageOf(cause) : details).replace(/\.? *Resolution note: *$/, '');
    const text = `the swarm's store does not answer (${this.name}): ${reason}`;
    return new LinkspanError('storeUnavailable', text, { cause });
  }
}

/**
 * What etcd says, since its codes are of many reasons each: texts of rpctypes/error.go, in 3.4 and after. One has the code
 * of no answer at all (`unhealthy cluster`: a member was added or lost seconds ago).
 */
const reasonsByText: readonly (readonly [RegExp, RefusalReason])[] = [
  [/required revision has been compacted/, 'compacted'],
  [/requested lease not found|member not found/, 'notFound'],
  [/Peer URLs already exists|member ID already exist|lease already exists/, 'exists'],
  [/in sync with leader|too many learner members|not enough started members|unhealthy cluster/, 'notYet'],
  // After the one that says more.
  [/can only promote a learner member/, 'exists'],
];

function reasonOf(details: string): RefusalReason | undefined {
  return reasonsByText.find(([text]) => text.test(details))?.[1];
}

/** What says nothing of what was done: etcd answers `unknown` where its own time for a call was over. */
function isNoAnswer(status: typeof Grpc.status, code: Grpc.status): boolean {
  const { UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, UNKNOWN, INTERNAL } = status;
  return [UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, UNKNOWN, INTERNAL].includes(code);
}
