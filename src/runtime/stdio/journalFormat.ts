/*
 * systemd's journal on the wire: the native protocol, which writes it, and the export format, in which journalctl(1)
 * prints entries. Both are `NAME=value\n`, or for values with newlines in them `NAME\n`, their length as u64 LE, the
 * value, `\n`; the export format ends an entry with an empty line.
 * Sources: systemd.io/JOURNAL_NATIVE_PROTOCOL, systemd.io/JOURNAL_EXPORT_FORMATS. Pure.
 */

const newline = 0x0a;
const equals = 0x3d;
const lengthBytes = 8;

/** One field, as a datagram of the native protocol has it. */
export function encodeJournalField(name: string, value: Buffer | string): Buffer {
  const bytes = Buffer.from(value as string);
  if (!bytes.includes(newline)) return Buffer.concat([Buffer.from(`${name}=`), bytes, Buffer.of(newline)]);
  const length = Buffer.alloc(lengthBytes);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, bytes, Buffer.of(newline)]);
}

/** The name that a label or a variable has as a field: `com.example.a` is `COM_EXAMPLE_A`, as in Docker. */
export function journalFieldName(key: string): string {
  return key
    .toUpperCase()
    .replaceAll(/[^A-Z0-9_]/g, '_')
    .replace(/^_+/, '');
}

export type JournalEntry = ReadonlyMap<string, Buffer>;

/** Joins what journalctl prints to entries. */
export class JournalExport {
  #rest: Buffer[] = [];
  #restBytes = 0;
  /** Below this nothing whole is there. */
  #wantedBytes = 1;
  #entry = new Map<string, Buffer>();

  /** Entries that `chunk` completes. */
  feed(chunk: Buffer): readonly JournalEntry[] {
    this.#rest.push(chunk);
    this.#restBytes += chunk.length;
    if (this.#restBytes < this.#wantedBytes) return [];
    const data = Buffer.concat(this.#rest);
    const entries: JournalEntry[] = [];
    let at = 0;
    for (let end = this.#field(data, at, entries); end !== undefined; end = this.#field(data, at, entries))
      at = end;
    this.#rest = [data.subarray(at)];
    this.#restBytes = data.length - at;
    this.#wantedBytes = Math.max(this.#wantedBytes - at, this.#restBytes + 1);
    return entries;
  }

  /** Where the next field begins; undefined if this one is not whole. */
  #field(data: Buffer, at: number, entries: JournalEntry[]): number | undefined {
    this.#wantedBytes = 0;
    const lineEnd = data.indexOf(newline, at);
    if (lineEnd === -1) return undefined;
    if (lineEnd === at) {
      if (this.#entry.size > 0) entries.push(this.#entry);
      this.#entry = new Map();
      return at + 1;
    }
    const line = data.subarray(at, lineEnd);
    const nameEnd = line.indexOf(equals);
    if (nameEnd !== -1) {
      this.#entry.set(line.toString('latin1', 0, nameEnd), line.subarray(nameEnd + 1));
      return lineEnd + 1;
    }
    const start = lineEnd + 1 + lengthBytes;
    if (data.length < start) return undefined;
    const end = start + Number(data.readBigUInt64LE(lineEnd + 1));
    if (data.length <= end) {
      this.#wantedBytes = end + 1;
      return undefined;
    }
    this.#entry.set(line.toString('latin1'), data.subarray(start, end));
    return end + 1;
  }
}
