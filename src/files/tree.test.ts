/*
 * Trees of files as tars and back, on real folders: what a tar may do to the folder that it is unpacked into, names of any
 * bytes, and headers as another program reads them.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  constants,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { type Header, pack } from 'tar-stream';
import { packPlace } from './packTree.ts';
import { PathError, resolvePath, toBytes, toText, type Tree, withMounts } from './rootTree.ts';
import { encodeHeader } from './tarHeader.ts';
import { type UnpackOptions, unpackInto } from './unpackTree.ts';

let base: string;
let root: string;
/** What must not be reached from `root`. */
let outside: string;

before(() => {
  base = mkdtempSync(join(tmpdir(), 'linkspan-files-'));
});
after(() => {
  rmSync(base, { recursive: true, force: true });
});

async function withTree<T>(work: (tree: Tree) => Promise<T>, isReadOnly = false): Promise<T> {
  await using folder = await open(root, constants.O_RDONLY | constants.O_DIRECTORY);
  return await work({ folder, isReadOnly, mounts: new Map() });
}

function fresh(): void {
  const own = mkdtempSync(join(base, 'case'));
  root = join(own, 'root');
  outside = join(own, 'outside');
  mkdirSync(root);
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'of the host');
}

async function packed(path: string, as: string): Promise<Buffer> {
  return await withTree(async (tree) => {
    await using place = await resolvePath(tree, toBytes(path), false);
    return await buffer(packPlace(tree, place, as));
  });
}

type Entry = Partial<Header> & { readonly name: string; readonly content?: string };

async function tarOf(...entries: readonly Entry[]): Promise<Buffer> {
  const tar = pack();
  for (const { content, ...header } of entries) tar.entry(header, content ?? '');
  tar.finalize();
  return await buffer(tar);
}

async function* piecesOf(tar: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < tar.length; at += 700) yield tar.subarray(at, at + 700);
}

const plain: UnpackOptions = { keepsKinds: true, owner: 'caller' };

async function unpacked(tar: Buffer, options: Partial<UnpackOptions> = {}, into = '/'): Promise<void> {
  await withTree((tree) => unpackInto(tree, into, piecesOf(tar), { ...plain, ...options }, () => undefined));
}

describe('a path', () => {
  test('is followed inside of the root only', async () => {
    fresh();
    mkdirSync(join(root, 'a/b'), { recursive: true });
    writeFileSync(join(root, 'a/b/f'), 'x');
    symlinkSync(outside, join(root, 'absolute'));
    symlinkSync('../../../../../a', join(root, 'up'));
    symlinkSync('/a/b', join(root, 'inside'));
    symlinkSync('loop', join(root, 'loop'));
    await withTree(async (tree) => {
      const end = async (path: string, follows = true): Promise<string> => {
        try {
          await using place = await resolvePath(tree, path, follows);
          return place.info === undefined ? `nothing at ${place.path}` : place.path;
        } catch (error) {
          assert.ok(error instanceof PathError);
          return error.problem;
        }
      };
      assert.equal(await end('/inside/f'), '/a/b/f');
      assert.equal(await end('/inside', false), '/inside');
      assert.equal(await end('/up/b/../../../../a/./b'), '/a/b');
      assert.equal(await end('../..'), '/');
      assert.equal(await end('/absolute/secret'), 'missing');
      assert.equal(await end('/loop'), 'loop');
      assert.equal(await end('/a/b/f/g'), 'notFolder');
      assert.equal(await end('/a/new'), 'nothing at /a/new');
      assert.equal(await end(`/a/${'n'.repeat(300)}`), `nothing at /a/${'n'.repeat(300)}`);
    });
  });

  test('leads into what is mounted there, and no deeper than so many folders', async () => {
    fresh();
    mkdirSync(join(root, 'real'));
    symlinkSync('real', join(root, 'vol'));
    await withTree(async (tree) => {
      const mounted = await withMounts(tree, [{ target: '/vol', source: outside, isReadOnly: true }]);
      await using place = await resolvePath(mounted, '/real', true);
      assert.deepEqual([place.folder.isReadOnly, place.path], [true, '/real']);
      const deep = 'd/'.repeat(300);
      mkdirSync(join(root, deep), { recursive: true });
      await assert.rejects(resolvePath(tree, deep, true), /tooDeep/);
      await using top = await resolvePath(tree, '/', true);
      await assert.rejects(buffer(packPlace(tree, top, 'x')), /too many folders in each other/);
    });
  });
});

describe('a tar of a tree', () => {
  test('is what tar(1) takes it for', async () => {
    fresh();
    const long = 'n'.repeat(180);
    mkdirSync(join(root, 'd', long), { recursive: true });
    writeFileSync(join(root, 'd/f'), 'content');
    chmodSync(join(root, 'd/f'), 0o4751);
    utimesSync(join(root, 'd/f'), 5e9, 5e9);
    linkSync(join(root, 'd/f'), join(root, 'd/hard'));
    symlinkSync('x'.repeat(150), join(root, 'd/soft'));
    writeFileSync(join(root, 'd/empty'), '');
    writeFileSync(join(root, 'd/holes'), '');
    truncateSync(join(root, 'd/holes'), 300_001);
    const odd = Buffer.from([...Buffer.from(`${root}/d/`), 0x61, 0xff, 0xe9, 0x0a]);
    writeFileSync(odd, 'odd');
    writeFileSync(join(root, 'd/grün'), 'green');
    execFileSync('mkfifo', [join(root, 'd/fifo')]);
    const tar = await packed('/d', 'as');
    const target = join(root, '..', 'target');
    mkdirSync(target);
    execFileSync('tar', ['-C', target, '-xpf', '-'], { input: tar });
    assert.equal(readFileSync(join(target, 'as/grün'), 'utf8'), 'green');
    const other = Buffer.concat([Buffer.from(`${target}/as/`), odd.subarray(-4)]);
    assert.equal(readFileSync(other, 'utf8'), 'odd');
    const info = lstatSync(join(target, 'as/f'));
    assert.deepEqual([info.mode & 0o7777, info.mtimeMs], [0o4751, 5e12]);
    assert.equal(lstatSync(join(target, 'as/hard')).ino, info.ino);
    assert.equal(readlinkSync(join(target, 'as/soft')), 'x'.repeat(150));
    assert.equal(lstatSync(join(target, 'as/holes')).size, 300_001);
    assert.ok(lstatSync(join(target, 'as/fifo')).isFIFO());
    assert.ok(lstatSync(join(target, 'as', long)).isDirectory());
    // And by our own reader the same.
    await unpacked(tar, { rename: (name) => name.replace(/^as/, 'again') });
    const listing = (of: string): string =>
      execFileSync(
        'sh',
        ['-c', 'cd "$0" && find . -printf "%p %y %m %s %T@ %l\\n" | grep -v " d " | sort', of],
        {
          encoding: 'latin1',
        },
      );
    assert.equal(listing(join(root, 'again')), listing(join(target, 'as')));
  });

  test('has numbers of any size', () => {
    const header = encodeHeader({
      ...{ name: 'n', type: 'file', mode: 0o644, uid: 4_000_000_000, gid: 2_097_151 },
      ...{ sizeBytes: 0, modifiedMs: -86_400_000 },
    });
    const tar = Buffer.concat([header, Buffer.alloc(1024)]);
    const shown = execFileSync('tar', ['--numeric-owner', '--utc', '-tvf', '-'], {
      input: tar,
      encoding: 'utf8',
    });
    assert.match(shown, /^-rw-r--r-- 4000000000\/2097151 +0 1969-12-31 00:00 n$/m);
  });
});

describe('a hostile tar', () => {
  const file = (name: string): Entry => ({ name, content: 'evil' });
  const soft = (name: string, linkname: string): Entry => ({ name, type: 'symlink', linkname });
  const hard = (name: string, linkname: string): Entry => ({ name, type: 'link', linkname });
  const cases: readonly (readonly [what: string, make: () => readonly Entry[], error?: RegExp])[] = [
    ['names its way up', () => [file('../outside/f')], /outside of/],
    ['names its way up in the middle', () => [file('a/../../outside/f')], /outside of/],
    ['has an absolute name', () => [file(`${outside}/f`)]],
    ['leaves by an absolute link', () => [soft('l', outside), file('l/f')], /no such file/],
    ['leaves by a relative link', () => [soft('l', '../outside'), file('l/f')]],
    ['leaves by two links', () => [soft('l', '..'), soft('m', 'l/outside'), file('m/f')]],
    ['overwrites through a link', () => [soft('l', `${outside}/secret`), file('l')]],
    [
      'takes a folder for a link',
      () => [soft('l', outside), { name: 'l', type: 'directory', mode: 0o777 }],
      /overwrite/,
    ],
    ['links what is outside', () => [hard('h', '../outside/secret')], /outside of/],
    ['links through a link', () => [soft('l', '../outside'), hard('h', 'l/secret')], /no such file/],
    ['links a link, and writes to it', () => [soft('l', `${outside}/secret`), hard('h', 'l'), file('h')]],
    ['goes by what is there', () => [file('there/f')]],
  ];
  for (const [what, make, error] of cases)
    test(`that ${what} reaches nothing outside`, async () => {
      fresh();
      symlinkSync('../outside', join(root, 'there'));
      const before = lstatSync(outside);
      const work = unpacked(await tarOf(...make()));
      await (error === undefined ? work : assert.rejects(work, error));
      assert.deepEqual(readdirSync(outside), ['secret']);
      assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'of the host');
      assert.deepEqual([lstatSync(outside).mode, lstatSync(join(outside, 'secret')).nlink], [before.mode, 1]);
    });

  test('that is none, or only a part, is refused with code archiveRefused', async () => {
    fresh();
    const whole = await tarOf({ name: 'f', content: 'x'.repeat(5000) });
    for (const [tar, message] of [
      [Buffer.alloc(2000, 'garbage'), /^invalid tar/],
      [whole.subarray(0, 3000), /^invalid tar: Unexpected end of data/],
      [whole.subarray(0, 300), /^invalid tar: Unexpected end of data/],
    ] as const)
      await assert.rejects(unpacked(tar), { code: 'archiveRefused', message });
    await unpacked(Buffer.alloc(0));
    const sparse = execFileSync('sh', ['-c', `cd "$0" && truncate -s 9M s && tar -cSf - s; rm s`, root]);
    await assert.rejects(unpacked(sparse), /s: unhandled tar header type/);
    assert.ok(!existsSync(join(root, 's')));
  });

  test('does not touch what is read-only, nor takes a mount away', async () => {
    fresh();
    mkdirSync(join(root, 'a/vol'), { recursive: true });
    await withTree(async (tree) => {
      const mounted = await withMounts(tree, [{ target: '/a/vol', source: outside, isReadOnly: true }]);
      const put = async (...entries: readonly Entry[]): Promise<void> =>
        await unpackInto(
          mounted,
          '/',
          piecesOf(await tarOf(...entries)),
          { ...plain, keepsKinds: false },
          () => undefined,
        );
      await assert.rejects(put(file('a/vol/f')), /open \/a\/vol: read-only file system/);
      await assert.rejects(put({ name: 'a/vol', type: 'directory', mode: 0o777 }), /read-only file system/);
      await assert.rejects(put(file('a')), /unlinkat \/a: device or resource busy/);
      await assert.rejects(put(hard('h', 'a/vol/secret')), /cross-device/);
      await put(file('a/f'));
    });
    assert.deepEqual(readdirSync(outside), ['secret']);
    await withTree(async (tree) => {
      const put = unpackInto(tree, '/', piecesOf(await tarOf(file('g'))), plain, () => undefined);
      await assert.rejects(put, /open \/: read-only file system/);
    }, true);
  });
});

test('a name is shown as UTF-8', () => {
  assert.equal(toText(toBytes('grün')), 'grün');
});
