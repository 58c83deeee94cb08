/*
 * An attached container on this terminal: bytes both ways until the daemon ends the stream or the user detaches,
 * raw mode while it lasts, signals passed on, and the terminal's size kept in step.
 */
import type { Socket } from 'node:net';
import { BareError, CliError } from '../cliError.ts';
import type { ApiClient, Hijacked } from '../http/apiClient.ts';
import { FrameDecoder } from '../http/multiplexed.ts';
import type { Io } from '../io.ts';
import { DetachScanner, defaultDetachKeys, parseDetachKeys } from './detachKeys.ts';

export interface AttachOptions {
  readonly io: Io;
  readonly isTty: boolean;
  readonly hasStdin: boolean;
  /** '' for the default sequence. */
  readonly detachKeys: string;
}

export type StreamEnd = 'ended' | 'detached';

/** Throws unless stdin is a terminal where a tty needs one. */
export function checkTty(io: Io, hasStdin: boolean, isTty: boolean): void {
  if (hasStdin && isTty && !io.isInTerminal) throw new BareError('the input device is not a TTY');
}

/** Prints a body of attach, exec or logs until it ends. */
export async function printStream(body: AsyncIterable<Buffer>, isTty: boolean, io: Io): Promise<void> {
  if (isTty) {
    for await (const piece of body) io.out(piece);
    return;
  }
  const decoder = new FrameDecoder();
  for await (const piece of body) {
    for (const { stream, payload } of decoder.push(piece)) {
      if (stream === 'systemError')
        throw new CliError(`error from daemon in stream: ${payload.toString('utf8')}`);
      (stream === 'stdout' ? io.out : io.err)(payload);
    }
  }
}

function sendTo(socket: Socket, data: Buffer, stdin: NodeJS.ReadStream): void {
  if (data.length === 0 || socket.write(data)) return;
  stdin.pause();
  socket.once('drain', () => stdin.resume());
}

/**
 * Node's raw mode still puts a carriage return before each line feed of the output, which the container's own terminal has
 * done, or, for a program that draws, must not be done. A mode of false restores all of it.
 */
function makeRaw(stdin: NodeJS.ReadStream): void {
  stdin.setRawMode(true);
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
}

/** Passes stdin to `socket`; the end of stdin closes the sending half only. Calls `onDetach` on the key sequence. */
function pipeStdin(io: Io, socket: Socket, options: AttachOptions, onDetach: () => void): Disposable {
  const { stdin } = io;
  const isRaw = options.isTty && io.isInTerminal;
  const scanner = new DetachScanner(parseDetachKeys(options.detachKeys || defaultDetachKeys));
  const onData = (data: Buffer): void => {
    const { pass, isDetach } = isRaw ? scanner.push(data) : { pass: data, isDetach: false };
    sendTo(socket, pass, stdin);
    if (isDetach) onDetach();
  };
  const onEnd = (): void => void socket.end();
  const restore = (): void => void (isRaw && stdin.setRawMode(false));
  if (isRaw) makeRaw(stdin);
  stdin.on('data', onData);
  stdin.once('end', onEnd);
  process.once('exit', restore);
  return {
    [Symbol.dispose]: () => {
      stdin.off('data', onData);
      stdin.off('end', onEnd);
      stdin.pause();
      process.off('exit', restore);
      restore();
    },
  };
}

/** Runs an attached stream to its end. */
export async function runStream(hijacked: Hijacked, options: AttachOptions): Promise<StreamEnd> {
  const { socket, body } = hijacked;
  const { promise: detached, resolve: detach } = Promise.withResolvers<StreamEnd>();
  // Without stdin the sending half is closed at once: that is how the daemon knows.
  if (!options.hasStdin) socket.end();
  using _stdin = options.hasStdin
    ? pipeStdin(options.io, socket, options, () => detach('detached'))
    : { [Symbol.dispose]: () => {} };
  const printed = printStream(body, options.isTty, options.io).then((): StreamEnd => 'ended');
  try {
    return await Promise.race([printed, detached]);
  } finally {
    socket.destroy();
  }
}

/** Keeps the size of a tty in step with the terminal: once now, then at each SIGWINCH. `path` is its resize route. */
export function followSize(client: ApiClient, io: Io, path: string): Disposable {
  const resize = (): void => {
    const size = io.size();
    if (size === undefined || size.rows === 0) return;
    const query = { h: String(size.rows), w: String(size.columns) };
    // A container that just ended cannot be resized; that is no failure of the command.
    client.text('POST', path, { query }).catch(() => {});
  };
  resize();
  process.on('SIGWINCH', resize);
  return { [Symbol.dispose]: () => void process.off('SIGWINCH', resize) };
}

/** Signals that are worth passing on: all that a process can catch, but those that are about this process itself. */
const forwardedSignals: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGABRT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGTERM',
  'SIGCONT',
];

/** Sends this process's signals to the container instead. */
export function forwardSignals(client: ApiClient, id: string): Disposable {
  const listeners = forwardedSignals.map((signal): [NodeJS.Signals, () => void] => [
    signal,
    () => {
      const query = { signal: signal.slice('SIG'.length) };
      client.text('POST', `/containers/${id}/kill`, { query }).catch(() => {});
    },
  ]);
  for (const [signal, listener] of listeners) process.on(signal, listener);
  return {
    [Symbol.dispose]: () => {
      for (const [signal, listener] of listeners) process.off(signal, listener);
    },
  };
}
