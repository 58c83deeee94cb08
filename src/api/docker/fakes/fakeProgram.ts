/*
 * The programs of the engine in memory: `echo WORDS` (stdout), `err WORDS` (stderr), `cat` (stdin to stdout), `exit N`;
 * anything else runs until it is stopped. For tests.
 */
import { PassThrough } from 'node:stream';
import type { LogRecord } from '../../../runtime/stdio/stdio.ts';

/** One running program with its streams. */
export class Program {
  stdin: PassThrough = new PassThrough();
  outputs: { readonly stdout: PassThrough; readonly stderr: PassThrough }[] = [];
  readonly log: LogRecord[] = [];
  ended: PromiseWithResolvers<number> = Promise.withResolvers<number>();
  #hasEnded = false;

  /** Ready for another run, if the last one is over. */
  rearm(): this {
    if (!this.#hasEnded) return this;
    this.#hasEnded = false;
    this.stdin = new PassThrough();
    this.outputs = [];
    this.ended = Promise.withResolvers<number>();
    return this;
  }

  watch(): { readonly stdout: PassThrough; readonly stderr: PassThrough } {
    const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
    this.outputs.push(streams);
    return streams;
  }

  write(stream: 'stdout' | 'stderr', data: Buffer): void {
    this.log.push({ stream, time: '2026-11-24T01:02:03.5Z', data });
    for (const output of this.outputs) output[stream].write(data);
  }

  run(args: readonly string[]): void {
    const [program = '', ...words] = args;
    const line = Buffer.from(`${words.join(' ')}\n`);
    if (program === 'echo' || program === 'err') {
      this.write(program === 'echo' ? 'stdout' : 'stderr', line);
      this.end(0);
    } else if (program === 'exit') this.end(Number(words[0]));
    else if (program === 'cat') {
      this.stdin.on('data', (data: Buffer) => this.write('stdout', data));
      this.stdin.on('end', () => this.end(0));
    }
  }

  end(exitCode: number): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    for (const { stdout, stderr } of this.outputs) {
      stdout.end();
      stderr.end();
    }
    this.ended.resolve(exitCode);
  }
}
