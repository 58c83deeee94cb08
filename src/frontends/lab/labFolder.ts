/*
 * The folder of a lab: everything that has to be known to use it, or to remove it after `lab up` was killed.
 *   lab.json                what the lab is, and whether it is whole; written before anything is made
 *   underlay.process        process 1 of the lab: all others end with it
 *   hosts                   /etc/hosts as the hosts see it
 *   router-SITE.process     the router of a site
 *   NAME/host.process       process 1 of a host
 *   NAME/daemon.process     its linkspand
 *   NAME/sock, log, pid, data, exec
 */
import { mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { CliError } from '../cli/cliError.ts';
import { isAlive, ownRecord, type ProcessRecord } from './processRecord.ts';
import type { Topology } from './topology.ts';

export const defaultFolder = '/run/linkspan-lab';

/** sun_path holds 107 bytes; the longest below a folder is containerd's second socket. */
const folderMaxBytes = 107 - '/host16/exec/containerd/containerd.sock.ttrpc'.length;

export interface LabState {
  readonly version: 1;
  /** The `lab up` that makes or made it. */
  readonly by: ProcessRecord;
  /** False while it is being made, and for ever if that was cut short. */
  readonly isUp: boolean;
  /** Cgroup above those of the hosts; removed with the lab. */
  readonly cgroup: string;
  readonly topology: Topology;
}

export interface HostPaths {
  readonly folder: string;
  readonly socket: string;
  readonly log: string;
  readonly hostProcess: string;
  readonly daemonProcess: string;
}

export function underlayRecordPath(folder: string): string {
  return join(folder, 'underlay.process');
}

/** Letters are all that a site's name has: no host's folder is called like this. */
export function routerRecordPath(folder: string, site: string): string {
  return join(folder, `router-${site}.process`);
}

export function hostPaths(labFolder: string, host: string): HostPaths {
  const folder = join(labFolder, host);
  return {
    folder,
    socket: join(folder, 'sock'),
    log: join(folder, 'log'),
    hostProcess: join(folder, 'host.process'),
    daemonProcess: join(folder, 'daemon.process'),
  };
}

/** The folder as the kernel names it; its parent must be there. */
export function resolveFolder(path: string): string {
  const absolute = resolve(path);
  try {
    return join(realpathSync(dirname(absolute)), basename(absolute));
  } catch {
    throw new CliError(`lab: there is no folder ${dirname(absolute)}`);
  }
}

function isNotThere(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

/** What stands there. `isUnreadable`: `lab up` was killed while it wrote, before it made anything. */
function look(folder: string): LabState | 'nothing' | 'isForeign' | 'isUnreadable' {
  let names: readonly string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (isNotThere(error)) return 'nothing';
    throw new CliError(`lab: ${folder} cannot be read: ${(error as Error).message}`);
  }
  if (names.length === 0) return 'nothing';
  if (!names.includes('lab.json')) return 'isForeign';
  try {
    return JSON.parse(readFileSync(join(folder, 'lab.json'), 'utf8')) as LabState;
  } catch {
    return names.length === 1 ? 'isUnreadable' : 'isForeign';
  }
}

const atWork = (folder: string, { by }: LabState): string =>
  `lab: 'lab up' (process ${by.pid}) is still making the lab in ${folder}`;

function whyNot(folder: string, found: LabState | 'isForeign' | 'isUnreadable'): string {
  if (found === 'isForeign')
    return `lab: ${folder} holds other things; choose a --folder that is empty or not there`;
  if (found === 'isUnreadable' || (!found.isUp && !isAlive(found.by)))
    return `lab: what an earlier 'lab up' left is in ${folder}; remove it with 'linkspan lab down'`;
  if (!found.isUp) return atWork(folder, found);
  return `lab: a lab stands already in ${folder}; remove it with 'linkspan lab down'`;
}

/** Takes the folder for a new lab, before anything else is made. Throws if anything is in it. */
export function claimFolder(folder: string, cgroup: string, topology: Topology): LabState {
  if (Buffer.byteLength(folder) > folderMaxBytes)
    throw new CliError(
      `lab: ${folder} is too long: sockets are made below it, and ${folderMaxBytes} bytes are the most`,
    );
  const found = look(folder);
  if (found !== 'nothing') throw new CliError(whyNot(folder, found));
  const state: LabState = { version: 1, by: ownRecord(), isUp: false, cgroup, topology };
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  try {
    writeFileSync(join(folder, 'lab.json'), formatState(state), { flag: 'wx', mode: 0o644 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new CliError(`lab: another 'lab up' is making a lab in ${folder}`);
  }
  return state;
}

function formatState(state: LabState): string {
  return `${JSON.stringify(state, undefined, 2)}\n`;
}

/** Says that the lab is whole. */
export function markUp(folder: string, state: LabState): void {
  const path = join(folder, 'lab.json');
  writeFileSync(`${path}.new`, formatState({ ...state, isUp: true }));
  renameSync(`${path}.new`, path);
}

const noLab = (folder: string): CliError =>
  new CliError(`lab: no lab stands in ${folder}; 'linkspan lab up' makes one`);

/** The lab that is whole. Throws a sentence for any other state. */
export function readLab(folder: string): LabState {
  const found = look(folder);
  if (found === 'nothing' || found === 'isForeign') throw noLab(folder);
  if (found === 'isUnreadable' || !found.isUp) throw new CliError(whyNot(folder, found));
  return found;
}

/** What there is to remove: a whole lab, or what is left of one. Throws while a `lab up` is at work on it. */
export function readRemains(folder: string): Pick<LabState, 'cgroup'> {
  const found = look(folder);
  if (found === 'nothing' || found === 'isForeign') throw noLab(folder);
  if (found === 'isUnreadable') return { cgroup: '' };
  if (!found.isUp && found.by.pid !== process.pid && isAlive(found.by))
    throw new CliError(atWork(folder, found));
  return found;
}
