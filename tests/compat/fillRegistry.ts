/*
 * Uploads an image to a registry over HTTP, as a program to start in the registry's host:
 * `fillRegistry.ts ARCHIVE HOST:PORT REPOSITORY TAG [ARCHITECTURE]`. Prints the digests as JSON. The engine has no
 * push yet, and an upload that it had no part in is the better witness anyway.
 */
import { indexType, makeRegistryImage, manifestType } from './registryImage.ts';

const [archive = '', host = '', repository = '', tag = ''] = process.argv.slice(2);
const image = await makeRegistryImage(archive, 5);
const base = `http://${host}/v2/${repository}`;

async function send(method: string, url: string, type: string, body: Uint8Array<ArrayBuffer>): Promise<void> {
  const response = await fetch(url, { method, body, headers: { 'content-type': type } });
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
}

for (const [digest, bytes] of image.blobs) {
  const start = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
  const place = new URL(start.headers.get('location') ?? '', base);
  place.searchParams.set('digest', digest);
  await send('PUT', place.href, 'application/octet-stream', new Uint8Array(bytes));
}
await send('PUT', `${base}/manifests/${image.manifestDigest}`, manifestType, new Uint8Array(image.manifest));
await send('PUT', `${base}/manifests/${tag}`, indexType, new Uint8Array(image.index));
const { manifestDigest, indexDigest, configDigest, layerDigests } = image;
process.stdout.write(`${JSON.stringify({ manifestDigest, indexDigest, configDigest, layerDigests })}\n`);
