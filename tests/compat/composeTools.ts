/*
 * The two docker compose that people have: 1.29, a Python program that Debian 12 packages, and 2.x, a plugin of the
 * docker CLI. The first, and the Python client that it is made with, is unpacked beside the machine where it is not
 * installed; the second is used where it is (its skip is counted).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { testCache } from './testCache.ts';

export interface Compose {
  readonly name: string;
  readonly words: readonly string[];
  readonly env: NodeJS.ProcessEnv;
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
  };
}

/** Undefined where none is installed; LINKSPAN_TEST_COMPOSE names one that lies elsewhere. */
export function findComposePlugin(): Compose | undefined {
  const folders = [
    join(homedir(), '.docker/cli-plugins'),
    ...['/usr/local/lib', '/usr/local/libexec', '/usr/lib', '/usr/libexec'].map((one) =>
      join(one, 'docker/cli-plugins'),
    ),
  ];
  const named = process.env['LINKSPAN_TEST_COMPOSE'];
  const program = named ?? folders.map((one) => join(one, 'docker-compose')).find((one) => existsSync(one));
  if (program === undefined) return undefined;
  return { name: 'docker compose 2', words: [program, '--ansi', 'never', '--progress', 'plain'], env: {} };
}
