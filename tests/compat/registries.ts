/*
 * Starts Debian's docker-registry and the faulty registries in host A, and fills the real one.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { eventually } from './command.ts';
import { busyboxImage } from './daemonFixture.ts';
import { inHost } from './hosts.ts';

const root = join(import.meta.dirname, '../..');
const node = join(root, 'scripts/node');

export interface Seen {
  readonly port: number;
  readonly method: string;
  readonly path: string;
  readonly range?: string;
  readonly authorization?: string;
}

export interface Filled {
  readonly manifestDigest: string;
  readonly indexDigest: string;
  readonly configDigest: string;
  /** Of the image of the same index for s390x. */
  readonly foreignConfigDigest: string;
  readonly layerDigests: readonly string[];
}

export interface Registries extends Disposable {
  /** What the faulty ones were asked, in order. */
  readonly seen: Seen[];
  /** Uploads an image to the real one (port 5000 of every address of host A). */
  fill(repository: string, tag: string): Filled;
}

const configuration = `version: 0.1
storage:
  filesystem:
    rootdirectory: /run/compat/registry
http:
  addr: 0.0.0.0:5000
`;

function startReal(): ChildProcess {
  mkdirSync('/run/compat', { recursive: true });
  // What an earlier one had would be there already.
  rmSync('/run/compat/registry', { recursive: true, force: true });
  writeFileSync('/run/compat/registry.yml', configuration);
  const words = [...inHost('A'), 'docker-registry', 'serve', '/run/compat/registry.yml'];
  return spawn(words[0] ?? '', words.slice(1), { stdio: 'ignore' });
}

function startFaulty(seen: Seen[]): { readonly child: ChildProcess; readonly ready: Promise<void> } {
  const words = [...inHost('A'), node, join(import.meta.dirname, 'faultyRegistry.ts'), busyboxImage()];
  const child = spawn(words[0] ?? '', words.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const ready = Promise.withResolvers<void>();
  child.once('exit', (code) => ready.reject(new Error(`the faulty registries ended with ${code}`)));
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === 'ready') ready.resolve();
    else seen.push(JSON.parse(line) as Seen);
  });
  return { child, ready: ready.promise };
}

/** Both, answering. Host A exists already. */
export async function startRegistries(): Promise<Registries> {
  const seen: Seen[] = [];
  const real = startReal();
  const faulty = startFaulty(seen);
  await faulty.ready;
  const probe = [...inHost('A'), 'busybox', 'wget', '-qO-', 'http://127.0.0.1:5000/v2/'];
  const isUp = await eventually(() => {
    try {
      execFileSync(probe[0] ?? '', probe.slice(1), { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  }, 20_000);
  if (!isUp) throw new Error('docker-registry does not answer; scripts/test-tools unpacks it');
  return {
    seen,
    fill: (repository, tag) => {
      const script = join(import.meta.dirname, 'fillRegistry.ts');
      const words = [...inHost('A'), node, script, busyboxImage(), '127.0.0.1:5000', repository, tag];
      return JSON.parse(execFileSync(words[0] ?? '', words.slice(1)).toString()) as Filled;
    },
    [Symbol.dispose]: () => {
      for (const child of [real, faulty.child]) child.kill('SIGKILL');
    },
  };
}
