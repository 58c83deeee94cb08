/*
 * AppArmor: whether this machine confines programs with it, and the profile of containers that name no other. It has
 * Docker's name and forbids what Docker's does, so that a profile of that name which is loaded already (a Docker's, an
 * administrator's) is taken as it is and never replaced. Source: apparmor.d(5); securityfs of Linux 6.12.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { systemPath } from '../../base/programs.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';

export const defaultAppArmorProfile = 'docker-default';

const enabledPath = '/sys/module/apparmor/parameters/enabled';
/** A line for each loaded profile: `docker-default (enforce)`. */
const loadedPath = '/sys/kernel/security/apparmor/profiles';
const parserLimitMs = 20_000;

/**
 * Everything but: mounting; writing to what of /proc belongs to the host (processes' own folders, /proc/sys/kernel/shm*
 * and the namespaced rest of /proc/sys stay), and to /sys outside of cgroups; reading what shows the kernel's memory,
 * firmware and policy; tracing programs outside of containers. Signals come from outside and go between containers.
 */
const profileText = `
@{PROC} = /proc/

profile ${defaultAppArmorProfile} flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,
  unix,

  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (send, receive) peer=${defaultAppArmorProfile},
  ptrace (trace, read, tracedby, readby) peer=${defaultAppArmorProfile},

  deny mount,

  deny @{PROC}/* w,
  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  deny @{PROC}/sys/[^k]** w,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny @{PROC}/sysrq-trigger rwklx,
  deny @{PROC}/kcore rwklx,

  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
`;

export interface AppArmor {
  /** Loads the default profile if there is none of its name. Throws runtimeFailed with what the parser says. */
  ensureDefault(): Promise<void>;
}

async function isLoaded(): Promise<boolean> {
  const loaded = await readFile(loadedPath, 'utf8');
  return loaded.split('\n').some((line) => line.startsWith(`${defaultAppArmorProfile} (`));
}

async function load(parser: string): Promise<void> {
  const child = spawn(parser, ['--skip-cache', '--replace'], {
    stdio: ['pipe', 'ignore', 'pipe'],
    timeout: parserLimitMs,
  });
  child.stdin.on('error', () => {});
  child.stdin.end(profileText);
  const ended = once(child, 'close') as Promise<[number | null]>;
  const [said, [code]] = await Promise.all([text(child.stderr), ended]);
  if (code !== 0)
    throw new LinkspanError('runtimeFailed', `AppArmor profile ${defaultAppArmorProfile}: ${said.trim()}`);
}

/** undefined where the kernel has it not, or not switched on, or its policy cannot be loaded (package apparmor). */
export function openAppArmor(): AppArmor | undefined {
  try {
    if (readFileSync(enabledPath, 'utf8').trim() !== 'Y') return undefined;
    readFileSync(loadedPath, 'utf8');
  } catch {
    return undefined;
  }
  const parsers = systemPath()
    .split(delimiter)
    .map((folder) => join(folder, 'apparmor_parser'));
  const parser = parsers.find((path) => existsSync(path));
  if (parser === undefined) return undefined;
  let loading: Promise<void> | undefined;
  return {
    ensureDefault: async () => {
      // Somebody may have removed it since (`aa-remove-unknown` does).
      if (await isLoaded()) return;
      loading ??= load(parser).finally(() => {
        loading = undefined;
      });
      await loading;
    },
  };
}
