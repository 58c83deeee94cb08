/*
 * An etcd of one or three members as its users run it: real processes on loopback, with data in the lane's /run.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../compat/command.ts';

export interface EtcdPlan {
  /** Members are at this one, the next but one, and so on; each has the port after it for its peers. */
  readonly firstPort: number;
  readonly members?: number;
  /** One file of each; serves as the certificate of members, clients and of who signed them. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Before the program: runs it in a namespace. */
  readonly prefix?: readonly string[];
}

export class Etcd implements AsyncDisposable {
  readonly #plan: EtcdPlan;
  readonly #folder: string;
  readonly #children: (ChildProcess | undefined)[] = [];
  /** How often each was started. */
  readonly #starts: number[] = [];

  private constructor(plan: EtcdPlan, folder: string) {
    this.#plan = plan;
    this.#folder = folder;
  }

  /** Resolves when all members answer. */
  static async start(plan: EtcdPlan): Promise<Etcd> {
    if (process.env['LINKSPAN_LANE'] !== '1') throw new Error('run this inside scripts/lane');
    mkdirSync('/run/etcd', { recursive: true });
    const etcd = new Etcd(plan, mkdtempSync('/run/etcd/e'));
    for (let i = 0; i < (plan.members ?? 1); i += 1) etcd.spawn(i);
    await etcd.ready();
    return etcd;
  }

  get endpoints(): readonly string[] {
    return Array.from({ length: this.#plan.members ?? 1 }, (_, i) => `127.0.0.1:${this.#portOf(i)}`);
  }

  /** Does not wait until it answers. */
  spawn(index: number): void {
    const { tls, members = 1, prefix = [] } = this.#plan;
    const scheme = tls === undefined ? 'http' : 'https';
    const at = (port: number): string => `http://127.0.0.1:${port}`;
    const client = `${scheme}://127.0.0.1:${this.#portOf(index)}`;
    const all = Array.from({ length: members }, (_, i) => `m${i}=${at(this.#portOf(i) + 1)}`);
    const output = openSync(join(this.#folder, `log${index}`), 'a');
    const [program = '', ...args] = [
      ...prefix,
      ...['etcd', '--name', `m${index}`, '--data-dir', join(this.#folder, `data${index}`)],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', at(this.#portOf(index) + 1)],
      ...['--initial-advertise-peer-urls', at(this.#portOf(index) + 1)],
      ...['--initial-cluster', all.join(','), '--logger', 'zap'],
      ...['--heartbeat-interval', '20', '--election-timeout', '200'],
      ...(tls === undefined
        ? []
        : ['--cert-file', tls.certificate, '--key-file', tls.key, '--trusted-ca-file', tls.certificate]),
      ...(tls === undefined ? [] : ['--client-cert-auth']),
    ];
    this.#children[index] = spawn(program, args, { stdio: ['ignore', output, output] });
    closeSync(output);
    this.#starts[index] = (this.#starts[index] ?? 0) + 1;
  }

  /** Resolves when the members that run answer; each says so once in its life. */
  async ready(): Promise<void> {
    for (const [index, child] of this.#children.entries()) {
      if (child === undefined) continue;
      const log = (): string => readFileSync(join(this.#folder, `log${index}`), 'utf8');
      const said = (): number => log().split('serving client traffic').length - 1;
      if (!(await eventually(() => Promise.resolve(said() >= (this.#starts[index] ?? 0)), 15_000)))
        throw new Error(`etcd did not come up:\n${log().slice(-2000)}`);
    }
  }

  /** Resolves once the process is gone. */
  async kill(index: number): Promise<void> {
    const child = this.#children[index];
    if (child === undefined) return;
    this.#children[index] = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  signal(index: number, signal: NodeJS.Signals): void {
    this.#children[index]?.kill(signal);
  }

  /** Resolves once none of it runs: on a busy machine it may go on for a while after the signal. */
  async hold(index: number): Promise<void> {
    this.signal(index, 'SIGSTOP');
    const tasks = `/proc/${this.#children[index]?.pid}/task`;
    const isHeld = (): boolean =>
      readdirSync(tasks).every((id) => /\) [TZ] /.test(readFileSync(join(tasks, id, 'stat'), 'utf8')));
    if (!(await eventually(() => Promise.resolve(isHeld()), 5000))) throw new Error('etcd does not stop');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const index of this.#children.keys()) await this.kill(index);
  }

  #portOf(index: number): number {
    return this.#plan.firstPort + 2 * index;
  }
}
