/*
 * A node's side of joining and renewing. To join, it fetches the root certificate from whoever answers, and gives its
 * secret away only once that certificate has the digest which the token names.
 */
import { request } from 'node:https';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import { requestCertificate } from '../identity/authority.ts';
import { digestHexOf, digestOf, type JoinToken } from '../identity/joinToken.ts';
import { bundleOf } from '../identity/trust.ts';
import { splitHostPort } from './addresses.ts';
import {
  type JoinAnswer,
  type JoinCall,
  managerName,
  maxBodyBytes,
  parseJson,
  path,
  readJoinAnswer,
} from './protocol.ts';
import type { SelfRecord } from './records.ts';

interface Call {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  /** Undefined: the manager is not checked. */
  readonly ca: string | undefined;
  readonly keys?: SelfRecord['keys'];
  readonly signal: AbortSignal;
}

/** Resolves with the status and text. Rejects with what Node says where nobody answers, or not who should. */
function ask(
  address: string,
  { body, ca, keys, signal, ...call }: Call,
): Promise<{ status: number; text: string }> {
  const { host, port } = splitHostPort(address) ?? { host: address, port: 0 };
  const trust = ca === undefined ? { rejectUnauthorized: false } : { ca, servername: managerName };
  const own = keys === undefined ? {} : { key: keys.keyPem, cert: keys.certificatePem };
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = body === undefined ? {} : { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const options = { host, port, ...call, ...trust, ...own, headers, signal, agent: false };
    const sent = request(options, (answer) => {
      let heard = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        heard += chunk;
        if (heard.length > maxBodyBytes) sent.destroy(new Error('the answer is too long'));
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text: heard }));
      answer.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

/** What a manager said where it refused. */
function refusalOf({ status, text }: { readonly status: number; readonly text: string }): LinkspanError {
  const { message } = (parseJson(text) ?? {}) as { readonly message?: unknown };
  const said = typeof message === 'string' ? message : `the manager answered with status ${status}`;
  return new LinkspanError(status === 501 ? 'notImplemented' : 'joinRefused', said);
}

/** The root of the swarm at `address`. Code joinRefused if it is another than the token's. */
async function fetchRoot(address: string, { digest }: JoinToken, signal: AbortSignal): Promise<string> {
  const answer = await ask(address, { method: 'GET', path: path.root, ca: undefined, signal });
  if (answer.status !== 200) throw refusalOf(answer);
  if (digestOf(answer.text) === digest) return answer.text;
  const expected = digestHexOf(digest);
  throw new LinkspanError('joinRefused', `remote CA does not match fingerprint. Expected: ${expected}`);
}

export interface Joined {
  readonly answer: JoinAnswer;
  readonly rootPem: string;
  readonly keys: SelfRecord['keys'];
}

/** Asks each manager in turn until one lets the node in or refuses it. Code joinRefused, joinTimeout if none answers. */
export async function askToJoin(
  remotes: readonly string[],
  token: JoinToken,
  call: Omit<JoinCall, 'secret' | 'request'>,
  signal: AbortSignal,
): Promise<Joined> {
  const { requestPem, keyPem } = await requestCertificate();
  let silence = 'there is no address of a manager';
  for (const remote of remotes) {
    try {
      const rootPem = await fetchRoot(remote, token, signal);
      const body: JoinCall = { ...call, secret: token.secret, request: requestPem };
      const said = await ask(remote, { method: 'POST', path: path.join, body, ca: rootPem, signal });
      const answer = said.status === 200 ? readJoinAnswer(parseJson(said.text)) : undefined;
      if (answer === undefined) throw refusalOf(said);
      const managers = [...new Set([...answer.managers, remote])];
      return {
        answer: { ...answer, managers },
        rootPem: answer.roots === undefined ? rootPem : bundleOf(answer.roots),
        keys: { certificatePem: answer.certificate, keyPem },
      };
    } catch (error) {
      if (error instanceof LinkspanError) throw error;
      silence = `${remote}: ${messageOf(error)}`;
    }
  }
  throw new LinkspanError(
    'joinTimeout',
    `Timeout was reached before node joined. No manager answered: ${silence}`,
  );
}

/**
 * What a node of the swarm asks a manager; resolves with its answer. Codes storeUnavailable, nodeRefused if the node may
 * not, nodeNotFound if it has no member of the store, joinRefused otherwise; rejects with Node's error where the manager does not answer.
 */
export async function askManager(
  manager: string,
  { keys, rootPem }: Pick<SelfRecord, 'keys' | 'rootPem'>,
  where: string,
  body: unknown,
  signal: AbortSignal,
): Promise<unknown> {
  const said = await ask(manager, { method: 'POST', path: where, body, ca: rootPem, keys, signal });
  if (said.status === 200) return parseJson(said.text);
  const { code, message } = refusalOf(said);
  const codeOf = { 503: 'storeUnavailable', 404: 'nodeNotFound', 403: 'nodeRefused' } as const;
  throw new LinkspanError(codeOf[said.status as keyof typeof codeOf] ?? code, message);
}

/** A new certificate for a new key. Code joinRefused; rejects with Node's error where the manager does not answer. */
export async function renew(
  manager: string,
  { keys, rootPem }: Pick<SelfRecord, 'keys' | 'rootPem'>,
  signal: AbortSignal,
): Promise<SelfRecord['keys']> {
  const { requestPem, keyPem } = await requestCertificate();
  const body = { request: requestPem };
  const said = await ask(manager, { method: 'POST', path: path.renew, body, ca: rootPem, keys, signal });
  const { certificate } = (parseJson(said.text) ?? {}) as { readonly certificate?: unknown };
  if (said.status !== 200 || typeof certificate !== 'string') throw refusalOf(said);
  return { certificatePem: certificate, keyPem };
}

/** Shows a manager the certificate of today. Code joinRefused; rejects with Node's error where it does not answer. */
export async function confirm(
  manager: string,
  { keys, rootPem }: Pick<SelfRecord, 'keys' | 'rootPem'>,
  trusts: string,
  signal: AbortSignal,
): Promise<void> {
  const body = { trusts };
  const said = await ask(manager, { method: 'POST', path: path.confirm, body, ca: rootPem, keys, signal });
  if (said.status !== 200) throw refusalOf(said);
}
