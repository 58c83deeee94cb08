import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { type Header, pack } from 'tar-stream';
import { checkedTar } from './tarCheck.ts';

async function tarOf(headers: readonly (Partial<Header> & { readonly name: string })[]): Promise<Buffer> {
  const tar = pack();
  for (const header of headers)
    if (header.type === undefined) tar.entry(header, 'x'.repeat(100_000));
    else tar.entry(header);
  tar.finalize();
  return await buffer(tar);
}

const check = (bytes: Buffer): Promise<Buffer> =>
  buffer(Readable.from(checkedTar(Readable.from(bytes.length === 0 ? [] : [bytes]))));

test('a good tar passes unchanged', async () => {
  const bytes = await tarOf([
    { name: './etc/passwd' },
    { name: 'lib', type: 'symlink', linkname: '../../usr/lib' },
    { name: 'bin/ash', type: 'link', linkname: 'etc/passwd' },
    { name: 'a..b/..c' },
    { name: 'a/../b' },
    { name: '/etc/x' },
  ]);
  assert.deepEqual(await check(bytes), bytes);
});

test('names that lead out are refused', async () => {
  for (const header of [
    { name: '../x' },
    { name: 'a/../../x' },
    { name: '/../x' },
    { name: 'x', type: 'link', linkname: '../../etc/passwd' },
  ] as const)
    await assert.rejects(tarOf([{ name: 'ok' }, header]).then(check), /outside of its root/, header.name);
});

test('a tar that ends early is refused', async () => {
  const bytes = await tarOf([{ name: 'x' }]);
  await assert.rejects(check(bytes.subarray(0, 50_000)), /unexpected end/i);
});
