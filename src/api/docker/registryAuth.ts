/*
 * Credentials of registries at the edge: the X-Registry-Auth header, and POST /auth (Docker Engine API 1.50).
 */
import type { FastifyRequest } from 'fastify';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { RegistryCredentials } from '../../runtime/images/images.ts';
import { abortSignalOf, type Routes } from './apiContext.ts';
import { type Decoder, map, struct, text } from './goJson.ts';
import { readJson } from './requestBody.ts';

interface AuthBody {
  readonly username: string;
  readonly password: string;
  readonly serveraddress: string;
  readonly identitytoken: string;
  readonly registrytoken: string;
}

const authBody: Decoder<AuthBody> = struct<AuthBody>('AuthConfig', {
  username: text,
  password: text,
  serveraddress: text,
  identitytoken: text,
  registrytoken: text,
});

function toCredentials(fields: AuthBody): RegistryCredentials {
  const { username, password, identitytoken: identityToken, registrytoken: registryToken } = fields;
  return {
    ...(username !== '' && { username }),
    ...(password !== '' && { password }),
    ...(identityToken !== '' && { identityToken }),
    ...(registryToken !== '' && { registryToken }),
  };
}

/** `X-Registry-Auth` is base64url JSON. Anything that is none counts as no credentials, as with Docker. */
export function credentialsOf({ headers }: FastifyRequest): RegistryCredentials {
  const header = headers['x-registry-auth'];
  const given = Array.isArray(header) ? header[0] : header;
  try {
    return toCredentials(authBody(JSON.parse(Buffer.from(given ?? '', 'base64url').toString('utf8')), ''));
  } catch {
    return {};
  }
}

/** `X-Registry-Config`: the credentials of every registry that a build may need, by registry; the same encoding. */
export function allCredentialsOf({ headers }: FastifyRequest): Readonly<Record<string, RegistryCredentials>> {
  const header = headers['x-registry-config'];
  const given = Array.isArray(header) ? header[0] : header;
  try {
    const all = map(authBody)(JSON.parse(Buffer.from(given ?? '', 'base64url').toString('utf8')), '');
    return Object.fromEntries(
      Object.entries(all).map(([registry, fields]) => [registry, toCredentials(fields)]),
    );
  } catch {
    return {};
  }
}

export const registryAuthRoutes: Routes = (app, { deps }) => {
  app.post('/auth', async (request, reply) => {
    const body = await readJson(request.raw);
    if (body === undefined)
      throw new LinkspanError('requestInvalid', 'invalid JSON: got EOF while reading request body');
    const fields = authBody(body, '');
    const { images } = deps.engine;
    const token = await images.logIn(fields.serveraddress, toCredentials(fields), abortSignalOf(reply));
    return { IdentityToken: token, Status: 'Login Succeeded' };
  });
};
