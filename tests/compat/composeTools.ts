/*
 * The two docker compose that people have: 1.29, a Python program that Debian 12 packages, and 2.x, a plugin of the
 * docker CLI. Both are unpacked beside the machine where they are not installed: the first with the Python client that
 * it is made with, the second from a newer Debian (without a network it is skipped, which is counted).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findNewer, testCache } from './testCache.ts';

export interface Compose {
  readonly name: string;
  readonly words: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Only the most telling project, to save the time of the others. */
  readonly isSample: boolean;
}

const root = join(import.meta.dirname, '../..');

/** The folder of Python modules with `compose` and `docker` in it. */
export function pythonModules(): string {
  const made = join(testCache, 'made');
  const folder = join(made, 'python-docker');
  if (!existsSync(folder)) {
    mkdirSync(made, { recursive: true });
    const unfinished = `${folder}.${process.pid}`;
    const words = ['unpack', unfinished, 'docker-compose', 'python3-docker'];
    execFileSync(join(root, 'scripts/test-tools'), words, { stdio: ['ignore', 'ignore', 'inherit'] });
    renameSync(unfinished, folder);
  }
  return join(folder, 'usr/lib/python3/dist-packages');
}

export function composeOfPython(): Compose {
  return {
    name: 'docker-compose 1.29',
    words: ['/usr/bin/python3', '-m', 'compose', '--ansi', 'never'],
    env: { PYTHONPATH: pythonModules() },
    isSample: false,
  };
}

/**
 * Undefined where there is none. One that is installed, or that LINKSPAN_TEST_COMPOSE names, runs every project; the
 * one of the test tools runs a sample.
 */
export function findComposePlugin(): Compose | undefined {
  const folders = [
    join(homedir(), '.docker/cli-plugins'),
    ...['/usr/local/lib', '/usr/local/libexec', '/usr/lib', '/usr/libexec'].map((one) =>
      join(one, 'docker/cli-plugins'),
    ),
  ];
  const named = process.env['LINKSPAN_TEST_COMPOSE'];
  const own = named ?? folders.map((one) => join(one, 'docker-compose')).find((one) => existsSync(one));
  const program = own ?? findNewer('usr/libexec/docker/cli-plugins/docker-compose');
  if (program === undefined) return undefined;
  return {
    name: 'docker compose 2',
    words: [program, '--ansi', 'never', '--progress', 'plain'],
    env: {},
    isSample: own === undefined,
  };
}
