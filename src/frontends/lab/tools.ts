/*
 * Starts the system's programs that a lab is made with (ip, nsenter, unshare, setsid, nft). The lab is a tool for people
 * and tests: nothing of the daemon's network work comes through here.
 */
import { delimiter } from 'node:path';
import { CliError } from '../cli/cliError.ts';

/** Debian's packages, for the sentence that says what is missing. */
const packageOf: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  nft: 'nftables',
  nsenter: 'util-linux',
  setsid: 'util-linux',
  unshare: 'util-linux',
};

/** The environment with the sbin folders on PATH, which a plain user's PATH lacks. */
export function toolEnvironment(): NodeJS.ProcessEnv {
  const path = [process.env['PATH'] ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin'].join(delimiter);
  return { ...process.env, PATH: path };
}

/** Only the lab starts programs: whoever uses the rest of the CLI need not load what that takes. */
export function childProcesses(): typeof import('node:child_process') {
  return process.getBuiltinModule('node:child_process');
}

/** What the shell or nsenter says where a program that it should start is not there. */
function missingProgram(words: readonly string[], stderr: string): string | undefined {
  const names = Object.keys(packageOf).filter((name) => words.includes(name));
  return /failed to execute|not found/.test(stderr) ? names.find((name) => stderr.includes(name)) : undefined;
}

/** A sentence about a program that failed. */
export function toolProblem(words: readonly string[], stderr: string): CliError {
  const missing = missingProgram(words, stderr);
  if (missing === undefined) return new CliError(`lab: ${words[0]}: ${stderr.trim()}`);
  return new CliError(
    `lab: needs the program ${missing} (package ${packageOf[missing]}), which is not on PATH`,
  );
}

/**
 * Runs a program to its end; resolves with what it and its children said, once none of them can say more. Throws
 * CliError with its stderr if its exit code is not 0, or with the package that is missing.
 */
export async function runTool(
  words: readonly string[],
  input = '',
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const [program = '', ...args] = words;
  const child = childProcesses().spawn(program, args, { env: toolEnvironment(), cwd: '/' });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (piece: Buffer) => {
    stdout += piece.toString();
  });
  child.stderr.on('data', (piece: Buffer) => {
    stderr += piece.toString();
  });
  // A program that ends without reading its input says why by its exit code.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(toolProblem(words, error.code === 'ENOENT' ? `${program} not found` : error.message));
    });
    child.once('close', resolve);
  });
  if (exitCode !== 0) throw toolProblem(words, stderr || `ended with ${exitCode}`);
  return { stdout, stderr };
}

/**
 * Runs a program on this process's own streams; resolves with its exit code (128 + the signal's number, 127 if it is not
 * there). Signals of the terminal are for it: it has them already, as one of the same group.
 */
export async function runAttached(words: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const [program = '', ...args] = words;
  const signals = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP'] as const;
  const ignore = (): void => undefined;
  for (const signal of signals) process.on(signal, ignore);
  try {
    const child = childProcesses().spawn(program, args, { env, stdio: 'inherit' });
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') reject(new CliError(`lab: ${program}: command not found`, 127));
      else reject(error);
    });
    child.once('exit', (code, signal) => {
      const numbers: Readonly<Record<string, number>> = process.getBuiltinModule('node:os').constants.signals;
      resolve(code ?? 128 + (numbers[signal ?? ''] ?? 0));
    });
    return await promise;
  } finally {
    for (const signal of signals) process.off(signal, ignore);
  }
}
