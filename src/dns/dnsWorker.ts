/*
 * The DNS worker's thread: owns the resolvers' sockets and the index of names, so that a burst of questions holds up
 * nothing else. Started by openDns. It enters a sandbox's namespace only to open sockets there.
 */
import { randomFillSync } from 'node:crypto';
import { closeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { openSeam, Seam } from '../base/seam.ts';
import { DatagramRing } from '../kernel/datagramRing.ts';
import { asKernelError, hasErrno } from '../kernel/errno.ts';
import { type BoundSocket, isServing, openBound, type Transport } from '../kernel/ipSockets.ts';
import { loadLibc } from '../kernel/libc.ts';
import { openHome, type ThreadContext } from '../kernel/namespaces.ts';
import { parseIp } from '../net/ip.ts';
import { openExchange } from './exchange.ts';
import { FdRegister } from './fdRegister.ts';
import { Forwarder } from './forwarder.ts';
import { HostServers } from './hostServers.ts';
import { LatencyCount } from './latencies.ts';
import { NameIndex } from './names.ts';
import type {
  DnsReply,
  DnsRequest,
  DnsStatistics,
  DnsWorkerStart,
  OpenRequest,
  ResolverPorts,
} from './protocol.ts';
import { resolverAddress } from './redirect.ts';
import { type Outcome, type ResolverCounts, type ResolverDependencies, SandboxResolver } from './resolver.ts';
import { openTcpServer } from './tcpServer.ts';
import { openUdpServer } from './udpServer.ts';

/** Random ids, drawn 4096 at a time. */
function newRandomId(): () => number {
  const pool = new Uint16Array(4096);
  let next = pool.length;
  return () => {
    if (next === pool.length) {
      randomFillSync(pool);
      next = 0;
    }
    return pool[next++] as number;
  };
}

interface OpenSandbox extends Disposable {
  readonly path: string;
  readonly resolver: SandboxResolver;
  readonly ports: ResolverPorts;
  readonly isServing: () => boolean;
}

/** The wanted port if it is free, else any. */
function bindPort(
  context: ThreadContext,
  path: string,
  transport: Transport,
  wanted: number | undefined,
): BoundSocket {
  const ip = parseIp(resolverAddress);
  if (ip === undefined) throw new TypeError('the resolver has no address');
  if (wanted === undefined) return openBound(context, path, transport, ip, 0);
  try {
    return openBound(context, path, transport, ip, wanted);
  } catch (error) {
    if (!hasErrno(error, 'EADDRINUSE')) throw error;
    return openBound(context, path, transport, ip, 0);
  }
}

class Resolvers implements Disposable {
  readonly #context: ThreadContext;
  readonly #ring: DatagramRing;
  readonly #fds: FdRegister;
  readonly #deps: ResolverDependencies;
  readonly #onProblem: (id: string, error: Error) => void;
  readonly #open = new Map<string, OpenSandbox>();

  constructor(
    context: ThreadContext,
    fds: FdRegister,
    deps: ResolverDependencies,
    onProblem: (id: string, error: Error) => void,
  ) {
    this.#context = context;
    this.#ring = new DatagramRing(context.libc);
    this.#fds = fds;
    this.#deps = deps;
    this.#onProblem = onProblem;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Opens, or changes the view of an open one. */
  open(request: OpenRequest): ResolverPorts {
    const known = this.#open.get(request.id);
    if (known?.path === request.path) {
      known.resolver.view = request.view;
      return known.ports;
    }
    this.close(request.id);
    const opened = this.#openNew(request);
    this.#open.set(request.id, opened);
    return opened.ports;
  }

  /** False if it is not open, or somebody took a socket of it away. */
  check(id: string): boolean {
    try {
      return this.#open.get(id)?.isServing() ?? false;
    } catch {
      return false;
    }
  }

  /** Success if it is not open. */
  close(id: string): void {
    this.#open.get(id)?.[Symbol.dispose]();
    this.#open.delete(id);
  }

  #openNew({ id, path, view, wanted }: OpenRequest): OpenSandbox {
    const { libc } = this.#context;
    using undo = new DisposableStack();
    const udp = bindPort(this.#context, path, 'udp', wanted?.udp);
    const udpFd = undo.adopt(udp.fd, closeSync);
    const tcp = bindPort(this.#context, path, 'tcp', wanted?.tcp);
    const resolver = new SandboxResolver(this.#deps, path, view);
    // A fault of ours in one answer must not end the thread that answers everybody.
    const serve = (bytes: Uint8Array, transport: Transport): Outcome => {
      try {
        return resolver.serve(bytes, transport);
      } catch (error) {
        this.#onProblem(id, asKernelError('answer', error));
        return undefined;
      }
    };
    const servers = [
      openTcpServer(
        tcp.fd,
        (bytes) => serve(bytes, 'tcp'),
        (error) => this.#onProblem(id, error),
      ),
      openUdpServer(libc, this.#ring, this.#fds, udpFd, (bytes) => serve(bytes, 'udp')),
    ];
    undo.move();
    return {
      path,
      resolver,
      ports: { udp: udp.port, tcp: tcp.port },
      isServing: () => isServing(libc, 'udp', udp) && isServing(libc, 'tcp', tcp),
      [Symbol.dispose]: () => {
        for (const server of servers) server[Symbol.dispose]();
      },
    };
  }

  [Symbol.dispose](): void {
    for (const id of [...this.#open.keys()]) this.close(id);
  }
}

function start(): void {
  if (parentPort === null) throw new Error('dnsWorker runs in a worker thread only');
  const port = parentPort;
  const { seam, resolvConfPath, fds: memory } = workerData as DnsWorkerStart;
  const fds = new FdRegister(memory);
  const post = (reply: DnsReply): void => port.postMessage(reply);
  const context: ThreadContext = {
    libc: loadLibc(),
    seam: new Seam(seam.plan, seam.shared),
    home: openHome(),
  };
  const index = new NameIndex();
  // Questions are no steps of an operation: their sockets are not counted.
  const forwarder = new Forwarder({
    exchange: openExchange({ ...context, seam: openSeam() }, fds),
    randomId: newRandomId(),
  });
  const hostServers = new HostServers(resolvConfPath, () => performance.now());
  const counts: ResolverCounts = { own: 0, forwarded: 0, dropped: 0 };
  const latencies = { own: new LatencyCount(), forwarded: new LatencyCount() };
  const deps = {
    ...{ index, forwarder, counts, latencies, random: Math.random },
    hostServers: () => hostServers.list(),
    nowMs: () => performance.now(),
  };
  const resolvers = new Resolvers(context, fds, deps, (id, error) =>
    post({ type: 'problem', id, message: error.message }),
  );
  const answer = (call: number, work: () => unknown): void => {
    try {
      post({ type: 'value', call, value: work() });
    } catch (error) {
      const { code, message } = asKernelError('resolver', error);
      post({ type: 'failure', call, code, message });
    }
  };
  port.on('message', (request: DnsRequest) => {
    switch (request.type) {
      case 'open':
        return answer(request.call, () => resolvers.open(request.request));
      case 'check':
        return answer(request.call, () => resolvers.check(request.id));
      case 'close':
        return answer(request.call, () => resolvers.close(request.id));
      case 'statistics':
        return answer(
          request.call,
          (): DnsStatistics => ({
            ...{ sandboxes: resolvers.size, endpoints: index.size, open: forwarder.open },
            ...counts,
            latencies: { own: latencies.own.read(), forwarded: latencies.forwarded.read() },
          }),
        );
      case 'put':
        for (const endpoint of request.endpoints) index.put(endpoint);
        return;
      case 'del':
        return index.del(request.id);
      case 'end':
        resolvers[Symbol.dispose]();
        port.close();
    }
  });
  post({ type: 'ready' });
}

start();
