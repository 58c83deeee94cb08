/*
 * What reaching other firewalls takes beyond nftables: the legacy iptables programs and firewalld's bus. Rare actions,
 * behind one interface so that tests can do without. Nothing on the path of an attach or a packet comes here.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { type BusCall, callBus } from './dbus.ts';

export interface HostTools {
  /** Undefined if the file is missing or unreadable. */
  readText(path: string): Promise<string | undefined>;
  /** Standard output; undefined if the program is missing; rejects if it fails or takes more than 10 s. */
  run(program: string, args: readonly string[]): Promise<string | undefined>;
  /** Rejects with the bus error's text; undefined if there is no system bus. */
  call(call: BusCall): Promise<readonly string[] | undefined>;
}

const runTimeoutMs = 10_000;

function run(program: string, args: readonly string[]): Promise<string | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  execFile(program, [...args], { timeout: runTimeoutMs }, (error, stdout, stderr) => {
    if (error === null) resolve(stdout);
    else if (error.code === 'ENOENT') resolve(undefined);
    else reject(new Error(`${program} ${args.join(' ')}: ${stderr.trim() || error.message}`));
  });
  return promise;
}

/** The real ones: /proc, PATH, and the system bus. */
export const hostTools: HostTools = {
  readText: (path) => readFile(path, 'utf8').catch(() => undefined),
  run,
  call: callBus,
};
