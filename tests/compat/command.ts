/*
 * Runs commands as a user would and says what it expected: each is logged with its exit code, and a failure shows the
 * command, both outputs and the commands before it. Set LINKSPAN_TRANSCRIPT=1 to see every command as it runs.
 */
import { spawn } from 'node:child_process';
import { buffer } from 'node:stream/consumers';

/** How a command ended and what it said. */
export interface Result {
  readonly command: string;
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Expected exit code; 0 unless told, undefined accepts any. */
  readonly exitCode?: number | undefined;
  /** What stdout must match, trimmed; a string is compared whole. */
  readonly stdout?: RegExp | string;
  readonly stderr?: RegExp | string;
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

/** What runs a command line: a prefix (namespace, environment) and a log that all its commands share. */
export interface Runner {
  (args: readonly string[], options?: RunOptions): Promise<Result>;
}

/** Programs run about six times slower on the vm lane's emulated machine; limits there are longer. */
const slowness = process.env['LINKSPAN_VM_GUEST'] === '1' ? 6 : 1;

/** The commands so far, one line each; the last ones are shown when an expectation fails. */
export type Transcript = string[];

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

async function finish(
  words: readonly string[],
  env: NodeJS.ProcessEnv,
  options: RunOptions,
): Promise<Omit<Result, 'command'>> {
  const [program = '', ...args] = words;
  const child = spawn(program, args, { env, cwd: options.cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  // A program that ends without reading its input closes the pipe; that is its right.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const timer = setTimeout(() => child.kill('SIGKILL'), (options.timeoutMs ?? 60_000) * slowness);
  const ended = Promise.withResolvers<number>();
  child.once('error', ended.reject);
  child.once('close', (code, signal) => ended.resolve(code ?? (signal === 'SIGKILL' ? 137 : 255)));
  const [stdout, stderr, exitCode] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    ended.promise,
  ]);
  clearTimeout(timer);
  return { exitCode, stdout: stdout.toString().trim(), stderr: stderr.toString().trim() };
}

function differs(actual: string, expected: RegExp | string | undefined): boolean {
  if (expected === undefined) return false;
  return typeof expected === 'string' ? actual !== expected : !expected.test(actual);
}

function mismatch(result: Result, options: RunOptions): string | undefined {
  const exitCode = 'exitCode' in options ? options.exitCode : 0;
  if (exitCode !== undefined && result.exitCode !== exitCode) return `exit code ${exitCode}`;
  if (differs(result.stdout, options.stdout)) return `stdout ${String(options.stdout)}`;
  if (differs(result.stderr, options.stderr)) return `stderr ${String(options.stderr)}`;
  return undefined;
}

/**
 * A runner whose commands start with `prefix`. `shown` names them in the log; `hint` is asked for more text when an
 * expectation fails (the end of a daemon's log).
 */
export function createRunner(
  prefix: readonly string[],
  transcript: Transcript,
  options: {
    readonly env?: NodeJS.ProcessEnv;
    readonly shown?: string;
    readonly hint?: () => string;
  } = {},
): Runner {
  return async (args, expected = {}) => {
    const command = [options.shown ?? prefix.map(quote).join(' '), ...args.map(quote)].join(' ').trim();
    const result = {
      command,
      ...(await finish([...prefix, ...args], { ...process.env, ...options.env }, expected)),
    };
    const line = `$ ${command}   # exit ${result.exitCode}`;
    transcript.push(line);
    if (process.env['LINKSPAN_TRANSCRIPT'] === '1') process.stdout.write(`${line}\n`);
    const wanted = mismatch(result, expected);
    if (wanted === undefined) return result;
    throw new Error(
      [
        `expected ${wanted} of`,
        ...transcript.slice(-8),
        `stdout: ${result.stdout}`,
        `stderr: ${result.stderr}`,
        options.hint?.() ?? '',
      ].join('\n'),
    );
  };
}

/**
 * Asks until `probe` holds or the time is over; resolves with whether it held. The longer it lasts, the more seldom it
 * asks: most probes start a program, and would keep from the processor what they wait for.
 */
export async function poll(probe: () => boolean | Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (let pauseMs = 25; ; pauseMs = Math.min(pauseMs * 1.5, 300)) {
    if (await probe()) return true;
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** `poll` with the patience that the machine needs. */
export function eventually(probe: () => boolean | Promise<boolean>, timeoutMs = 5000): Promise<boolean> {
  return poll(probe, timeoutMs * slowness);
}
