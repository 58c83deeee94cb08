/*
 * A manager's port: certifies nodes that join, and holds a session with each. Who may do what is decided anew for every
 * request, by the roster; the certificate only says who is asking. A client without one is let in as far as joining needs.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket, Server as TlsServer } from 'node:tls';
import fastify, { type FastifyInstance } from 'fastify';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { httpStatusOfKind } from '../../errors/kinds.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import { type Ip, parseIp } from '../../net/ip.ts';
import { type Authority, publicKeyOf, subjectOf } from '../identity/authority.ts';
import { equalSecrets } from '../identity/joinToken.ts';
import { issuerAmong, isUpToDate, type Trust } from '../identity/trust.ts';
import type { OwnIdentity } from '../identity/trustKeeper.ts';
import type { Admission } from '../managers/admission.ts';
import type { TableServer } from '../networks/tableServer.ts';
import type { NodeRole } from '../swarm.ts';
import { splitHostPort } from './addresses.ts';
import {
  closeCode,
  graceHeartbeats,
  helloTimeoutMs,
  type JoinAnswer,
  type News,
  maxBodyBytes,
  maxMessageBytes,
  parseMessage,
  path,
  protocolVersion,
  type RenewAnswer,
  readConfirmCall,
  readAdmitCall,
  readHello,
  readJoinCall,
  readRenewCall,
  type TrustPush,
  type Welcome,
} from './protocol.ts';
import { type NodeRecord, nodeIdOf } from './records.ts';
import type { Roster } from './roster.ts';
import { WebSocketLink } from './webSocketLink.ts';

/** What the swarm is like now; read for every request. */
export interface ManagerState {
  readonly swarmId: string;
  readonly authority: Authority;
  readonly trust: Trust;
  readonly secrets: Readonly<Record<NodeRole, string>>;
  readonly certificateLifeMs: number;
  readonly heartbeatMs: number;
  readonly managers: readonly string[];
  /** Likewise; empty where it is not known. */
  readonly managerIds: readonly string[];
  /** UDP, of VXLAN. */
  readonly dataPathPort: number;
}

export interface ManagerServerDependencies {
  readonly roster: Roster;
  readonly tables: Pick<TableServer, 'accept'>;
  readonly admission: Pick<Admission, 'admit' | 'promote' | 'hasMember'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly state: () => ManagerState;
  /** What the port shows and trusts at first. */
  readonly own: OwnIdentity;
}

/** Docker's words for a token that was rotated, or was never one. */
const badSecret =
  'rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster';

const tlsOptions = ({ keys, rootPem }: OwnIdentity) => ({
  ...{ ca: rootPem, key: keys.keyPem, cert: keys.certificatePem },
  minVersion: 'TLSv1.3' as const,
});

/** Of a change of the root: a certificate costs a manager 5 ms. */
const msPerRenewal = 20;
const longestRenewalsMs = 60_000;

interface Caller {
  /** Of the certificate that the node shows. */
  readonly issuer: string;
  readonly from: Ip | undefined;
}

/** Of the other end, where a socket of both families says it as the IPv4 address that it is. */
function addressOf({ remoteAddress = '' }: TLSSocket): Ip | undefined {
  return parseIp(remoteAddress.replace(/^::ffff:(?=\d+\.)/, ''));
}

interface Session {
  readonly socket: WebSocket;
  /** Among the node's. */
  readonly epoch: number;
  /** What the node was told. */
  role: NodeRole;
  heardAtMs: number;
}

export class ManagerServer implements AsyncDisposable {
  readonly #deps: ManagerServerDependencies;
  readonly #app: FastifyInstance;
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: maxMessageBytes });
  /** By node. */
  readonly #sessions = new Map<string, Session>();
  readonly #listeners = new DisposableStack();
  readonly #stopping = new AbortController();
  #toldManagers: string;
  #isAway = false;

  private constructor(deps: ManagerServerDependencies) {
    this.#deps = deps;
    this.#toldManagers = String(deps.state().managers);
    this.#app = fastify({
      https: {
        ...tlsOptions(deps.own),
        requestCert: true,
        rejectUnauthorized: false,
      },
      bodyLimit: maxBodyBytes,
      requestTimeout: helloTimeoutMs,
      forceCloseConnections: true,
    });
    this.#addRoutes();
    this.#app.server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#app.server.on('tlsClientError', (error: Error) =>
      deps.logger.debug({ err: error.message }, 'a connection to the swarm port was no TLS'),
    );
    const { roster } = deps;
    this.#listeners.use(
      roster.events.on('removed', ({ id }) => this.#sessions.get(id)?.socket.close(closeCode.removed)),
    );
    this.#listeners.use(
      roster.events.on('changed', ({ after: { id, epoch } }) => {
        const session = this.#sessions.get(id);
        // It has begun another, with another manager.
        if (session !== undefined && session.epoch < epoch) session.socket.close(closeCode.replaced);
        this.#tellNews(id);
      }),
    );
    this.#listeners.use(roster.events.on('removed', () => this.#tellNews()));
    this.#listeners.use(
      roster.events.on('orphaned', ({ id }) => void this.#downUnlessBack(id, this.#patienceMs)),
    );
  }

  /** Rejects with code requestInvalid if the port cannot be had. `address` as `0.0.0.0:2377`. */
  static async listen(deps: ManagerServerDependencies, address: string): Promise<ManagerServer> {
    const server = new ManagerServer(deps);
    const { host, port } = splitHostPort(address) ?? { host: '', port: 0 };
    try {
      await server.#app.listen({ host, port });
    } catch (error) {
      await server[Symbol.asyncDispose]();
      const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      const why = isTaken ? 'bind: address already in use' : messageOf(error);
      const text = `manager stopped: failed to listen on remote API address: listen tcp ${address}: ${why}`;
      throw new LinkspanError('requestInvalid', text, { cause: error });
    }
    void server.#beat();
    return server;
  }

  /** What the port shows and trusts from now on; sessions that stand are not touched. */
  show(own: OwnIdentity): void {
    const server = this.#app.server as unknown as TlsServer;
    server.setSecureContext(tlsOptions(own));
  }

  /** There is something else to trust: nodes that are here are told, the others when they come. */
  tellTrust(): void {
    for (const [id, { socket }] of this.#sessions) this.#tellTrust(id, socket);
  }

  #tellTrust(id: string, socket: WebSocket): void {
    const { roots, issuer, wanted } = this.#deps.state().trust;
    if (isUpToDate(this.#deps.roster.find(id)?.tls, { wanted })) return;
    const withinMs = Math.min(msPerRenewal * this.#sessions.size, longestRenewalsMs);
    const push: TrustPush = { type: 'trust', roots, issuer: issuer.certificatePem, withinMs };
    socket.send(JSON.stringify(push));
  }

  /** Nodes are to find another manager, or may come again. */
  letGo(isAway: boolean): void {
    this.#isAway = isAway;
    if (isAway) for (const { socket } of this.#sessions.values()) socket.close(1001);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#listeners.dispose();
    // Not `removed`: they come back, here or to another manager.
    for (const { socket } of this.#sessions.values()) socket.close(1001);
    await this.#app.close();
    for (const { socket } of this.#sessions.values()) socket.terminate();
  }

  #addRoutes(): void {
    const app = this.#app;
    app.setErrorHandler(async (error, _request, reply) => {
      const status =
        error instanceof LinkspanError
          ? httpStatusOfKind[error.kind]
          : ((error as { statusCode?: number }).statusCode ?? 500);
      return await reply.code(status).send({ message: messageOf(error) });
    });
    // As tokens name it.
    app.get(path.root, async (_request, reply) => {
      const [rootPem = ''] = this.#deps.state().trust.roots;
      return await reply.type('text/plain').send(rootPem);
    });
    app.post(path.join, async ({ body }) => await this.#join(body));
    app.post(path.renew, async ({ raw, body }) => await this.#renew(raw, body));
    app.post(path.confirm, async ({ raw, body }) => await this.#confirm(raw, body));
    app.post(path.role, async ({ raw }) => {
      // The asker may give up what it has by that.
      await this.#deps.roster.fresh();
      const { id, spec } = await this.#nodeThat(raw);
      return { role: spec.role, hasMember: await this.#deps.admission.hasMember(id) };
    });
    app.post(path.admit, async ({ raw, body }) => {
      const call = readAdmitCall(body);
      if (call === undefined) throw new LinkspanError('joinRefused', 'the request is malformed');
      return await this.#deps.admission.admit(await this.#managerToBe(raw), call);
    });
    app.post(path.promote, async ({ raw }) => {
      await this.#deps.admission.promote(await this.#managerToBe(raw));
      return {};
    });
  }

  /** Code nodeRefused if nobody of this swarm asks. */
  async #nodeThat(request: IncomingMessage): Promise<NodeRecord> {
    const node = await this.#lookFor(request.socket as TLSSocket);
    if (node === undefined) throw new LinkspanError('nodeRefused', 'only nodes of this swarm may ask');
    return node;
  }

  async #managerToBe(request: IncomingMessage): Promise<NodeRecord> {
    const { roster } = this.#deps;
    const { id, spec } = await this.#nodeThat(request);
    // Another manager may have promoted it a moment ago.
    if (spec.role !== 'manager') await roster.fresh();
    const node = roster.find(id);
    if (node?.spec.role !== 'manager')
      throw new LinkspanError('nodeRefused', 'the node is a worker: promote it first');
    return node;
  }

  /** To all if the managers are others, otherwise to `id`, if its role is another. */
  #tellNews(id?: string): void {
    const { managers, managerIds } = this.#deps.state();
    const isForAll = String(managers) !== this.#toldManagers;
    this.#toldManagers = String(managers);
    for (const [nodeId, session] of this.#sessions) {
      const role = this.#deps.roster.find(nodeId)?.spec.role ?? 'worker';
      if (!isForAll && (nodeId !== id || session.role === role)) continue;
      session.role = role;
      session.socket.send(JSON.stringify({ type: 'news', managers, managerIds, role } satisfies News));
    }
  }

  async #join(body: unknown): Promise<JoinAnswer> {
    const call = readJoinCall(body);
    if (call === undefined) throw new LinkspanError('joinRefused', 'the request to join is malformed');
    const { swarmId, authority, trust, secrets, certificateLifeMs, managers } = this.#deps.state();
    const role = (['worker', 'manager'] as const).find((one) => equalSecrets(secrets[one], call.secret));
    if (role === undefined) throw new LinkspanError('joinRefused', badSecret);
    if (parseIp(call.address) === undefined)
      throw new LinkspanError('joinRefused', 'the address of the node is malformed');
    const nodeId = nodeIdOf(await publicKeyOf(call.request));
    const certificate = await authority.issue(call.request, { nodeId, swarmId, role }, certificateLifeMs);
    const { description, address, dataPath = address, availability } = call;
    const spec = { name: '', labels: {}, role, availability };
    await this.#deps.roster.add({ id: nodeId, spec, description, address, dataPath });
    this.#deps.logger.info({ node: nodeId, hostname: description.hostname, address, role }, 'a node joined');
    return { nodeId, swarmId, role, certificate, managers, roots: trust.roots };
  }

  async #renew(request: IncomingMessage, body: unknown): Promise<RenewAnswer> {
    const node = this.#nodeOf(request.socket as TLSSocket);
    const call = readRenewCall(body);
    if (node === undefined || call === undefined)
      throw new LinkspanError('joinRefused', 'only a node of this swarm can renew its certificate');
    const { swarmId, authority, certificateLifeMs } = this.#deps.state();
    const subject = { nodeId: node.id, swarmId, role: node.spec.role };
    return { certificate: await authority.issue(call.request, subject, certificateLifeMs) };
  }

  /** It works with the certificate that it shows here, and trusts what it says. */
  async #confirm(request: IncomingMessage, body: unknown): Promise<Record<string, never>> {
    const socket = request.socket as TLSSocket;
    const node = this.#nodeOf(socket);
    const call = readConfirmCall(body);
    if (node === undefined || call === undefined)
      throw new LinkspanError('joinRefused', 'only a node of this swarm can confirm its certificate');
    await this.#deps.roster.noteTls(node.id, { issuer: this.#issuerOf(socket), trusts: call.trusts });
    return {};
  }

  #issuerOf(socket: TLSSocket): string {
    const certificate = socket.getPeerX509Certificate();
    return certificate === undefined
      ? ''
      : issuerAmong(this.#deps.state().trust.roots, certificate.toString());
  }

  /** Who is at the other end, if it is a node of ours. */
  #nodeOf(socket: TLSSocket): NodeRecord | undefined {
    const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
    const subject = certificate === undefined ? undefined : subjectOf(certificate.toString());
    if (subject === undefined || subject.swarmId !== this.#deps.state().swarmId) return undefined;
    return this.#deps.roster.find(subject.nodeId);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const tls = request.socket as TLSSocket;
    const refuse = (status: string): void => {
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    };
    socket.on('error', () => {});
    if (!tls.authorized || request.url !== path.session) refuse('401 Unauthorized');
    else if (this.#isAway) refuse('503 Service Unavailable');
    else
      this.#lookFor(tls).then(
        (node) => {
          // Whoever we certified once and know no more was removed.
          if (node === undefined) refuse('403 Forbidden');
          else
            this.#sockets.handleUpgrade(request, socket, head, (webSocket) =>
              this.#greet(node.id, { issuer: this.#issuerOf(tls), from: addressOf(tls) }, webSocket),
            );
        },
        () => refuse('503 Service Unavailable'),
      );
  }

  /** As `#nodeOf`, of those too that another manager let in a moment ago. Rejects where nobody can know. */
  async #lookFor(socket: TLSSocket): Promise<NodeRecord | undefined> {
    const known = this.#nodeOf(socket);
    if (known !== undefined || !socket.authorized) return known;
    await this.#deps.roster.fresh();
    return this.#nodeOf(socket);
  }

  #greet(id: string, { issuer, from }: Caller, socket: WebSocket): void {
    const timer = setTimeout(() => socket.close(closeCode.refused), helloTimeoutMs).unref();
    socket.on('error', (error) =>
      this.#deps.logger.debug({ node: id, err: error.message }, 'a session failed'),
    );
    socket.once('message', (data, isBinary) => {
      clearTimeout(timer);
      const hello = isBinary ? undefined : readHello(parseMessage(data));
      if (hello?.versions.includes(protocolVersion) !== true) {
        socket.close(closeCode.refused, `speak version ${protocolVersion}`);
        return;
      }
      const { description, address, dataPath = address, trusts = '' } = hello;
      const heard = { description, address, dataPath, tls: { issuer, trusts } };
      this.#begin(id, socket, heard, from).catch((error: unknown) => {
        this.#deps.logger.error({ node: id, err: error }, 'could not begin a session');
        socket.terminate();
      });
    });
  }

  async #begin(
    id: string,
    socket: WebSocket,
    heard: Pick<NodeRecord, 'description' | 'address' | 'dataPath' | 'tls'>,
    from: Ip | undefined,
  ): Promise<void> {
    const { roster, clock, logger, tables } = this.#deps;
    const node = await roster.begin(id, heard);
    if (node === undefined || socket.readyState !== socket.OPEN) {
      socket.close(node === undefined ? closeCode.removed : closeCode.refused);
      return;
    }
    this.#sessions.get(id)?.socket.close(closeCode.replaced);
    const { role } = node.spec;
    const session: Session = { socket, role, epoch: node.epoch, heardAtMs: clock.nowMs() };
    this.#sessions.set(id, session);
    socket.on('pong', () => (session.heardAtMs = clock.nowMs()));
    socket.on('close', (code) => this.#ended(id, session, code));
    roster.note(id, { state: 'ready', message: '' });
    // What a node says in an earlier session it says to nobody from here on.
    tables.accept(id, node.epoch, new WebSocketLink(socket), from);
    const { heartbeatMs, managers, managerIds, dataPathPort } = this.#deps.state();
    const welcome: Welcome = {
      type: 'welcome',
      version: protocolVersion,
      epoch: node.epoch,
      ...{ heartbeatMs, managers, managerIds, dataPathPort, role },
    };
    socket.send(JSON.stringify(welcome));
    this.#tellTrust(id, socket);
    logger.info({ node: id, hostname: heard.description.hostname, epoch: node.epoch }, 'a node is ready');
  }

  /** One that does not come back within the grace of heartbeats is down. */
  #ended(id: string, session: Session, code: number): void {
    if (this.#sessions.get(id) !== session) return;
    this.#sessions.delete(id);
    const { roster, clock, logger } = this.#deps;
    if (this.#stopping.signal.aborted || roster.find(id)?.epoch !== session.epoch) return;
    if (code === closeCode.leaving) {
      roster.note(id, { state: 'down', message: 'the node has left' });
      logger.info({ node: id }, 'a node has left');
      return;
    }
    roster.note(id, { state: 'disconnected', message: 'the session ended' });
    logger.warn({ node: id, code }, 'lost a node');
    void this.#downUnlessBack(
      id,
      graceHeartbeats * this.#deps.state().heartbeatMs - (clock.nowMs() - session.heardAtMs),
    );
  }

  /** For a node whose manager is gone: it has to find another first. */
  get #patienceMs(): number {
    return 2 * graceHeartbeats * this.#deps.state().heartbeatMs;
  }

  async #downUnlessBack(id: string, waitMs: number): Promise<void> {
    const { roster } = this.#deps;
    const epoch = roster.find(id)?.epoch;
    try {
      await this.#deps.clock.sleep(Math.max(0, waitMs), this.#stopping.signal);
    } catch {
      return;
    }
    if (this.#sessions.has(id) || roster.find(id)?.epoch !== epoch) return;
    const { state } = roster.presenceOf(id);
    if (state === 'ready' || state === 'down') return;
    roster.note(id, { state: 'down', message: 'heartbeat failure' });
  }

  async #beat(): Promise<void> {
    const { clock, roster } = this.#deps;
    const { signal } = this.#stopping;
    for (const { id } of roster.nodes)
      if (roster.presenceOf(id).state === 'unknown') void this.#downUnlessBack(id, this.#patienceMs);
    try {
      for (;;) {
        const { heartbeatMs } = this.#deps.state();
        await clock.sleep(heartbeatMs, signal);
        for (const { socket, heardAtMs } of this.#sessions.values()) {
          if (clock.nowMs() - heardAtMs > graceHeartbeats * heartbeatMs) socket.terminate();
          else socket.ping();
        }
      }
    } catch {
      // Stopped.
    }
  }
}
