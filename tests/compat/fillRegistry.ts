/*
 * Uploads an image to a registry over HTTP, as a program to start in the registry's host:
 * `fillRegistry.ts ARCHIVE HOST:PORT REPOSITORY TAG [ARCHITECTURE]`. Prints the digests as JSON. The engine has no
 * push yet, and an upload that it had no part in is the better witness anyway.
 */
import { digestOf, indexType, makeIndex, makeRegistryImage, manifestType } from './registryImage.ts';

const [archive = '', host = '', repository = '', tag = ''] = process.argv.slice(2);
const image = await makeRegistryImage(archive, 5);
// Under the same tag, and before the other in its index: the same layers for a machine of another kind.
const foreign = await makeRegistryImage(archive, 5, 's390x');
const index = makeIndex([foreign, image]);
const base = `http://${host}/v2/${repository}`;

async function send(method: string, url: string, type: string, body: Uint8Array<ArrayBuffer>): Promise<void> {
  const response = await fetch(url, { method, body, headers: { 'content-type': type } });
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
}

for (const [digest, bytes] of new Map([...foreign.blobs, ...image.blobs])) {
  const start = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
  const place = new URL(start.headers.get('location') ?? '', base);
  place.searchParams.set('digest', digest);
  await send('PUT', place.href, 'application/octet-stream', new Uint8Array(bytes));
}
for (const { manifestDigest, manifest } of [foreign, image])
  await send('PUT', `${base}/manifests/${manifestDigest}`, manifestType, new Uint8Array(manifest));
await send('PUT', `${base}/manifests/${tag}`, indexType, new Uint8Array(index));
const { manifestDigest, configDigest, layerDigests } = image;
const digests = { manifestDigest, indexDigest: digestOf(index), configDigest, layerDigests };
process.stdout.write(`${JSON.stringify({ ...digests, foreignConfigDigest: foreign.configDigest })}\n`);
