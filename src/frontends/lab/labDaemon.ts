/*
 * A host's linkspand: starting it, waiting until it answers, ending it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from '../cli/cliError.ts';
import { ApiClient } from '../cli/http/apiClient.ts';
import { programFolder } from './installation.ts';
import { hostPaths } from './labFolder.ts';
import { livingProcess, startInHost } from './namespaces.ts';
import { endProcess, isAlive } from './processRecord.ts';

/** All hosts' start at once, also on a slow machine. One that ends is noticed at once. */
const startTimeoutMs = 300_000;

/** `DOCKER_HOST` of a host's daemon. */
export function socketUrl(folder: string, host: string): string {
  return `unix://${hostPaths(folder, host).socket}`;
}

/** The end of a daemon's log. */
export function logTail(folder: string, host: string): string {
  try {
    return readFileSync(hostPaths(folder, host).log, 'utf8').trimEnd().split('\n').slice(-8).join('\n');
  } catch {
    return '';
  }
}

export function isDaemonAlive(folder: string, host: string): boolean {
  return livingProcess(hostPaths(folder, host).daemonProcess) !== undefined;
}

/** Whether a daemon answers there. */
async function answers(client: ApiClient): Promise<boolean> {
  return client.text('GET', '/_ping').then(
    () => true,
    () => false,
  );
}

/** Starts it and waits until it answers. Throws if one runs, or with the end of its log if it does not come up. */
export async function startDaemon(folder: string, host: string, cgroup: string): Promise<void> {
  if (isDaemonAlive(folder, host)) throw new CliError(`lab: the daemon of ${host} runs already`);
  const paths = hostPaths(folder, host);
  const record = await startInHost(folder, host, [
    join(programFolder(), 'linkspand'),
    ...['--data-root', join(paths.folder, 'data'), '--exec-root', join(paths.folder, 'exec')],
    ...['--pidfile', join(paths.folder, 'pid'), '-H', `unix://${paths.socket}`],
    ...['--cgroup-parent', `${cgroup}/${host}`],
  ]);
  const client = new ApiClient(socketUrl(folder, host));
  const endMs = performance.now() + startTimeoutMs;
  while (!(await answers(client))) {
    if (!isAlive(record) || performance.now() > endMs)
      throw new CliError(
        `lab: the daemon of ${host} did not come up; its log ends with:\n${logTail(folder, host)}`,
      );
    await sleep(20);
  }
}

/** Ends the daemon alone; containers go on. Throws if it does not run. */
export async function killDaemon(
  folder: string,
  host: string,
  signal: NodeJS.Signals = 'SIGKILL',
): Promise<void> {
  const record = livingProcess(hostPaths(folder, host).daemonProcess);
  if (record === undefined) throw new CliError(`lab: the daemon of ${host} does not run`);
  await endProcess(record, signal);
}
