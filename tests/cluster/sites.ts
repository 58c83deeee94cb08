/*
 * Machines of several sites for the cluster checks, as `linkspan lab up --site A=2 --site B=2 --nat B` makes them: a LAN
 * each behind a router, with a daemon on every host. Those of one segment are in hosts.ts.
 *
 *     await using sites = await openSites('docker', ['A=1', 'B=2', 'C=1'], ['B', 'C=symmetric']);
 *     await formSwarm(sites.host('A1'), sites.host('B1'), sites.host('B2'), sites.host('C1'));
 *     sites.onRouter('B', 'ip', 'link', 'set', 'wan', 'mtu', '1400');
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { downLab } from '../../src/frontends/lab/lab.ts';
import { inRouter } from '../../src/frontends/lab/namespaces.ts';
import { parseSites, planSites } from '../../src/frontends/lab/sites.ts';
import { getHost, getStation, portName } from '../../src/frontends/lab/topology.ts';
import { heal, partition } from '../../src/frontends/lab/underlay.ts';
import type { Transcript } from '../compat/command.ts';
import { type Distance, netemWords } from '../kernel/netem.ts';
import { folder, Host, onUnderlay, upTopology } from './hosts.ts';

export interface Sites extends AsyncDisposable {
  /** `A1`, `A2`, `B1`. */
  readonly host: (name: string) => Host;
  /** The words that run a program on a site's router, whose links are `lan` and `wan`. */
  readonly routerWords: (site: string) => readonly string[];
  /** A program on a site's router; what it wrote. */
  readonly onRouter: (site: string, ...words: readonly string[]) => string;
  /** A router's address on the internet: what a site with NAT looks like from outside. */
  readonly outsideOf: (site: string) => string;
  /** Cuts the line between two sites, or two hosts of one LAN, or mends it. */
  readonly cut: (a: string, b: string, isCut: boolean) => Promise<void>;
  /** A site's from the internet, each way. */
  readonly setDistance: (site: string, distance: Distance) => void;
}

/**
 * Hosts whose daemons run, in no swarm yet. `sites`, `nats`: values of `--site` and `--nat`. `program`: the command line;
 * `withImage`: busybox is loaded.
 */
export async function openSites(
  program: string,
  sites: readonly string[],
  nats: readonly string[],
  withImage = false,
): Promise<Sites> {
  const topology = planSites(parseSites(sites, nats));
  await upTopology(topology, withImage);
  const transcript: Transcript = [];
  const routerWords = (site: string): readonly string[] => inRouter(folder, site);
  const onRouter = (site: string, ...words: readonly string[]): string => {
    const [tool = '', ...args] = [...routerWords(site), ...words];
    return execFileSync(tool, args, { encoding: 'utf8' });
  };
  return {
    host: (name) => new Host(name, getHost(topology, name), program, transcript),
    routerWords,
    onRouter,
    outsideOf: (site) => getStation(topology, site).links.at(-1)?.address ?? '',
    cut: (a, b, isCut) =>
      (isCut ? partition : heal)(folder, getStation(topology, a), getStation(topology, b)),
    setDistance: (site, distance) => {
      const router = getStation(topology, site);
      const wan = router.links.at(-1) ?? assert.fail(`${site} has no way out`);
      onRouter(site, ...netemWords(wan.device, distance));
      onUnderlay(...netemWords(portName(router, wan), distance));
    },
    [Symbol.asyncDispose]: () => downLab(folder),
  };
}
