import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { hasCode } from '../../errors/linkspanError.ts';
import type { RegistryOptions } from './registryHttp.ts';
import { openPusher, type RegistryPusher, type UploadSource } from './registryPusher.ts';
import { startLoopbackRegistry } from './registryStand.ts';

const content = Buffer.alloc(3 << 20, 'some bytes of a layer. ');
const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;

interface Registry extends AsyncDisposable {
  /** `METHOD path?query`, with the range if there is one. */
  readonly requests: string[];
  readonly blobs: Map<string, Buffer>;
  open(options?: Partial<RegistryOptions>): Promise<RegistryPusher>;
}

/** What happens to the first PATCH: it breaks off in the middle, and afterwards the registry knows what it got, or nothing. */
type Fault = 'none' | 'breaks' | 'forgets' | 'loses count' | 'always breaks';

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ errors: [{ code, message }] }));
}

/** A registry on loopback that takes uploads, with a fault. `gate` may answer a request itself. */
async function startRegistry(
  fault: Fault,
  gate: (request: IncomingMessage, response: ServerResponse) => boolean = () => false,
): Promise<Registry> {
  const requests: string[] = [];
  const blobs = new Map<string, Buffer>();
  const uploads = new Map<string, Buffer>();
  let patches = 0;

  const registry = await startLoopbackRegistry((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://registry');
    const range = request.headers['content-range'];
    requests.push(`${request.method} ${request.url}${range === undefined ? '' : ` ${range}`}`);
    if (gate(request, response)) return;
    const id = /\/uploads\/(\d+)$/.exec(pathname)?.[1] ?? '';
    const place = (status: number): void => {
      const length = uploads.get(id)?.length ?? 0;
      response.writeHead(status, { location: pathname, range: `0-${Math.max(length - 1, 0)}` });
      response.end();
    };
    switch (request.method ?? '') {
      case 'HEAD':
        response.writeHead(blobs.has(pathname.split('/').at(-1) ?? '') ? 200 : 404).end();
        return;
      case 'POST': {
        if (searchParams.get('mount') !== null && searchParams.get('from') === 'other') {
          response.writeHead(201, { location: '/v2/a/b/blobs/x' }).end();
          return;
        }
        const next = String(uploads.size + 1);
        uploads.set(next, Buffer.alloc(0));
        response.writeHead(202, { location: `/v2/a/b/blobs/uploads/${next}` }).end();
        return;
      }
      case 'PATCH': {
        patches++;
        const isBroken = fault === 'always breaks' || (fault !== 'none' && patches === 1);
        if (fault === 'loses count' && range !== undefined)
          return refuse(response, 416, 'BLOB_UPLOAD_INVALID', 'wrong offset');
        const before = uploads.get(id) ?? Buffer.alloc(0);
        if (!isBroken)
          return void buffer(request).then((bytes) => {
            uploads.set(id, Buffer.concat([before, bytes]));
            place(202);
          });
        request.once('data', (bytes: Buffer) => {
          uploads.set(id, Buffer.concat([before, bytes]));
          request.destroy();
        });
        return;
      }
      case 'GET':
        if (fault === 'forgets') return refuse(response, 404, 'BLOB_UPLOAD_UNKNOWN', 'no such upload');
        return place(204);
      case 'PUT': {
        const bytes = uploads.get(id) ?? Buffer.alloc(0);
        const name = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
        if (name !== searchParams.get('digest')) return refuse(response, 400, 'DIGEST_INVALID', 'no');
        blobs.set(name, bytes);
        response.writeHead(201, { location: `/v2/a/b/blobs/${name}` }).end();
        return;
      }
      default:
        response.writeHead(204).end();
    }
  });
  return {
    requests,
    blobs,
    open: (options) => openPusher({ ...registry.options, ...options }, []),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

function source(sent: number[] = []): UploadSource {
  return {
    digest,
    sizeBytes: content.length,
    read: async function* (offset) {
      for (let at = offset; at < content.length; at += 100_000)
        yield await Promise.resolve(content.subarray(at, Math.min(at + 100_000, content.length)));
    },
    onSent: (bytes) => void sent.push(bytes),
  };
}

test('a blob is uploaded in one piece', async () => {
  await using registry = await startRegistry('none');
  const pusher = await registry.open();
  const sent: number[] = [];
  assert.equal(await pusher.hasBlob(digest), false);
  await pusher.uploadBlob(source(sent));
  assert.equal(sent.at(-1), content.length);
  assert.ok(registry.blobs.get(digest)?.equals(content));
  assert.equal(await pusher.hasBlob(digest), true);
});

test('an upload that breaks off goes on where it ended', async () => {
  await using registry = await startRegistry('breaks');
  const pusher = await registry.open();
  await pusher.uploadBlob(source());
  assert.ok(registry.blobs.get(digest)?.equals(content));
  const patches = registry.requests.filter((line) => line.startsWith('PATCH'));
  assert.equal(patches.length, 2);
  assert.match(patches[1] ?? '', new RegExp(`/uploads/1 [1-9]\\d*-${content.length - 1}$`));
});

for (const fault of ['forgets', 'loses count'] as const)
  test(`an upload that a registry ${fault} begins anew`, async () => {
    await using registry = await startRegistry(fault);
    const pusher = await registry.open();
    await pusher.uploadBlob(source());
    assert.ok(registry.blobs.get(digest)?.equals(content));
    assert.ok(registry.requests.some((line) => line === 'PATCH /v2/a/b/blobs/uploads/2'));
  });

test('an upload that always breaks off is given up, and the registry told', async () => {
  await using registry = await startRegistry('always breaks');
  const pusher = await registry.open();
  await assert.rejects(pusher.uploadBlob(source()), (error) => {
    assert.ok(hasCode(error, 'registryUnreachable'));
    assert.match(error.message, /^Patch "http:\/\/127\.0\.0\.1:\d+\/v2\/a\/b\/blobs\/uploads\/\d+": /);
    return true;
  });
  assert.equal(registry.requests.filter((line) => line.startsWith('PATCH')).length, 3);
  assert.match(registry.requests.at(-1) ?? '', /^DELETE /);
});

test('what fails where the bytes come from is that failure, and is not tried again', async () => {
  await using registry = await startRegistry('none');
  const pusher = await registry.open();
  const broken = { ...source(), read: () => source().read(content.length + 1) };
  // Fewer bytes than the digest is of: the registry says so.
  await assert.rejects(pusher.uploadBlob(broken), /digest invalid: no/);
  assert.equal(registry.requests.filter((line) => line.startsWith('PATCH')).length, 1);
});

test('a blob is mounted where the registry can, and else the upload it began is given up', async () => {
  await using registry = await startRegistry('none');
  const pusher = await registry.open();
  assert.equal(await pusher.mountBlob(digest, 'other'), true);
  assert.equal(await pusher.mountBlob(digest, 'third/one'), false);
  assert.match(registry.requests.at(-2) ?? '', /^POST .*\?mount=sha256%3A[0-9a-f]+&from=third%2Fone$/);
  assert.equal(registry.requests.at(-1), 'DELETE /v2/a/b/blobs/uploads/1');
});

const refusals = [
  ['DENIED', 403, 'denied: requested access to the resource is denied'],
  ['UNAUTHORIZED', 401, 'unauthorized: authentication required'],
  ['NAME_UNKNOWN', 404, 'name unknown: repository name not known to registry'],
] as const;
for (const [code, status, text] of refusals)
  test(`what a registry refuses is said in its words: ${code}`, async () => {
    await using registry = await startRegistry('none', (request, response) => {
      if (request.method !== 'POST') return false;
      refuse(response, status, code, '');
      return true;
    });
    const pusher = await registry.open();
    await assert.rejects(pusher.uploadBlob(source()), (error) => {
      assert.ok(hasCode(error, 'registryRefused'));
      assert.equal(error.message, text);
      return true;
    });
  });

test('a place for the upload that would leave what may be spoken to is refused', async () => {
  await using registry = await startRegistry('none', (request, response) => {
    if (request.method !== 'POST') return false;
    response.writeHead(202, { location: 'http://elsewhere.example/upload' }).end();
    return true;
  });
  const pusher = await registry.open();
  await assert.rejects(pusher.uploadBlob(source()), /redirects to where no image may come from/);
});

test('an end of the client ends the upload', async () => {
  await using registry = await startRegistry('none', (request) => request.method === 'PATCH');
  const stop = new AbortController();
  const pusher = await registry.open({ signal: stop.signal });
  const upload = pusher.uploadBlob({ ...source(), onSent: () => stop.abort() });
  await assert.rejects(upload, /context canceled/);
});
