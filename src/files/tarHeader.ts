/*
 * Headers of tar entries in GNU's format, which carries names of any bytes and numbers of any size without a second
 * alphabet (GNU tar manual, "Basic Tar Format"; Go's archive/tar and tar-stream read it). Pure.
 *
 *   offset  0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 checksum 8 | 156 type 1
 *         157 link 100 | 257 "ustar  \0" 8 | 329 major 8 | 337 minor 8, numbers in octal, or big-endian behind 0x80 or 0xff
 */

export const blockBytes = 512;

const typeFlags = {
  file: '0',
  link: '1',
  symlink: '2',
  characterDevice: '3',
  blockDevice: '4',
  directory: '5',
  fifo: '6',
  longLink: 'K',
  longName: 'L',
} as const;

export interface TarEntry {
  /** In bytes (rootTree.ts), as is `linkName`. */
  readonly name: string;
  readonly type: keyof typeof typeFlags;
  /** The lower 12 bits of st_mode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  readonly linkName?: string;
  readonly device?: { readonly major: number; readonly minor: number };
}

function writeNumber(block: Buffer, value: number, offset: number, length: number): void {
  const octal = value.toString(8);
  if (value >= 0 && octal.length < length) {
    block.write(octal.padStart(length - 1, '0'), offset, 'latin1');
    return;
  }
  let rest = BigInt(value);
  for (let at = offset + length - 1; at > offset; at--) {
    block[at] = Number(BigInt.asUintN(8, rest));
    rest >>= 8n;
  }
  block[offset] = value < 0 ? 0xff : 0x80;
}

/** How many zeros follow so many bytes of content. */
export function paddingBytes(sizeBytes: number): number {
  return (blockBytes - (sizeBytes % blockBytes)) % blockBytes;
}

function encodeBlock(entry: TarEntry): Buffer {
  const block = Buffer.alloc(blockBytes);
  const { name, linkName = '', device } = entry;
  block.write(name, 0, 100, 'latin1');
  writeNumber(block, entry.mode, 100, 8);
  writeNumber(block, entry.uid, 108, 8);
  writeNumber(block, entry.gid, 116, 8);
  writeNumber(block, entry.sizeBytes, 124, 12);
  writeNumber(block, Math.floor(entry.modifiedMs / 1000), 136, 12);
  block.write(`        ${typeFlags[entry.type]}`, 148, 'latin1');
  block.write(linkName, 157, 100, 'latin1');
  block.write('ustar  ', 257, 'latin1');
  if (device !== undefined) {
    writeNumber(block, device.major, 329, 8);
    writeNumber(block, device.minor, 337, 8);
  }
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** A name that has no room in the header, before it. */
function encodeLong(type: 'longLink' | 'longName', text: string): Buffer {
  const sizeBytes = text.length + 1;
  const rest = { mode: 0o644, uid: 0, gid: 0, modifiedMs: 0 };
  const head = encodeBlock({ name: '././@LongLink', type, sizeBytes, ...rest });
  const body = Buffer.alloc(sizeBytes + paddingBytes(sizeBytes));
  body.write(text, 'latin1');
  return Buffer.concat([head, body]);
}

/** What stands before the content. */
export function encodeHeader(entry: TarEntry): Buffer {
  const { name, linkName = '' } = entry;
  return Buffer.concat([
    ...(linkName.length > 100 ? [encodeLong('longLink', linkName)] : []),
    ...(name.length > 100 ? [encodeLong('longName', name)] : []),
    encodeBlock(entry),
  ]);
}
