/*
 * What a node and its manager say to each other in a session about networks, as JSON, after hello and welcome.
 *
 *   node → manager   subscribe             to what networks and nodes there are
 *                    follow, unfollow      one network's table
 *                    call                  sync, claim, release, amend, tunnel; answered in order
 *   manager → node   answer
 *                    networks, nodes       all of them, then changes
 *                    snapshot              of a table, in parts
 *                    changes               of a table, from one revision to another
 *
 * Messages of other types, and fields that a side does not know, are left alone, so that versions mix.
 * Readers return undefined for what is malformed.
 */
import { isErrorCode } from '../../errors/codes.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import { formatIp, parseIp } from '../../net/ip.ts';
import { parseMac } from '../../net/mac.ts';
import {
  longestReason,
  mostEndpoints,
  mostSeen,
  type EndpointClaim,
  type NodeTunnel,
  type SwarmEndpoint,
  type SwarmNetwork,
  type SwarmNode,
  type TunnelOffer,
} from '../swarmNetworks.ts';
import { parseHostPort } from '../../net/hostPort.ts';

export interface EndpointName {
  readonly networkId: string;
  readonly endpointId: string;
}

/** What a node may ask, with params and result. */
export interface Calls {
  /** All endpoints of the node, in parts. `keep`: those whose claim is still to be answered. */
  readonly sync: {
    readonly params: {
      readonly claims: readonly EndpointClaim[];
      readonly keep: readonly EndpointName[];
      readonly isLast: boolean;
    };
    readonly result: { readonly refused: readonly Refusal[] };
  };
  readonly claim: { readonly params: { readonly claim: EndpointClaim }; readonly result: SwarmEndpoint };
  readonly release: {
    readonly params: { readonly endpoints: readonly EndpointName[] };
    readonly result: null;
  };
  readonly tunnel: { readonly params: { readonly offer: TunnelOffer }; readonly result: NodeTunnel };
  readonly amend: {
    readonly params: { readonly claims: readonly EndpointClaim[] };
    readonly result: { readonly refused: readonly Refusal[] };
  };
}

export interface Refusal extends EndpointName {
  readonly message: string;
  /** Absent from managers of earlier versions. */
  readonly code?: string;
}

export type Call = {
  [M in keyof Calls]: { readonly method: M; readonly params: Calls[M]['params'] };
}[keyof Calls];

export type Request =
  | { readonly type: 'subscribe' }
  | {
      readonly type: 'follow';
      readonly network: string;
      /** Where to go on from; epoch empty: nothing is known. */
      readonly epoch: string;
      readonly revision: number;
    }
  | { readonly type: 'unfollow'; readonly network: string }
  | ({ readonly type: 'call'; readonly id: number } & Call)
  /** A call of a later version. */
  | { readonly type: 'unknownCall'; readonly id: number };

export interface Answer {
  readonly type: 'answer';
  readonly id: number;
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

export interface NetworksPush {
  readonly type: 'networks';
  /** `networks` are all there are. */
  readonly isAll: boolean;
  readonly networks: readonly SwarmNetwork[];
  readonly gone: readonly string[];
}

export interface NodesPush {
  readonly type: 'nodes';
  readonly isAll: boolean;
  readonly nodes: readonly SwarmNode[];
  readonly gone: readonly string[];
}

export interface SnapshotPart {
  readonly type: 'snapshot';
  readonly network: string;
  readonly epoch: string;
  readonly revision: number;
  readonly rows: readonly SwarmEndpoint[];
  /** From 0: a snapshot that begins again starts from there. */
  readonly part: number;
  readonly isLast: boolean;
}

/** Of a row that went, the revision of its going. */
export interface Gone {
  readonly endpointId: string;
  readonly revision: number;
}

export interface ChangesPush {
  readonly type: 'changes';
  readonly network: string;
  readonly epoch: string;
  /** The table that these are changes of. */
  readonly previous: number;
  readonly revision: number;
  readonly put: readonly SwarmEndpoint[];
  readonly del: readonly Gone[];
}

export type Push = Answer | NetworksPush | NodesPush | SnapshotPart | ChangesPush;

/** Of a part of a snapshot, or of what a node syncs. */
export const maxPartRows = 1000;
/** Well below what a side accepts of a message. */
export const maxPartBytes: number = 256 * 1024;
/** Of what carries a tunnel: the least of IPv6 (RFC 8200 section 5), and the most of a link. */
const leastMtuBytes = 1280;
const mostMtuBytes = 65_536;
/** In one claim; longer lists than a container ever has. */
const maxNames = 256;
const maxTextLength = 255;
/** Endpoints in one call. */
const maxListLength = 2000;

type Fields = Readonly<Record<string, unknown>>;

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= maxTextLength;
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
/** Part of a key: no slash. */
const isId = (value: unknown): value is string => isText(value) && /^[\w.-]+$/.test(value);

function readList<T>(value: unknown, read: (one: unknown) => T | undefined): readonly T[] | undefined {
  if (!Array.isArray(value) || value.length > maxListLength) return undefined;
  const list: T[] = [];
  for (const one of value) {
    const good = read(one);
    if (good === undefined) return undefined;
    list.push(good);
  }
  return list;
}

function readAddress(value: unknown, family: 4 | 6): string | undefined {
  const ip = isText(value) ? parseIp(value) : undefined;
  return ip?.family === family ? formatIp(ip) : undefined;
}

export function readName(value: unknown): EndpointName | undefined {
  if (!isFields(value)) return undefined;
  const { networkId, endpointId } = value;
  return isId(networkId) && isId(endpointId) ? { networkId, endpointId } : undefined;
}

export function readClaim(value: unknown): EndpointClaim | undefined {
  const name = readName(value);
  if (name === undefined || !isFields(value)) return undefined;
  const { containerId, containerName, mac, dnsNames, isUp, ipv4, ipv6, block } = value;
  if (!isText(containerId) || !isText(containerName) || typeof isUp !== 'boolean') return undefined;
  const goodMac = isText(mac) ? parseMac(mac) : undefined;
  if (goodMac === undefined || !Array.isArray(dnsNames)) return undefined;
  if (dnsNames.length > maxNames || !dnsNames.every(isText)) return undefined;
  const [four, six] = [readAddress(ipv4, 4), readAddress(ipv6, 6)];
  if ((ipv4 !== undefined && four === undefined) || (ipv6 !== undefined && six === undefined))
    return undefined;
  if (block !== undefined && block !== 4 && block !== 6) return undefined;
  return {
    ...{ ...name, containerId, containerName, mac: goodMac, dnsNames: [...dnsNames], isUp },
    ...(four === undefined ? {} : { ipv4: four }),
    ...(six === undefined ? {} : { ipv6: six }),
    ...(block === undefined ? {} : { block }),
  };
}

/** 32 bytes in canonical base64. */
const isPublicKey = (value: unknown): value is string =>
  isText(value) &&
  /^[A-Za-z0-9+/]{43}=$/.test(value) &&
  Buffer.from(value, 'base64').toString('base64') === value;

function readEndpoint(value: unknown): string | undefined {
  return isText(value) && (parseHostPort(value)?.port ?? 0) > 0 ? value : undefined;
}

function readSeen(value: unknown): Readonly<Record<string, string>> | undefined {
  const entries = isFields(value) ? Object.entries(value) : undefined;
  if (entries === undefined || entries.length > mostSeen) return undefined;
  const isGood = entries.every(([id, endpoint]) => isId(id) && readEndpoint(endpoint) !== undefined);
  return isGood ? (value as Readonly<Record<string, string>>) : undefined;
}

function readOffer(value: unknown): TunnelOffer | undefined {
  if (!isFields(value)) return undefined;
  const { publicKey, mtuBytes } = value;
  const endpoints = readList(value['endpoints'], readEndpoint);
  if (endpoints === undefined || endpoints.length > mostEndpoints) return undefined;
  if (!isCount(mtuBytes) || mtuBytes < leastMtuBytes || mtuBytes > mostMtuBytes) return undefined;
  if (!isPublicKey(publicKey)) return undefined;
  const { lacks } = value;
  if (lacks !== undefined && (!isText(lacks) || lacks.length > longestReason)) return undefined;
  const offer = { publicKey, mtuBytes, endpoints, ...(lacks === undefined ? {} : { lacks }) };
  if (value['sees'] === undefined) return offer;
  const sees = readSeen(value['sees']);
  return sees && { ...offer, sees };
}

const methods: ReadonlySet<string> = new Set<keyof Calls>(['sync', 'claim', 'release', 'amend', 'tunnel']);

function readCall(method: unknown, params: unknown): Call | undefined {
  if (!isFields(params)) return undefined;
  if (method === 'claim') {
    const claim = readClaim(params['claim']);
    return claim && { method, params: { claim } };
  }
  if (method === 'release') {
    const endpoints = readList(params['endpoints'], readName);
    return endpoints && { method, params: { endpoints } };
  }
  if (method === 'tunnel') {
    const offer = readOffer(params['offer']);
    return offer && { method, params: { offer } };
  }
  const claims = readList(params['claims'], readClaim);
  if (claims === undefined) return undefined;
  if (method === 'amend') return { method, params: { claims } };
  const keep = readList(params['keep'], readName);
  if (method !== 'sync' || keep === undefined || typeof params['isLast'] !== 'boolean') return undefined;
  return { method, params: { claims, keep, isLast: params['isLast'] } };
}

/** `malformed`: it breaks the rules. `other`: another version's, to be left alone. */
export function readRequest(value: unknown): Request | 'malformed' | 'other' {
  if (!isFields(value) || typeof value['type'] !== 'string') return 'malformed';
  const { type, network, epoch, revision, id } = value;
  switch (type) {
    case 'subscribe':
      return { type };
    case 'follow':
      return isId(network) && isText(epoch) && isCount(revision)
        ? { type, network, epoch, revision }
        : 'malformed';
    case 'unfollow':
      return isId(network) ? { type, network } : 'malformed';
    case 'call': {
      if (!isCount(id)) return 'malformed';
      if (isText(value['method']) && !methods.has(value['method'])) return { type: 'unknownCall', id };
      const call = readCall(value['method'], value['params']);
      return call === undefined ? 'malformed' : { type, id, ...call };
    }
    default:
      return 'other';
  }
}

/** A manager is believed in what it says, once it is one of the types known here. */
export function readPush(value: unknown): Push | undefined {
  if (!isFields(value)) return undefined;
  const types = ['answer', 'networks', 'nodes', 'snapshot', 'changes'];
  return types.includes(String(value['type'])) ? (value as unknown as Push) : undefined;
}

export function errorAnswer(id: number, error: unknown): Answer {
  const code = error instanceof LinkspanError ? error.code : 'store';
  return { type: 'answer', id, error: { code, message: messageOf(error) } };
}

/** What a manager refused with; a code of a later version becomes `nodeRefused`. */
export function toError({ code, message }: NonNullable<Answer['error']>): LinkspanError {
  return new LinkspanError(isErrorCode(code) ? code : 'nodeRefused', message);
}

export const keyOf = ({ networkId, endpointId }: EndpointName): string => `${networkId}/${endpointId}`;
