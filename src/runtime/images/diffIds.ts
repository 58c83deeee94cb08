/*
 * Which diff id a stored layer has: the digest of its uncompressed bytes. Known from a label that is set once the
 * bytes have been seen (containerd's own label for it), or found by reading them.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { ContainerdClient } from '../containerd/client.ts';
import { explainArchive } from './archive.ts';
import { decompress } from './compression.ts';

const label = 'containerd.io/uncompressed';

/** Notes on the blob what its uncompressed bytes were found to be. */
export async function rememberDiffId(
  client: ContainerdClient,
  digest: string,
  diffId: string,
): Promise<void> {
  await client.call('Content.Update', {
    info: { digest, labels: { [label]: diffId } },
    update_mask: { paths: [`labels.${label}`] },
  });
}

/** The diff id of a stored blob; `expected` spares reading where the blob is that one uncompressed. */
export async function readDiffId(
  client: ContainerdClient,
  digest: string,
  expected: string,
): Promise<string> {
  if (digest === expected) return digest;
  const { info } = await client.call('Content.Info', { digest });
  const known = info.labels[label];
  if (known !== undefined) return known;
  const hash = createHash('sha256');
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for await (const { data } of client.stream('Content.Read', { digest }, { deadlineMs: Infinity }))
      yield data;
  }
  try {
    const plain = await decompress(Readable.from(bytes(), { objectMode: false }));
    for await (const part of plain as AsyncIterable<Uint8Array>) hash.update(part);
  } catch (error) {
    throw explainArchive(error);
  }
  const diffId = `sha256:${hash.digest('hex')}`;
  await rememberDiffId(client, digest, diffId);
  return diffId;
}
