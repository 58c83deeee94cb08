import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { hasCode } from '../../errors/linkspanError.ts';
import { listTags, openRegistry, type RegistryClient } from './registryClient.ts';
import type { RegistryOptions } from './registryHttp.ts';
import { startLoopbackRegistry } from './registryStand.ts';

interface Registry extends AsyncDisposable {
  readonly domain: string;
  readonly requests: IncomingMessage[];
  open(options?: Partial<RegistryOptions>): Promise<RegistryClient>;
  tags(): Promise<readonly string[]>;
}

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

/** A registry on loopback; `handle` answers all but the first look, with the number of the request from 1. */
async function startRegistry(handle: Handler): Promise<Registry> {
  const requests: IncomingMessage[] = [];
  const registry = await startLoopbackRegistry((request, response) => {
    requests.push(request);
    handle(request, response, requests.length);
  });
  return {
    domain: registry.domain,
    requests,
    open: (options) => openRegistry({ ...registry.options, ...options }),
    tags: () => listTags(registry.options),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

async function readAll(parts: AsyncIterable<Uint8Array>): Promise<string> {
  const kept: Uint8Array[] = [];
  for await (const part of parts) kept.push(part);
  return Buffer.concat(kept).toString();
}

const digest = `sha256:${'a'.repeat(64)}`;

/** Announces all and breaks off after `count` bytes. */
function breakAfter(response: ServerResponse, text: string, count: number): void {
  response.writeHead(200, { 'content-length': text.length });
  response.write(text.slice(0, count), () => response.destroy());
}

test('a blob that breaks off is resumed by range', async () => {
  await using registry = await startRegistry((request, response, count) => {
    if (count === 1) return breakAfter(response, '0123456789', 4);
    assert.equal(request.headers.range, 'bytes=4-');
    response.writeHead(206, { 'content-range': 'bytes 4-9/10' }).end('456789');
  });
  const client = await registry.open();
  assert.equal(await readAll(client.blob(digest, 10)), '0123456789');
  assert.equal(registry.requests.length, 2);
});

test('a server without ranges is read anew, and what is there is skipped', async () => {
  await using registry = await startRegistry((_, response, count) => {
    if (count === 1) breakAfter(response, '0123456789', 4);
    else response.end('0123456789');
  });
  const client = await registry.open();
  assert.equal(await readAll(client.blob(digest, 10)), '0123456789');
});

test('a range that was not asked for is not taken', async () => {
  await using registry = await startRegistry((_, response, count) => {
    if (count === 1) breakAfter(response, '0123456789', 4);
    else response.writeHead(206, { 'content-range': 'bytes 6-9/10' }).end('6789');
  });
  const client = await registry.open();
  await assert.rejects(readAll(client.blob(digest, 10)), /not the range/);
  assert.equal(registry.requests.length, 3);
});

test('tries are bounded, and a blob that is too short counts as broken off', async () => {
  await using registry = await startRegistry((request, response) => {
    response.statusCode = request.headers.range === undefined ? 200 : 206;
    response.setHeader('content-range', 'bytes 4-3/4');
    response.end(request.headers.range === undefined ? '0123' : '');
  });
  const client = await registry.open();
  await assert.rejects(readAll(client.blob(digest, 10)), (error) => hasCode(error, 'registryUnreachable'));
  assert.equal(registry.requests.length, 3);
});

test('a connection on which nothing comes is given up', async () => {
  await using registry = await startRegistry((_, response, count) => {
    if (count === 1) response.writeHead(200, { 'content-length': 10 }).write('0123');
    else response.writeHead(206, { 'content-range': 'bytes 4-9/10' }).end('456789');
  });
  const client = await registry.open({ patience: { attempts: 2, pauseMs: 1, stallMs: 100 } });
  assert.equal(await readAll(client.blob(digest, 10)), '0123456789');
});

test('a refusal is final, a server fault is not', async () => {
  await using registry = await startRegistry((_, response, count) => {
    response.statusCode = count === 1 ? 503 : 404;
    response.end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
  });
  const client = await registry.open();
  await assert.rejects(
    client.manifest('1'),
    /^LinkspanError: manifest for 127\.0\.0\.1:\d+\/a\/b:1 not found/,
  );
  assert.equal(registry.requests.length, 2);
});

test('a manifest that never ends is cut off', async () => {
  await using registry = await startRegistry((_, response) => {
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(1 << 16)));
    };
    response.on('drain', more);
    more();
  });
  const client = await registry.open();
  await assert.rejects(client.manifest('1'), (error) => hasCode(error, 'imageInvalid'));
});

test('redirects are followed, without authorization to another host, and not for ever', async () => {
  await using other = await startRegistry((_, response) => void response.end('blob'));
  await using registry = await startRegistry((request, response) => {
    if (request.headers.authorization === undefined)
      return void response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
    const to =
      request.url?.includes('/manifests/') === true ? request.url : `http://${other.domain}/elsewhere`;
    response.writeHead(307, { location: to }).end();
  });
  const client = await registry.open({ credentials: { username: 'ann', password: 'secret' } });
  assert.equal(await readAll(client.blob(digest, 4)), 'blob');
  assert.equal(other.requests[0]?.url, '/elsewhere');
  assert.equal(other.requests[0]?.headers.authorization, undefined);
  await assert.rejects(client.manifest('1'), /stopped after 5 redirects/);
});

test('a redirect that leaves what may be spoken to is refused', async () => {
  for (const location of ['http://registry.example/x', 'file:///etc/passwd', '', 'ftp://127.0.0.1/x']) {
    await using registry = await startRegistry(
      (_, response) =>
        // An empty location leads back to the same place.
        void response.writeHead(307, location === '' ? {} : { location }).end(),
    );
    const client = await registry.open();
    await assert.rejects(client.manifest('1'), /redirects to where no image may come from|stopped after/);
  }
});

test('an expired token is renewed once', async () => {
  let tokens = 0;
  await using registry = await startRegistry((request, response) => {
    if (request.url?.startsWith('/token') === true)
      return void response.end(JSON.stringify({ access_token: `t${++tokens}` }));
    if (request.headers.authorization === 'Bearer t2') return void response.end('{}');
    const realm = `http://${request.headers.host}/token`;
    response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end();
  });
  const client = await registry.open();
  // t1 is not good enough: told as it is.
  await assert.rejects(client.manifest('1'), /unauthorized: authentication required/);
  assert.equal((await client.manifest('1')).bytes.toString(), '{}');
  assert.match(registry.requests[1]?.url ?? '', /scope=repository%3Aa%2Fb%3Apull&service=s/);
});

test('an authorization server that cannot be used is refused', async () => {
  for (const realm of ['', 'file:///token', 'not a url']) {
    await using registry = await startRegistry(
      (_, response) => void response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end(),
    );
    const client = await registry.open();
    await assert.rejects(client.manifest('1'), /authorization server that cannot be used/);
  }
});

test('an end of the client ends the download', async () => {
  const leaving = new AbortController();
  await using registry = await startRegistry((_, response) => {
    response.writeHead(200, { 'content-length': 10 }).write('0123');
    setImmediate(() => leaving.abort());
  });
  const client = await registry.open({ signal: leaving.signal });
  await assert.rejects(readAll(client.blob(digest, 10)), /context canceled/);
  assert.equal(registry.requests.length, 1);
});

test('tags come page by page, each once, and from this registry alone, whatever it calls itself', async () => {
  const pages: Readonly<Record<string, readonly [tags: readonly string[], next?: string]>> = {
    '': [['a', 'b'], '/v2/x/tags/list?last=b'],
    b: [['b', 'c'], 'http://elsewhere.invalid//v2/x/tags/list?last=c'],
    c: [['d']],
  };
  await using registry = await startRegistry((request, response) => {
    const last = new URL(request.url ?? '', 'http://x').searchParams.get('last') ?? '';
    const [tags = [], next] = pages[last] ?? [];
    if (next !== undefined) response.setHeader('link', `<${next}>; rel="next"`);
    response.end(JSON.stringify({ name: 'x', tags }));
  });
  assert.deepEqual(await registry.tags(), ['a', 'b', 'c', 'd']);
  assert.equal(registry.requests[2]?.url, '//v2/x/tags/list?last=c');
});

for (const [what, pageOf, text] of [
  ['a list of tags that goes in a circle', () => ['a', 'b'], /nothing new, and is not the last/],
  [
    'a list of tags without end',
    (page: number) => Array.from({ length: 30_000 }, (_, i) => `t${page}-${i}`),
    /more than 100000 tags/,
  ],
  ['a list of tags with too many pages', (page: number) => [`t${page}`], /more than 1000 pages/],
] as const)
  test(`${what} is an error, and not cut short`, async () => {
    await using registry = await startRegistry((_, response, count) => {
      response.setHeader('link', `</v2/x/tags/list?last=${count}>; rel="next"`);
      response.end(JSON.stringify({ name: 'x', tags: pageOf(count) }));
    });
    await assert.rejects(registry.tags(), (error: Error) => {
      assert.match(error.message, text);
      return hasCode(error, 'imageInvalid');
    });
  });

for (const [body, text] of [
  ['no json', /no JSON/],
  ['{"tags":["../x"]}', /no tag/],
  ['{"tags":7}', /no tag/],
] as const)
  test(`a list of tags that is none is refused: ${body}`, async () => {
    await using registry = await startRegistry((_, response) => void response.end(body));
    await assert.rejects(registry.tags(), text);
  });
