/*
 * Calls to an etcd of one or several members: connects by itself and again, and asks another member where one does not
 * answer. Reads are asked again until their time is over; writes never are, since nobody knows whether they were done.
 * @grpc/grpc-js is loaded when a client is opened.
 */
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import type * as Grpc from '@grpc/grpc-js';
import type { Clock } from '../../base/clock.ts';
import { openWire, type Wire } from '../../codec/protobuf/wire.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import { type EtcdMethods, etcdSchema } from './schema.ts';

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
} as const;

interface Libraries {
  readonly grpc: typeof Grpc;
  readonly wire: Wire;
}

/** A refusal by etcd itself: `compacted` where a revision is no longer there. */
export class EtcdRefusal extends LinkspanError {
  readonly isCompacted: boolean;
  constructor(text: string, isCompacted: boolean) {
    super('store', `etcd refused: ${text}`);
    this.isCompacted = isCompacted;
  }
}

export class EtcdClient implements Disposable {
  readonly #grpc: typeof Grpc;
  readonly #wire: Wire;
  readonly #clock: Clock;
  readonly #address: EtcdAddress;
  readonly #timeoutMs: number;
  readonly #members: Grpc.Client[];
  /** The member that answered last. */
  #current = 0;
  #isClosed = false;

  private constructor({ grpc, wire }: Libraries, clock: Clock, address: EtcdAddress, timeoutMs: number) {
    this.#grpc = grpc;
    this.#wire = wire;
    this.#clock = clock;
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
    for (const member of this.#members) member.close();
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
        if (!isNoAnswer(status, code))
          throw new EtcdRefusal(details, code === status.OUT_OF_RANGE && details.includes('compacted'));
        this.#turnFrom(index, code === status.DEADLINE_EXCEEDED);
        if (method === 'KV.Txn' || Date.now() + againMs >= untilMs) throw this.#unavailable(details, error);
      }
      await this.#clock.sleep(againMs);
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
    this.#member(index).close();
    this.#members[index] = this.#connect(this.#address.endpoints[index] ?? '');
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

/** What says nothing of what was done: etcd answers `unknown` where its own time for a call was over. */
function isNoAnswer(status: typeof Grpc.status, code: Grpc.status): boolean {
  const { UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, UNKNOWN, INTERNAL } = status;
  return [UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, UNKNOWN, INTERNAL].includes(code);
}
