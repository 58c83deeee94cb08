/*
 * Logging in: whether a registry takes a name and a password, and the token that it would rather be shown from then on
 * (distribution spec, "OAuth2": offline tokens).
 */
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import { openHttp, type RegistryOptions } from './registryHttp.ts';

/** What an address was given as, in Docker's config: of Docker Hub, its old index. */
const hubIndex = /^(?:index\.)?docker\.io$|^registry-1\.docker\.io$/;

/** `host[:port]` of an address as users give it, with a scheme and a path or without. Throws requestInvalid. */
export function parseServerAddress(address: string): string {
  if (address === '') return 'docker.io';
  const given = /^https?:\/\//.test(address) ? address : `https://${address}`;
  const host = /^https?:\/\/([^/]*)/.exec(given)?.[1] ?? '';
  if (!/^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(?::\d+)?$/.test(host))
    throw new LinkspanError(
      'requestInvalid',
      `unable to parse server address: ${JSON.stringify(address)} names no host`,
    );
  return hubIndex.test(host) ? 'docker.io' : host;
}

/** Resolves with the token, or '' where there is none. Throws registryLoginFailed, registryUnreachable, registryRefused. */
export async function logIn(
  address: string,
  options: Omit<RegistryOptions, 'reference' | 'baseUrl'>,
): Promise<string> {
  const reference = { domain: parseServerAddress(address), path: '' };
  let identityToken = '';
  const access = {
    action: 'login',
    scopes: [],
    onRefreshToken: (token: string) => {
      identityToken = token;
    },
  } as const;
  try {
    const registry = await openHttp({ ...options, reference }, access);
    const url = new URL('/v2/', registry.base);
    using answer = await registry.request(url);
    const { status, statusText, ok } = answer.response;
    if (!ok)
      throw new LinkspanError(
        'registryLoginFailed',
        `login attempt to ${url.href} failed with status: ${status} ${statusText}`.trim(),
      );
    return identityToken;
  } catch (error) {
    if (!hasCode(error, 'registryRefused') || error.details['registryCode'] !== 'UNAUTHORIZED') throw error;
    throw new LinkspanError('registryLoginFailed', error.message, { cause: error });
  }
}
