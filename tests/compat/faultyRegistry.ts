/*
 * Registries that misbehave, as a program to start in host A: `faultyRegistry.ts ARCHIVE`. The repository's name says
 * how. It prints `ready`, then one JSON line for each request: port, method, path, range and authorization.
 *
 *   5001  no authorization; the faults below
 *   5002  wants a bearer token of its own /token; redirects blobs to 5003. `private/*` wants a password at /token
 *   5003  what 5002's redirects lead to
 *   5004  wants a password (Basic)
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { indexType, makeRegistryImage, manifestType, type RegistryImage } from './registryImage.ts';

const image = await makeRegistryImage(process.argv[2] ?? '', 0);
const foreign = await makeRegistryImage(process.argv[2] ?? '', 0, 's390x');
const largest = image.layerDigests[0] ?? '';
/** How often a blob of a repository was asked for. */
const asked = new Map<string, number>();

const token = 'the-token';
const password = `Basic ${Buffer.from('ann:secret').toString('base64')}`;

function sendJson(response: ServerResponse, status: number, body: unknown, headers: object = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

function fail(response: ServerResponse, status: number, code: string, message: string): void {
  sendJson(response, status, { errors: [{ code, message }] });
}

function sendManifest(response: ServerResponse, repository: string, reference: string): void {
  const from: RegistryImage = repository === 'fault/arch' ? foreign : image;
  if (reference === 'missing') return fail(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
  if (repository === 'fault/denied')
    return fail(response, 403, 'DENIED', 'requested access to the resource is denied');
  const isIndex = !reference.includes(':') || reference === from.indexDigest;
  const bytes = isIndex ? from.index : from.manifest;
  response.writeHead(200, { 'content-type': isIndex ? indexType : manifestType });
  // Another digest than the index promises.
  response.end(
    repository === 'fault/manifest' && !isIndex ? Buffer.concat([bytes, Buffer.from(' ')]) : bytes,
  );
}

/** Sends what is asked for, from an offset where the request names one. */
function sendRange(request: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const part = bytes.subarray(start);
  response.writeHead(start === 0 ? 200 : 206, {
    'content-length': part.length,
    ...(start === 0 ? {} : { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  });
  response.end(part);
}

/** Says that all comes and breaks off after half. */
function sendHalf(response: ServerResponse, bytes: Buffer): void {
  response.writeHead(200, { 'content-length': bytes.length });
  response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy());
}

function sendBlob(
  request: IncomingMessage,
  response: ServerResponse,
  repository: string,
  digest: string,
): void {
  const bytes = image.blobs.get(digest) ?? foreign.blobs.get(digest);
  if (bytes === undefined) return fail(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry');
  if (digest !== largest) return sendRange(request, response, bytes);
  const count = (asked.get(repository) ?? 0) + 1;
  asked.set(repository, count);
  switch (repository) {
    case 'fault/once':
      return count === 1 ? sendHalf(response, bytes) : sendRange(request, response, bytes);
    case 'fault/norange':
      if (count === 1) return sendHalf(response, bytes);
      response.end(bytes);
      return;
    case 'fault/always':
      return sendHalf(response, bytes);
    case 'fault/busy':
      if (count === 1) return fail(response, 503, 'UNAVAILABLE', 'come back later');
      return sendRange(request, response, bytes);
    case 'fault/digest': {
      const other = Buffer.from(bytes);
      other.writeUInt8((other.at(-1) ?? 0) ^ 1, other.length - 1);
      response.end(other);
      return;
    }
    case 'fault/long':
      response.end(Buffer.concat([bytes, Buffer.from('more')]));
      return;
    case 'fault/gone':
      return fail(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    case 'fault/slow':
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 100_000));
      return;
    case 'fault/plain':
      response.writeHead(307, { location: `http://registry.example${request.url}` });
      response.end();
      return;
    default:
      return sendRange(request, response, bytes);
  }
}

function sendToken(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): void {
  const scope = query.get('scope') ?? '';
  const isPrivate = scope.startsWith('repository:private/');
  if (query.get('service') !== 'faulty' || !/^repository:[\w/]+:pull$/.test(scope))
    return fail(response, 400, 'UNSUPPORTED', 'no such service or scope');
  if (isPrivate && request.headers.authorization !== password)
    return sendJson(response, 401, { details: 'incorrect username or password' });
  sendJson(response, 200, { token: isPrivate ? `${token}-private` : token });
}

function answer(port: number, request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url ?? '/', `http://127.0.0.1:${port}`);
  if (port === 5002 && pathname === '/token') return sendToken(request, response, searchParams);
  const [, repository = '', kind, reference = ''] =
    /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
  const given = request.headers.authorization;
  const isPrivate = repository.startsWith('private/');
  if (port === 5002 && given !== `Bearer ${token}${isPrivate ? '-private' : ''}`) {
    const scope = kind === undefined ? '' : `,scope="repository:${repository}:pull"`;
    const challenge = `Bearer realm="http://127.0.0.1:5002/token",service="faulty"${scope}`;
    return sendJson(response, 401, {}, { 'www-authenticate': challenge });
  }
  if (port === 5004 && given !== password)
    return sendJson(response, 401, {}, { 'www-authenticate': 'Basic realm="here"' });
  if (kind === undefined) return sendJson(response, 200, {});
  if (kind === 'manifests') return sendManifest(response, repository, reference);
  if (port === 5002) {
    response.writeHead(307, { location: `http://127.0.0.1:5003${pathname}` });
    response.end();
    return;
  }
  return sendBlob(request, response, repository, reference);
}

const ports = [5001, 5002, 5003, 5004];
await Promise.all(
  ports.map(
    (port) =>
      new Promise<void>((resolve) => {
        createServer((request, response) => {
          const { range, authorization } = request.headers;
          const line = { port, method: request.method, path: request.url, range, authorization };
          process.stdout.write(`${JSON.stringify(line)}\n`);
          answer(port, request, response);
        }).listen(port, '0.0.0.0', resolve);
      }),
  ),
);
process.stdout.write('ready\n');
