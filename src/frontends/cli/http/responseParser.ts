/*
 * An HTTP/1.1 response, read piece by piece: status line, headers, then a body that is counted, chunked, or ends with
 * the connection (RFC 9112 §6, §7.1). Pure: bytes in, events out. A 101 ends the HTTP part: what follows is the stream.
 */

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  /** Names in lower case; a repeated header keeps its last value. */
  readonly headers: ReadonlyMap<string, string>;
}

export type ResponseEvent =
  | { readonly type: 'head'; readonly head: ResponseHead }
  | { readonly type: 'data'; readonly data: Buffer }
  | { readonly type: 'end' };

type State = 'head' | 'counted' | 'chunkSize' | 'chunkData' | 'chunkEnd' | 'trailer' | 'untilClose' | 'done';

const headLimitBytes = 256 * 1024;

/** Splits a response head (without its empty line). Throws on anything that is not one. */
export function parseHead(text: string): ResponseHead {
  const lines = text.split('\r\n');
  const match = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(lines[0] ?? '');
  if (match === null) throw new Error('malformed HTTP response');
  const headers = new Map<string, string>();
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(match[1]), reason: match[2] ?? '', headers };
}

export class ResponseParser {
  #state: State = 'head';
  #pending: Buffer = Buffer.alloc(0);
  /** Bytes still to come of a counted body or of the present chunk. */
  #left = 0;
  readonly #hasBody: boolean;

  /** `method` is the request's: a HEAD has no body in its response. */
  constructor(method: string) {
    this.#hasBody = method !== 'HEAD';
  }

  /** True once the response is complete. */
  get isDone(): boolean {
    return this.#state === 'done';
  }

  /** Feeds bytes; returns what they completed. Throws on malformed input. */
  push(bytes: Buffer): ResponseEvent[] {
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    const events: ResponseEvent[] = [];
    while (this.#step(events));
    return events;
  }

  /** Tells that the connection ended. Throws if the response was not complete. */
  finish(): ResponseEvent[] {
    if (this.#state === 'done') return [];
    if (this.#state !== 'untilClose') throw new Error('unexpected EOF');
    this.#state = 'done';
    return [{ type: 'end' }];
  }

  /** Does one step; false when more bytes are needed or nothing is left to do. */
  #step(events: ResponseEvent[]): boolean {
    switch (this.#state) {
      case 'head':
        return this.#readHead(events);
      case 'counted':
      case 'chunkData':
        return this.#readCounted(events);
      case 'chunkSize':
        return this.#readChunkSize();
      case 'chunkEnd':
        return this.#readLine() !== undefined && this.#goto('chunkSize');
      case 'trailer':
        return this.#readTrailer(events);
      case 'untilClose':
        if (this.#pending.length > 0) events.push({ type: 'data', data: this.#take(this.#pending.length) });
        return false;
      case 'done':
        return false;
    }
  }

  #goto(state: State): true {
    this.#state = state;
    return true;
  }

  #take(length: number): Buffer {
    const taken = this.#pending.subarray(0, length);
    this.#pending = this.#pending.subarray(length);
    return taken;
  }

  #readHead(events: ResponseEvent[]): boolean {
    const end = this.#pending.indexOf('\r\n\r\n');
    if (end < 0) {
      if (this.#pending.length > headLimitBytes) throw new Error('HTTP response head too large');
      return false;
    }
    const head = parseHead(this.#take(end + 4).toString('latin1', 0, end));
    if (head.status === 100) return true;
    events.push({ type: 'head', head });
    return this.#chooseBody(head, events);
  }

  #chooseBody(head: ResponseHead, events: ResponseEvent[]): boolean {
    const length = head.headers.get('content-length');
    if (head.status === 101) return this.#goto('untilClose');
    if (!this.#hasBody || head.status === 204 || head.status === 304) return this.#end(events);
    if (head.headers.get('transfer-encoding')?.toLowerCase() === 'chunked') return this.#goto('chunkSize');
    if (length === undefined) return this.#goto('untilClose');
    this.#left = Number(length);
    return this.#left === 0 ? this.#end(events) : this.#goto('counted');
  }

  #end(events: ResponseEvent[]): true {
    events.push({ type: 'end' });
    return this.#goto('done');
  }

  #readCounted(events: ResponseEvent[]): boolean {
    if (this.#pending.length === 0) return false;
    const data = this.#take(Math.min(this.#left, this.#pending.length));
    this.#left -= data.length;
    events.push({ type: 'data', data });
    if (this.#left > 0) return false;
    return this.#state === 'counted' ? this.#end(events) : this.#goto('chunkEnd');
  }

  /** The next line without its CRLF, or undefined when it is not complete. */
  #readLine(): string | undefined {
    const end = this.#pending.indexOf('\r\n');
    return end < 0 ? undefined : this.#take(end + 2).toString('latin1', 0, end);
  }

  #readChunkSize(): boolean {
    const line = this.#readLine();
    if (line === undefined) return false;
    const size = (line.split(';', 1)[0] ?? '').trim();
    if (!/^[\da-f]{1,13}$/i.test(size)) throw new Error('malformed chunk');
    this.#left = Number.parseInt(size, 16);
    return this.#goto(this.#left === 0 ? 'trailer' : 'chunkData');
  }

  #readTrailer(events: ResponseEvent[]): boolean {
    const line = this.#readLine();
    if (line === undefined) return false;
    return line === '' ? this.#end(events) : true;
  }
}
