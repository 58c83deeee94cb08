/*
 * The daemon's progress messages on a terminal (one line an id, redrawn in place) or as plain lines elsewhere, and
 * the bar for what the CLI itself uploads.
 */
import { CliError } from '../cliError.ts';
import { jsonTexts } from '../http/jsonLines.ts';
import { formatSize } from '../text/units.ts';

interface ProgressMessage {
  readonly id?: string;
  readonly status?: string;
  readonly stream?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number } | null;
  /** For programs. */
  readonly aux?: unknown;
  readonly error?: string;
  readonly errorDetail?: { readonly message?: string };
}

/** `[====>      ]  1.2MB/5MB`, or '' when nothing is known. */
export function formatBar(current: number, total: number, columns = 200): string {
  if (current <= 0 && total <= 0) return '';
  if (total <= 0) return formatSize(current).padStart(8);
  const half = Math.min(50, Math.trunc((current / total) * 50));
  const bar = columns > 110 ? `[${'='.repeat(half)}>${' '.repeat(50 - half)}] ` : '';
  const numbers = formatSize(current).padStart(8);
  return `${bar}${current > total ? numbers : `${numbers}/${formatSize(total)}`}`;
}

const clearLine = '\x1b[2K';

function cursorMove(lines: number, direction: 'A' | 'B'): string {
  return lines === 0 ? '' : `\x1b[${lines}${direction}`;
}

/** Turns messages into what to print; remembers the line of each id. */
export class ProgressPrinter {
  readonly #isTerminal: boolean;
  readonly #columns: number;
  #lines = new Map<string, number>();

  constructor(isTerminal: boolean, columns = 200) {
    this.#isTerminal = isTerminal;
    this.#columns = columns;
  }

  /** Throws CliError for an error message of the daemon. */
  print(message: ProgressMessage): string {
    const failure = message.errorDetail?.message ?? message.error;
    if (failure !== undefined) throw new CliError(failure);
    if (message.aux !== undefined && message.aux !== null) return '';
    const detail = message.progressDetail;
    const bar = detail ? formatBar(detail.current ?? 0, detail.total ?? 0, this.#columns) : '';
    if (!this.#isTerminal) return detail && bar !== '' ? '' : this.#plain(message);
    if (message.id === undefined || !detail) {
      this.#lines = new Map();
      return this.#plain(message);
    }
    return this.#redraw(message.id, `${message.status ?? ''} ${bar}`);
  }

  #plain(message: ProgressMessage): string {
    const id = message.id === undefined ? '' : `${message.id}: `;
    return message.stream === undefined ? `${id}${message.status ?? ''}\n` : `${id}${message.stream}`;
  }

  #redraw(id: string, text: string): string {
    const isNew = !this.#lines.has(id);
    if (isNew) this.#lines.set(id, this.#lines.size);
    const up = this.#lines.size - (this.#lines.get(id) ?? 0);
    return `${isNew ? '\n' : ''}${cursorMove(up, 'A')}${clearLine}\r${id}: ${text}\r${cursorMove(up, 'B')}`;
  }
}

/** Prints a body of progress messages. Throws CliError when one is an error. */
export async function printProgress(
  body: AsyncIterable<Buffer>,
  write: (text: string) => void,
  isTerminal: boolean,
  columns?: number,
): Promise<void> {
  const printer = new ProgressPrinter(isTerminal, columns);
  for await (const text of jsonTexts(body)) write(printer.print(JSON.parse(text) as ProgressMessage));
}

/** Passes `source` through and draws a bar on the way, at most ten times a second and once at the end. */
export async function* withUploadBar(
  source: AsyncIterable<Uint8Array>,
  totalBytes: number,
  write: (text: string) => void,
  nowMs: () => number,
): AsyncGenerator<Uint8Array, void> {
  let sent = 0;
  let drawnMs = 0;
  const draw = (end: string): void =>
    write(`\r${clearLine}Sending ${formatBar(Math.max(sent, 1), totalBytes)}${end}`);
  for await (const piece of source) {
    yield piece;
    sent += piece.length;
    if (nowMs() - drawnMs < 100) continue;
    drawnMs = nowMs();
    draw('');
  }
  draw('\n');
}
