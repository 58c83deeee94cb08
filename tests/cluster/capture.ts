/*
 * What is on the wires between the machines of a lab, recorded, to be searched for what containers say to each other.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../compat/command.ts';
import { underlayWords } from './hosts.ts';

/** Is in what containers say to each other, and must not be in what machines do. */
export const marker = 'linkspan-in-clear';

export interface Recording {
  /** How often the marker was there. */
  readonly markers: number;
  /** How often another text was there. */
  readonly timesOf: (text: string) => number;
  readonly bytes: number;
}

/** Everything between the machines, until it is asked what was in it. */
export class Capture implements AsyncDisposable {
  readonly #path: string;
  readonly #child: ChildProcess;

  private constructor(path: string, child: ChildProcess) {
    this.#path = path;
    this.#child = child;
  }

  static async open(name: string): Promise<Capture> {
    const path = join(mkdtempSync(join(tmpdir(), 'linkspan-capture-')), name);
    const [program = '', ...words] = underlayWords();
    const args = [
      ...[...words, 'tcpdump', '--immediate-mode', '-i', 'any', '-Z', 'root', '-s', '0'],
      ...['-U', '-w', path, 'udp or tcp or icmp'],
    ];
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const isReady = (): boolean => text.includes('listening on') || child.exitCode !== null;
    assert.ok(await eventually(() => Promise.resolve(isReady())), text);
    assert.equal(child.exitCode, null, text);
    return new Capture(path, child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    rmSync(dirname(this.#path), { recursive: true, force: true });
  }

  async #stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGINT');
    await gone;
  }

  async end(): Promise<Recording> {
    await sleep(500);
    await this.#stop();
    const content = readFileSync(this.#path);
    const timesOf = (text: string): number => content.toString('latin1').split(text).length - 1;
    return { markers: timesOf(marker), timesOf, bytes: content.length };
  }
}
