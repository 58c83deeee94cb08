/*
 * Looks at the names in a tar while its bytes pass by unchanged: one that leads out of the root is refused before
 * anything is unpacked. containerd unpacks inside the layer whatever the names are; a user should hear of it.
 */
import { once } from 'node:events';
import { posix } from 'node:path';
import type { Writable } from 'node:stream';
import { extract, type Header } from 'tar-stream';
import { invalid } from './manifest.ts';

/** Names with a slash in front count from the root of the image, as everywhere. */
function checkName(name: string): void {
  const clean = posix.normalize(name.replace(/^\/+/, ''));
  if (clean === '..' || clean.startsWith('../'))
    throw invalid(`the archive has an entry outside of its root: ${JSON.stringify(name).slice(0, 200)}`);
}

function checkEntry({ name, type, linkname }: Header): void {
  checkName(name);
  // A symbolic link may point anywhere: inside the container that is inside its root.
  if (type === 'link') checkName(linkname);
}

/** Yields what `source` gives. Throws imageInvalid for a hostile name, and the parser's error for what is no tar. */
export async function* checkedTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const parser = extract();
  // To Node's types a streamx stream is no Writable; it behaves as one.
  const sink = parser as unknown as Writable;
  const checking = (async () => {
    for await (const entry of parser) {
      checkEntry(entry.header);
      entry.resume();
    }
  })();
  let failure: { readonly error: unknown } | undefined;
  const checked = checking.catch((error: unknown) => {
    failure = { error };
  });
  for await (const part of source) {
    const isFull = !sink.write(part);
    if (isFull) await Promise.race([checked, once(sink, 'drain').catch(() => undefined)]);
    if (failure !== undefined) throw failure.error;
    yield part;
  }
  sink.end();
  await checked;
  if (failure !== undefined) throw failure.error;
}
