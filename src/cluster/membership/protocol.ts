/*
 * What nodes say to managers, on one port with TLS 1.3:
 *
 *   GET  /v1/root      the root certificate. Open to all; who joins compares it with the token's digest.
 *   POST /v1/join      JoinCall → JoinAnswer. Open to who has the secret.
 *   POST /v1/renew     RenewCall → RenewAnswer. With a node's certificate.
 *   POST /v1/confirm   ConfirmCall → {}. With the certificate that it is about.
 *   POST /v1/role      {} → {role}: what the swarm says that the node is. With a node's certificate.
 *   POST /v1/admit     AdmitCall → AdmitAnswer: of a node that is to be a manager.
 *   POST /v1/promote   {}: its member of the store runs. Answered when it counts.
 *   GET  /v1/session   a WebSocket of JSON messages. With a node's certificate, and only for nodes of the roster.
 *
 * A session begins with `hello` and `welcome`; then managers ping (RFC 6455) at each heartbeat, and say what to trust
 * (`trust`) where the node trusts otherwise. Fields that a side does
 * not know are left alone, so that versions mix; `hello` tells which versions of the messages a node speaks.
 */
import { parseIp } from '../../net/ip.ts';
import type { AdmitAnswer, AdmitCall } from '../managers/admission.ts';
import type { Availability, NodeDescription, NodeRole } from '../swarm.ts';
import { splitHostPort } from './addresses.ts';

export const protocolVersion = 1;
/** A manager's name in its certificate: what its clients ask for. */
export const managerName = 'swarm-manager';
export const path = {
  root: '/v1/root',
  join: '/v1/join',
  renew: '/v1/renew',
  confirm: '/v1/confirm',
  role: '/v1/role',
  admit: '/v1/admit',
  promote: '/v1/promote',
  session: '/v1/session',
} as const;

/** More than a description ever needs. */
export const maxBodyBytes: number = 64 * 1024;
/** To a manager. */
export const maxMessageBytes: number = 1 << 20;
/** From a manager: thousands of networks in one. */
export const maxPushBytes: number = 16 << 20;
/** How many heartbeats a side may miss. */
export const graceHeartbeats = 3;
/** A session that says nothing at first ends. */
export const helloTimeoutMs = 10_000;

/** Why a session ended (RFC 6455 section 7.4.2: 4000 to 4999 are an application's). */
export const closeCode = {
  /** By the node: it leaves the swarm, or its daemon ends. */
  leaving: 4000,
  /** The node was removed: it need not come back. */
  removed: 4001,
  /** The node has a newer session. */
  replaced: 4002,
  /** What it said was not understood. */
  refused: 4003,
} as const;

export interface JoinCall {
  readonly secret: string;
  /** PKCS#10, PEM. */
  readonly request: string;
  readonly description: NodeDescription;
  /** Without a port. */
  readonly address: string;
  /** Of VXLAN; absent: `address`. */
  readonly dataPath?: string;
  readonly availability: Availability;
}

export interface JoinAnswer {
  readonly nodeId: string;
  readonly swarmId: string;
  readonly role: NodeRole;
  readonly certificate: string;
  readonly managers: readonly string[];
  /** Roots to trust; absent: the one that the token names. */
  readonly roots?: readonly string[];
}

export interface RenewCall {
  readonly request: string;
}

export interface RenewAnswer {
  readonly certificate: string;
}

export interface ConfirmCall {
  /** As `Hello` has it. */
  readonly trusts: string;
}

export interface Hello {
  readonly type: 'hello';
  readonly versions: readonly number[];
  readonly description: NodeDescription;
  readonly address: string;
  readonly dataPath?: string;
  /** The digest of the roots that the node trusts; absent from older nodes. */
  readonly trusts?: string;
}

/** A manager's. The node trusts these roots from now on, and gets a certificate of `issuer` unless it has one. */
export interface TrustPush {
  readonly type: 'trust';
  /** PEM. */
  readonly roots: readonly string[];
  readonly issuer: string;
  /** So that not all nodes come at once. */
  readonly withinMs: number;
}

export interface Welcome {
  readonly type: 'welcome';
  readonly version: number;
  /** Of this session, among the node's. */
  readonly epoch: number;
  readonly heartbeatMs: number;
  readonly managers: readonly string[];
  /** In the order of `managers`; absent from older ones. */
  readonly managerIds?: readonly string[];
  /** UDP, of VXLAN; absent: 4789. */
  readonly dataPathPort?: number;
  /** What the node is to be; absent: a worker. */
  readonly role?: NodeRole;
}

/** Later in a session, where it has changed. */
export interface News {
  readonly type: 'news';
  readonly managers: readonly string[];
  /** As in the welcome. */
  readonly managerIds?: readonly string[];
  readonly role: NodeRole;
}

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isWords(value: unknown): value is Readonly<Record<string, string>> {
  return isFields(value) && Object.values(value).every((one) => typeof one === 'string');
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isAddress = (value: unknown): boolean => isText(value) && parseIp(value) !== undefined;
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isRole = (value: unknown): boolean => value === 'worker' || value === 'manager';
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

function isDescription(value: unknown): value is NodeDescription {
  if (!isFields(value)) return false;
  const texts = ['hostname', 'architecture', 'os', 'engineVersion'].map((key) => value[key]);
  const counts = ['nanoCpus', 'memoryBytes'].map((key) => value[key]);
  return texts.every(isText) && counts.every(isCount) && isWords(value['engineLabels']);
}

/** Undefined if it is none. */
export function readJoinCall(value: unknown): JoinCall | undefined {
  if (!isFields(value)) return undefined;
  const { secret, request, description, address, dataPath = address, availability } = value;
  const isGood =
    isText(secret) &&
    isText(request) &&
    isText(address) &&
    (dataPath === address || isAddress(dataPath)) &&
    isDescription(description) &&
    ['active', 'pause', 'drain'].includes(String(availability));
  return isGood ? (value as unknown as JoinCall) : undefined;
}

export function readRenewCall(value: unknown): RenewCall | undefined {
  return isFields(value) && isText(value['request']) ? { request: value['request'] } : undefined;
}

export function readConfirmCall(value: unknown): ConfirmCall | undefined {
  return isFields(value) && isText(value['trusts']) ? { trusts: value['trusts'] } : undefined;
}

export function readTrustPush(value: unknown): TrustPush | undefined {
  if (!isFields(value) || value['type'] !== 'trust') return undefined;
  const { roots, issuer, withinMs } = value;
  const isGood =
    Array.isArray(roots) && roots.length > 0 && roots.every(isText) && isText(issuer) && isCount(withinMs);
  return isGood ? (value as unknown as TrustPush) : undefined;
}

export function readHello(value: unknown): Hello | undefined {
  if (!isFields(value) || value['type'] !== 'hello') return undefined;
  const { versions, description, address, dataPath = address, trusts = '' } = value;
  const isGood = Array.isArray(versions) && versions.every(isCount) && isDescription(description);
  return isGood && isAddress(address) && isAddress(dataPath) && isText(trusts)
    ? (value as unknown as Hello)
    : undefined;
}

export function readWelcome(value: unknown): Welcome | undefined {
  if (!isFields(value) || value['type'] !== 'welcome') return undefined;
  const { version, epoch, heartbeatMs, managers, managerIds = [], dataPathPort = 0 } = value;
  const isGood =
    [version, epoch, heartbeatMs, dataPathPort].every(isCount) && [managers, managerIds].every(isTexts);
  return isGood ? (value as unknown as Welcome) : undefined;
}

export function readNews(value: unknown): News | undefined {
  if (!isFields(value) || value['type'] !== 'news') return undefined;
  const { managers, managerIds = [], role } = value;
  const isGood = [managers, managerIds].every(isTexts) && isRole(role);
  return isGood ? (value as unknown as News) : undefined;
}

export function readAdmitCall(value: unknown): AdmitCall | undefined {
  if (!isFields(value)) return undefined;
  const { request, peer } = value;
  return isText(request) && isText(peer) && isAddress(splitHostPort(peer)?.host)
    ? { request, peer }
    : undefined;
}

export function readAdmitAnswer(value: unknown): AdmitAnswer | undefined {
  if (!isFields(value)) return undefined;
  const { certificate, rootPem, initial, sealKey, unlockKey = '', isElsewhere } = value;
  if (!isText(sealKey) || !isText(unlockKey)) return undefined;
  if (isElsewhere === true) return { isElsewhere, sealKey };
  const isGood = isText(certificate) && isText(rootPem) && isWords(initial);
  return isGood ? (value as unknown as AdmitAnswer) : undefined;
}

export function readJoinAnswer(value: unknown): JoinAnswer | undefined {
  if (!isFields(value)) return undefined;
  const { nodeId, swarmId, role, certificate, managers, roots = [] } = value;
  const isGood =
    [nodeId, swarmId, certificate].every(isText) && isRole(role) && [managers, roots].every(isTexts);
  return isGood ? (value as unknown as JoinAnswer) : undefined;
}

/** The JSON of a message as `ws` hands it over; undefined if it is none. */
export function parseMessage(data: Buffer | ArrayBuffer | readonly Buffer[]): unknown {
  const bytes = Buffer.isBuffer(data)
    ? data
    : data instanceof ArrayBuffer
      ? Buffer.from(data)
      : Buffer.concat(data);
  return parseJson(bytes.toString('utf8'));
}

/** Undefined if it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
