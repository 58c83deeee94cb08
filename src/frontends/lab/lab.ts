/*
 * A lab: hosts on this machine, each with namespaces and a linkspand of its own, joined by an underlay. Used by
 * `linkspan lab`, the cluster lane and the benchmarks. Needs root; changes nothing in the machine's own namespaces.
 */
import { createReadStream, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CliError } from '../cli/cliError.ts';
import { ApiClient } from '../cli/http/apiClient.ts';
import { removeCgroups } from './cgroups.ts';
import { imageBuilder } from './installation.ts';
import { socketUrl, startDaemon } from './labDaemon.ts';
import { claimFolder, markUp, readRemains, underlayRecordPath } from './labFolder.ts';
import {
  getUnderlay,
  makeHostNamespaces,
  makeRouterNamespace,
  makeUnderlayNamespace,
  writeHostsFile,
} from './namespaces.ts';
import { endProcess, ownRecord, readRecord } from './processRecord.ts';
import { runTool } from './tools.ts';
import { makeLinks } from './underlay.ts';
import { addressOf, isReachable, routersOf, type Topology } from './topology.ts';

export interface LabPlan {
  /** As `resolveFolder` gives it. */
  readonly folder: string;
  readonly topology: Topology;
  /** Cgroup that the lab's own is made below; default the root. */
  readonly cgroupParent?: string;
  /** How many of the hosts that are not behind NAT, from the first on, manage a swarm of all; 0 = there is no swarm. */
  readonly managers: number;
  readonly withImage: boolean;
}

/** Throws a sentence to those that the kernel would only refuse. */
export function requireRoot(): void {
  if (process.getuid?.() !== 0) throw new CliError('lab: needs root for namespaces; try it with sudo');
}

/** Loads an image made of the machine's own busybox into every host. Resolves with why not, if so. */
async function loadImages(plan: LabPlan, image: Promise<string>): Promise<string | undefined> {
  let path: string;
  try {
    path = await image;
  } catch (error) {
    return `no image was loaded: ${(error as Error).message}`;
  }
  await Promise.all(
    plan.topology.hosts.map(async ({ name }) => {
      const client = new ApiClient(socketUrl(plan.folder, name));
      await client.text('POST', '/images/load', { query: { quiet: '1' }, stream: createReadStream(path) });
    }),
  );
  return undefined;
}

/**
 * The first host makes it; other managers join one after the other, then the workers at once, which know the first
 * one's address only. Managers are hosts that all others reach.
 */
async function makeSwarm({ folder, topology, managers }: LabPlan): Promise<void> {
  const [first, ...others] = [
    ...topology.hosts.filter((host) => isReachable(topology, host)),
    ...topology.hosts.filter((host) => !isReachable(topology, host)),
  ];
  if (first === undefined) return;
  const manager = new ApiClient(socketUrl(folder, first.name));
  const addresses = (address: string): Readonly<Record<string, string>> => ({
    AdvertiseAddr: address,
    ListenAddr: '0.0.0.0:2377',
  });
  await manager.text('POST', '/swarm/init', { json: { ...addresses(addressOf(first)), Spec: {} } });
  type Tokens = Readonly<Record<'Manager' | 'Worker', string>>;
  const { JoinTokens } = await manager.json<{ JoinTokens: Tokens }>('GET', '/swarm');
  const join = async (host: (typeof others)[number], role: keyof Tokens): Promise<void> => {
    const json = {
      ...addresses(addressOf(host)),
      RemoteAddrs: [`${addressOf(first)}:2377`],
      JoinToken: JoinTokens[role],
    };
    await new ApiClient(socketUrl(folder, host.name)).text('POST', '/swarm/join', { json });
  };
  for (const host of others.slice(0, managers - 1)) await join(host, 'Manager');
  await Promise.all(others.slice(managers - 1).map((host) => join(host, 'Worker')));
}

/** By a process of the lab, so that it ends with it. */
async function buildImage(folder: string): Promise<string> {
  const path = join(folder, 'busybox.tar');
  const inside = ['nsenter', '--target', String(getUnderlay(folder).pid), '--pid', '--'];
  await runTool([...inside, ...imageBuilder(), '--save', path]);
  return path;
}

async function build(plan: LabPlan, cgroup: string): Promise<string | undefined> {
  const { folder, topology } = plan;
  const names = topology.hosts.map(({ name }) => name);
  const image = plan.withImage ? buildImage(folder) : undefined;
  // Looked at only after the daemons are up; a failure before that must not count as one that nobody handled.
  image?.catch(() => undefined);
  await Promise.all([
    ...names.map((name) => makeHostNamespaces(folder, name)),
    ...routersOf(topology).map(({ name }) => makeRouterNamespace(folder, name)),
  ]);
  await makeLinks(folder, topology);
  await Promise.all(names.map((name) => startDaemon(folder, name, cgroup)));
  const [notice] = await Promise.all([
    image === undefined ? undefined : loadImages(plan, image),
    plan.managers > 0 ? makeSwarm(plan) : undefined,
  ]);
  return notice;
}

/** Rejects when `signal` aborts, and never resolves. */
function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const interrupt = (): void => reject(new CliError('lab: interrupted; nothing is left', 130));
    if (signal.aborted) interrupt();
    else signal.addEventListener('abort', interrupt);
  });
}

/**
 * Makes a lab and starts its daemons. Resolves with a notice for the user, if there is one. Throws, with nothing left
 * behind, if it cannot be made or `signal` aborts; and without touching anything if the folder is not free.
 */
export async function upLab(
  plan: LabPlan,
  signal: AbortSignal = new AbortController().signal,
): Promise<string | undefined> {
  requireRoot();
  const { pid, startTime } = ownRecord();
  const cgroup = join('/', plan.cgroupParent ?? '', `linkspan-lab-${pid}-${startTime}`);
  const state = claimFolder(plan.folder, cgroup, plan.topology);
  try {
    await writeHostsFile(plan.folder, plan.topology);
    // Whatever comes after ends with the underlay's process, so that it may be given up at any moment.
    await makeUnderlayNamespace(plan.folder);
    const made = build(plan, cgroup);
    made.catch(() => undefined);
    const notice = await Promise.race([made, rejectOnAbort(signal)]);
    markUp(plan.folder, state);
    return notice;
  } catch (error) {
    await downLab(plan.folder);
    throw error;
  }
}

/**
 * Removes a lab, whole or half made: its processes, and with them its namespaces, mounts and links; its cgroups; its
 * folder. Throws if there is none, or a `lab up` of another process is still at work on it.
 */
export async function downLab(folder: string): Promise<void> {
  requireRoot();
  const { cgroup } = readRemains(folder);
  const underlay = readRecord(underlayRecordPath(folder));
  // All others are in its pid namespace: the kernel ends them first.
  if (underlay !== undefined) await endProcess(underlay, 'SIGKILL');
  const left = cgroup === '' ? [] : await removeCgroups(cgroup);
  // A `lab up` that is given up may be about to write a last file.
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  if (left.length > 0) throw new CliError(`lab: these cgroups are still in use: ${left.join(', ')}`);
}
