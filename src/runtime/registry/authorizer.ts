/*
 * Answers a registry's challenge: Basic with a user name and password, or Bearer with a token that the named
 * authorization server gives for scopes as `repository:PATH:pull` (distribution spec, "Token Authentication" and
 * "OAuth2"). One per pull, push or login; tokens live as long as it does.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { RegistryCredentials } from '../images/images.ts';
import type { Reference } from '../images/reference.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { explainAnswer, refusal, unreachable } from './failures.ts';
import type { Access } from './registryHttp.ts';

/** An answer of an authorization server is about 3 KiB. */
const answerMaxBytes = 1 << 20;
const clientId = 'linkspan';

interface AuthorizerOptions {
  readonly reference: Reference;
  readonly credentials: RegistryCredentials;
  readonly access: Access;
  /** Of the registry, with scheme. A registry that is spoken to by HTTPS may not send passwords elsewhere in clear. */
  readonly baseUrl: string;
  readonly signal: AbortSignal;
}

export interface Authorizer {
  /** Value of the Authorization header, once a challenge was answered. */
  header(): string | undefined;
  /**
   * Takes the challenge of a 401. False where nothing could be better next time. Throws registryRefused where the
   * registry wants a password that was not given, and what the authorization server answers.
   */
  answer(challenge: string): Promise<boolean>;
}

function encodeBasic({ username = '', password = '' }: RegistryCredentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function realmOf(challenge: Challenge, baseUrl: string): URL {
  const realm = URL.parse(challenge.parameters['realm'] ?? '');
  const isAllowed =
    realm?.protocol === 'https:' || (realm?.protocol === 'http:' && baseUrl.startsWith('http:'));
  if (realm === null || !isAllowed)
    throw new LinkspanError(
      'registryRefused',
      `the registry names an authorization server that cannot be used: ${JSON.stringify(challenge.parameters['realm'] ?? '')}`,
    );
  return realm;
}

async function readText(response: Response): Promise<string> {
  let length = 0;
  const parts: Uint8Array[] = [];
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > answerMaxBytes) break;
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** For a token: whoever waits has another place to ask, perhaps. */
const tokenMs = 60_000;

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const { reference, credentials, access, baseUrl, signal } = options;
  const isLogin = access.action === 'login';
  const { username, password, identityToken, registryToken } = credentials;
  const hasPassword = username !== undefined && password !== undefined;
  let header: string | undefined;
  let asking: Promise<boolean> | undefined;

  function tokenRequest(realm: URL, service: string | undefined, scopes: readonly string[]): RequestInit {
    if (identityToken === undefined) {
      for (const scope of scopes) realm.searchParams.append('scope', scope);
      if (service !== undefined) realm.searchParams.set('service', service);
      if (username !== undefined) realm.searchParams.set('account', username);
      if (isLogin) {
        realm.searchParams.set('offline_token', 'true');
        realm.searchParams.set('client_id', clientId);
      }
      return { headers: hasPassword ? { authorization: encodeBasic(credentials) } : {} };
    }
    const body = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: identityToken,
      client_id: clientId,
      ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
      ...(service === undefined ? {} : { service }),
    });
    return { method: 'POST', body };
  }

  async function askToken(challenge: Challenge): Promise<string> {
    const realm = realmOf(challenge, baseUrl);
    const shown = `${realm.origin}${realm.pathname}`;
    const asked = challenge.parameters['scope']?.split(' ').filter((scope) => scope !== '') ?? [];
    const scopes = [...new Set([...access.scopes, ...asked])];
    const request = tokenRequest(realm, challenge.parameters['service'], scopes);
    let response: Response;
    let body: string;
    try {
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(tokenMs)]);
      response = await fetch(realm, { ...request, redirect: 'error', signal: inTime });
      body = await readText(response);
    } catch (error) {
      throw unreachable(shown, error);
    }
    if (!response.ok) {
      const problem = explainAnswer(response.status, '', body);
      throw refusal(reference, problem, shown, access.action);
    }
    const { token, refreshToken } = findTokens(body);
    if (refreshToken !== undefined) access.onRefreshToken?.(refreshToken);
    if (token === undefined)
      throw new LinkspanError(
        'registryRefused',
        'authorization server did not include a token in the response',
      );
    return token;
  }

  async function answerFirst(challenges: readonly Challenge[]): Promise<boolean> {
    const before = header;
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined) header = `Bearer ${registryToken ?? (await askToken(bearer))}`;
    else if (challenges.some(({ scheme }) => scheme === 'basic')) {
      if (!hasPassword)
        throw new LinkspanError('registryRefused', `Get "${baseUrl}/v2/": no basic auth credentials`);
      header = encodeBasic(credentials);
    }
    return header !== before;
  }

  return {
    header: () => header,
    answer: async (challenge) => {
      // Layers that come in side by side share one new token.
      asking ??= answerFirst(parseChallenges(challenge)).finally(() => {
        asking = undefined;
      });
      return await asking;
    },
  };
}

function findTokens(body: string): { readonly token?: string; readonly refreshToken?: string } {
  let fields: Readonly<Record<string, unknown>>;
  try {
    fields = JSON.parse(body) as typeof fields;
  } catch {
    return {};
  }
  const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
  const token = [fields['token'], fields['access_token']].find(isText);
  const refreshToken = [fields['refresh_token']].find(isText);
  return { ...(token !== undefined && { token }), ...(refreshToken !== undefined && { refreshToken }) };
}
