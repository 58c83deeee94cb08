/*
 * Compressed tars told by their first bytes (RFC 1952, RFC 8878 and the formats of bzip2 and xz) and opened where Node
 * can: gzip and zstd.
 */
import { PassThrough, Readable, type Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { invalid } from './manifest.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

const magics: readonly (readonly [string, Compression | 'bzip2' | 'xz'])[] = [
  ['1f8b', 'gzip'],
  ['28b52ffd', 'zstd'],
  ['425a68', 'bzip2'],
  ['fd377a58', 'xz'],
];

/** By the first bytes (at least 4, where there are so many). Throws imageInvalid for bzip2 and xz. */
export function detectCompression(head: Uint8Array): Compression {
  const hex = Buffer.from(head.subarray(0, 4)).toString('hex');
  const found = magics.find(([magic]) => hex.startsWith(magic))?.[1] ?? 'none';
  if (found === 'bzip2' || found === 'xz')
    throw invalid(`the archive is compressed with ${found}, which is not supported; decompress it first`);
  return found;
}

function decompressorOf(compression: Compression): Transform {
  switch (compression) {
    case 'gzip':
      return createGunzip();
    case 'zstd':
      return createZstdDecompress();
    case 'none':
      return new PassThrough();
  }
}

/** What `transform` makes of `source`. What is wrong with source destroys it with that error, and its end ends source. */
export function throughTransform(source: Readable, transform: Transform): Transform {
  // Whoever reads hears of it; until somebody does, an error that nobody hears would end the daemon.
  transform.on('error', () => {});
  source.on('error', (error) => transform.destroy(error));
  transform.on('close', () => source.destroy());
  return source.pipe(transform);
}

/** The plain stream behind `source`. What is wrong with source or compression destroys the result with that error. */
export async function decompress(source: Readable): Promise<Readable> {
  const iterator = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const head: Buffer[] = [];
  for (let length = 0; length < 4; ) {
    const next = await iterator.next();
    if (next.done === true) break;
    head.push(next.value);
    length += next.value.length;
  }
  const first = Buffer.concat(head);
  async function* whole(): AsyncGenerator<Buffer> {
    if (first.length > 0) yield first;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
  }
  const plain = decompressorOf(detectCompression(first));
  const raw = Readable.from(whole(), { objectMode: false });
  return throughTransform(raw, plain);
}
