/*
 * The terminal side of the CLI: stdout, stderr, stdin and what the terminal can do. One object, handed to commands,
 * so that tests can pass their own.
 */
import { type ReadStream, WriteStream } from 'node:tty';

export interface Io {
  readonly out: (text: string | Uint8Array) => void;
  readonly err: (text: string | Uint8Array) => void;
  readonly stdin: NodeJS.ReadStream;
  readonly isInTerminal: boolean;
  readonly isOutTerminal: boolean;
  readonly isErrTerminal: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly nowMs: () => number;
  /** Rows and columns of the terminal on stdout, or undefined. */
  readonly size: () => { readonly rows: number; readonly columns: number } | undefined;
}

function sizeOf(stream: NodeJS.WriteStream): { rows: number; columns: number } | undefined {
  return stream instanceof WriteStream ? { rows: stream.rows, columns: stream.columns } : undefined;
}

/** The process's own streams. A reader of stdout that goes away ends the process, as SIGPIPE would. */
export function processIo(): Io {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(141);
  });
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    get stdin() {
      return process.stdin as ReadStream;
    },
    get isInTerminal() {
      return process.stdin.isTTY;
    },
    isOutTerminal: process.stdout.isTTY,
    isErrTerminal: process.stderr.isTTY,
    env: process.env,
    nowMs: () => Date.now(),
    size: () => sizeOf(process.stdout),
  };
}
