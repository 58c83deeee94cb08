/*
 * The namespaces of a lab. Process 1 of the underlay has a network and a pid namespace; process 1 of each host has a
 * network, mount, UTS, IPC and pid namespace, the latter inside the underlay's, so that the kernel ends everything in
 * the lab with the underlay's process 1, and mounts and links go with it. The machine's namespaces stay as they are.
 *
 *     machine ── setsid sh (underlay's 1: bridges) ─┬─ setsid sh (host1's 1) ── linkspand, containerd, shims
 *                                                   ├─ setsid sh (host2's 1) ── …
 *                                                   └─ setsid sh (a site's router: a network namespace)
 *
 * Each of these writes its id and start time, as the machine counts them, into the lab's folder: it reads /proc before it
 * leaves the machine's mounts. A shell as process 1 reaps what its children leave behind.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError } from '../cli/cliError.ts';
import { hostPaths, routerRecordPath, underlayRecordPath } from './labFolder.ts';
import { isAlive, type ProcessRecord, readRecord } from './processRecord.ts';
import { runTool, toolProblem } from './tools.ts';
import { addressOf, type Topology } from './topology.ts';

/** Shell: writes `PID START` of the shell itself to a file. */
const recordFunction = `record() {
  file=$1
  read -r stat </proc/self/stat
  set -- $stat
  echo "$1 \${22}" >"$file.new"
  mv "$file.new" "$file"
}`;

/**
 * Shell: becomes a process that does nothing but reap; closing its output tells the starter that it is ready. `ps` in a
 * host shows this text.
 */
const hold = `exec sh -c 'while :; do sleep 86400; done' linkspan-lab </dev/null >/dev/null 2>&1`;

/** $1: file for the record. */
const underlayScript = `set -eu
${recordFunction}
record "$1"
ip link set lo up
${hold}`;

/** $1: file for the record. Ends with the underlay's process 1, in whose pid namespace it is. */
const routerScript = `set -eu
${recordFunction}
record "$1.early"
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
mv "$1.early" "$1"
${hold}`;

/**
 * $1: the lab's folder, $2: the host's name. The host has a /run of its own, so that containerd's, runc's and other
 * programs' files there are not the machine's; the lab's folder and what /etc/resolv.conf points to stay visible in it.
 */
const hostScript = `set -eu
${recordFunction}
folder=$1 name=$2
record "$folder/$name/host.process.early"
echo "$name" >/proc/sys/kernel/hostname
ip link set lo up
run=$folder/$name/run
mkdir "$run"
mount -n -t tmpfs -o mode=755 tmpfs "$run"
mkdir -p "$run/lock" "$run/netns"
resolv=$(readlink -f /etc/resolv.conf || :)
case $resolv in /run/*)
  kept=$run/\${resolv#/run/}
  mkdir -p "\${kept%/*}"
  cat "$resolv" >"$kept" 2>/dev/null || : ;;
esac
case $folder in /run/*)
  mkdir -p "$run/\${folder#/run/}"
  mount -n -o bind "$folder" "$run/\${folder#/run/}" ;;
esac
[ ! -f /etc/hosts ] || mount -n -o bind "$folder/hosts" /etc/hosts
mount -n --move "$run" /run
mount -n -t proc proc /proc
mv "$folder/$name/host.process.early" "$folder/$name/host.process"
${hold}`;

/** $1: file for the record, $2: log, $3: id of the host's process 1, then the command. */
const daemonScript = `set -eu
${recordFunction}
record "$1"
exec </dev/null >>"$2" 2>&1
mounts=/proc/$3/ns/mnt
shift 3
exec nsenter --mount="$mounts" -- "$@"`;

/** The process that a file names, if it is alive. */
export function livingProcess(path: string): ProcessRecord | undefined {
  const record = readRecord(path);
  return record !== undefined && isAlive(record) ? record : undefined;
}

function getProcess(path: string, what: string): ProcessRecord {
  const record = livingProcess(path);
  if (record === undefined) throw new CliError(`lab: ${what} is gone; 'linkspan lab down' removes the rest`);
  return record;
}

export function getUnderlay(folder: string): ProcessRecord {
  return getProcess(underlayRecordPath(folder), 'the underlay');
}

export function getHostProcess(folder: string, host: string): ProcessRecord {
  return getProcess(hostPaths(folder, host).hostProcess, host);
}

export function getRouterProcess(folder: string, site: string): ProcessRecord {
  return getProcess(routerRecordPath(folder, site), `the router of site ${site}`);
}

/** The words that run a command in the network namespace of a site's router. */
export function inRouter(folder: string, site: string): readonly string[] {
  return ['nsenter', `--net=/proc/${getRouterProcess(folder, site).pid}/ns/net`, '--'];
}

/** The words that run a command in the underlay's network namespace. */
export function inUnderlay(folder: string): readonly string[] {
  return ['nsenter', `--net=/proc/${getUnderlay(folder).pid}/ns/net`, '--'];
}

/** The words that run a command in a host, in all its namespaces. */
export function inHost(folder: string, host: string): readonly string[] {
  const { pid } = getHostProcess(folder, host);
  return ['nsenter', '--target', String(pid), '--net', '--uts', '--ipc', '--mount', '--pid', '--'];
}

/**
 * Starts a script in the background; resolves once it lets go of its output, with the record that it wrote. `into`: the
 * words that enter or make its namespaces. `setsid -f`, not `&`: a shell lets its background jobs ignore SIGINT, and
 * containers would inherit that.
 */
async function startScript(
  into: readonly string[],
  script: string,
  args: readonly string[],
  record: string,
): Promise<ProcessRecord> {
  const words = [...into, 'setsid', '-f', 'sh', '-c', script, 'lab', ...args];
  const { stderr } = await runTool(words);
  const started = readRecord(record);
  if (started === undefined) throw toolProblem(words, stderr || 'ended without a word');
  return started;
}

/** Makes the underlay's namespaces; the folder is claimed. */
export async function makeUnderlayNamespace(folder: string): Promise<void> {
  const record = underlayRecordPath(folder);
  await startScript(['unshare', '--net', '--pid', '--'], underlayScript, [record], record);
}

/** The machine's /etc/hosts and the lab's hosts. */
export async function writeHostsFile(folder: string, topology: Topology): Promise<void> {
  const machine = await readFile('/etc/hosts', 'utf8').catch(() => '');
  const own = topology.hosts.map((host) => `${addressOf(host)}\t${host.name}\n`);
  writeFileSync(join(folder, 'hosts'), `${machine.trimEnd()}\n${own.join('')}`);
}

/** Makes a host's namespaces inside the underlay's; its links come after. */
export async function makeHostNamespaces(folder: string, host: string): Promise<void> {
  const paths = hostPaths(folder, host);
  mkdirSync(paths.folder, { mode: 0o711 });
  const outer = ['nsenter', '--target', String(getUnderlay(folder).pid), '--pid', '--'];
  const own = ['unshare', '--net', '--uts', '--ipc', '--mount', '--pid', '--'];
  await startScript([...outer, ...own], hostScript, [folder, host], paths.hostProcess);
}

/** Makes the network namespace of a site's router, which forwards; its links come after. */
export async function makeRouterNamespace(folder: string, site: string): Promise<void> {
  const record = routerRecordPath(folder, site);
  const into = [
    'nsenter',
    '--target',
    String(getUnderlay(folder).pid),
    '--pid',
    '--',
    'unshare',
    '--net',
    '--',
  ];
  await startScript(into, routerScript, [record], record);
}

/** Starts a program in a host, detached, with its record and log among the host's files. */
export async function startInHost(
  folder: string,
  host: string,
  words: readonly string[],
): Promise<ProcessRecord> {
  const { daemonProcess, log } = hostPaths(folder, host);
  const pid = String(getHostProcess(folder, host).pid);
  const into = ['nsenter', '--target', pid, '--net', '--uts', '--ipc', '--pid', '--'];
  rmSync(daemonProcess, { force: true });
  return startScript(into, daemonScript, [daemonProcess, log, pid, ...words], daemonProcess);
}
