/*
 * Image archives that must be refused: truncated, reaching out of the root, with a layer that is not what its digest
 * says. Made from a good docker-save archive, by editing its entries.
 */
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { extract, pack } from 'tar-stream';

interface Entry {
  readonly name: string;
  readonly type: string;
  readonly linkname: string | undefined;
  readonly content: Buffer;
}

async function readEntries(archive: Buffer): Promise<readonly Entry[]> {
  const reader = extract();
  reader.end(archive);
  const entries: Entry[] = [];
  for await (const entry of reader) {
    const { name, type, linkname } = entry.header;
    entries.push({
      name,
      type: type ?? 'file',
      linkname: linkname ?? undefined,
      content: await buffer(entry),
    });
  }
  return entries;
}

function writeEntries(entries: readonly Entry[]): Promise<Buffer> {
  const tar = pack();
  for (const { name, type, linkname, content } of entries) {
    if (type === 'symlink' || type === 'link') tar.entry({ name, type, linkname: linkname ?? '' });
    else if (type === 'directory') tar.entry({ name, type });
    else tar.entry({ name }, content);
  }
  tar.finalize();
  return buffer(tar);
}

const file = (name: string, content: string): Entry => ({
  name,
  type: 'file',
  linkname: undefined,
  content: Buffer.from(content),
});
const link = (name: string, linkname: string): Entry => ({
  name,
  type: 'symlink',
  linkname,
  content: Buffer.alloc(0),
});

/** The archive with its layer, or whatever `pick` finds first, changed. */
async function edit(archive: Buffer, pick: RegExp, change: (entry: Entry) => Entry): Promise<Buffer> {
  const entries = await readEntries(archive);
  const index = entries.findIndex(({ name, type }) => type === 'file' && pick.test(name));
  if (index === -1) throw new Error(`no entry ${String(pick)} in the archive`);
  return writeEntries(entries.map((entry, at) => (at === index ? change(entry) : entry)));
}

const layerName = /layer\.tar$|\.tar$|^blobs\/sha256\/(?!.*json)/;

export interface ForgedArchive {
  readonly what: string;
  readonly command: 'load' | 'import';
  readonly make: (good: Buffer) => Promise<Buffer> | Buffer;
  readonly stderr: RegExp;
}

export const forgedArchives: readonly ForgedArchive[] = [
  {
    what: 'a truncated archive',
    command: 'load',
    make: (good) => good.subarray(0, Math.floor(good.length * 0.6)),
    stderr: /unexpected (EOF|end)|truncated|invalid/i,
  },
  {
    what: 'an archive of noise',
    command: 'load',
    make: () => createHash('sha512').update('noise').digest(),
    stderr: /unexpected|invalid|unrecognized|not an? /i,
  },
  {
    what: 'an archive without a manifest',
    command: 'load',
    make: () => writeEntries([file('hello', 'world')]),
    stderr: /manifest|invalid|unrecognized/i,
  },
  {
    what: 'a layer that is not what its digest says',
    command: 'load',
    make: (good) =>
      edit(good, layerName, (entry) => ({
        ...entry,
        content: Buffer.concat([entry.content.subarray(0, -1024), Buffer.from('x'.repeat(1024))]),
      })),
    stderr: /digest|diff ?id|checksum|does not match|mismatch/i,
  },
  {
    what: 'a root file system that names a file outside',
    command: 'import',
    make: () => writeEntries([file('bin/x', 'x'), file('../../../../run/compat/escaped', 'y')]),
    stderr: /outside|escapes|breakout|invalid|traversal/i,
  },
  {
    what: 'a root file system that leaves through a link',
    command: 'import',
    make: () => writeEntries([link('out', '/run/compat'), file('out/../../escaped', 'y')]),
    stderr: /outside|escapes|breakout|invalid|traversal/i,
  },
];
