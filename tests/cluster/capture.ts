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

  /** How often the marker was there. */
  async end(): Promise<{ readonly markers: number; readonly bytes: number }> {
    await sleep(500);
    await this.#stop();
    const content = readFileSync(this.#path);
    return { markers: content.toString('latin1').split(marker).length - 1, bytes: content.length };
  }
}
