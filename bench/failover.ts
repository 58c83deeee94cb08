/*
 * Measures how long a swarm of three managers takes no change after the one that leads their etcd is killed, as somebody
 * sees it who asks another manager for a network until there is one. Prints JSON. Run by bench/report.ts in a lane; alone:
 * scripts/lane scripts/node bench/failover.ts [ROUNDS]
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { downLab, upLab } from '../src/frontends/lab/lab.ts';
import { hostPaths } from '../src/frontends/lab/labFolder.ts';
import { planTopology } from '../src/frontends/lab/topology.ts';
import { callApi } from '../tests/compat/api.ts';
import { eventually } from '../tests/compat/command.ts';
import { quantilesOf } from './quantiles.ts';

const rounds = Number(process.argv[2] ?? 5);
const labFolder = '/run/bench-failover';
const hosts = ['host1', 'host2', 'host3'] as const;
type HostName = (typeof hosts)[number];
const root = join(import.meta.dirname, '..');

async function makesNetwork(host: HostName, name: string): Promise<boolean> {
  const body = JSON.stringify({ Name: name, Driver: 'overlay' });
  const { socket } = hostPaths(labFolder, host);
  return (await callApi(socket, 'POST', '/networks/create', body, {}, 30_000)).status === 201;
}

const ofEtcd = (host: HostName, file: string): string =>
  readFileSync(join(hostPaths(labFolder, host).folder, 'exec/etcd', file), 'utf8');

/** The host whose etcd was the last to be made leader. */
function leader(): HostName {
  const terms = hosts.map((host) => {
    const log = ofEtcd(host, 'etcd.log');
    return Math.max(0, ...[...log.matchAll(/became leader at term (\d+)/g)].map(([, term]) => Number(term)));
  });
  return hosts[terms.indexOf(Math.max(...terms))] ?? 'host1';
}

function lab(command: string, ...args: readonly string[]): void {
  execFileSync(join(root, 'bin/linkspan'), ['lab', command, '--folder', labFolder, ...args]);
}

async function measureOnce(round: number): Promise<number> {
  await upLab({
    ...{ folder: labFolder, topology: planTopology(hosts), managers: 3, withImage: false },
    cgroupParent: process.env['LINKSPAN_LANE_CGROUP'] ?? '',
  });
  try {
    if (!(await eventually(() => makesNetwork('host1', 'before')))) throw new Error('no network is made');
    await sleep(2000);
    const victim = leader();
    const asked = hosts.find((host) => host !== victim) ?? 'host1';
    lab('kill', victim);
    // Of the lab's own numbering.
    lab('exec', victim, 'kill', '-KILL', String(Number.parseInt(ofEtcd(victim, 'etcd.pid'))));
    const fromMs = performance.now();
    for (let i = 0; i < 300; i++) {
      if (await makesNetwork(asked, `after-${round}-${i}`)) return performance.now() - fromMs;
      await sleep(20);
    }
    throw new Error('no network is made after the leader was killed');
  } finally {
    await downLab(labFolder);
  }
}

const samples: number[] = [];
for (let round = 0; round < rounds; round++) samples.push(await measureOnce(round));
const most = Number(Math.max(...samples).toFixed(0));
process.stdout.write(
  `${JSON.stringify({ rounds, writesAgainMs: { ...quantilesOf(samples, 0), most } }, undefined, 2)}\n`,
);
