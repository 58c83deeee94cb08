/*
 * What carries our mark and belongs to nothing: links, namespaces, leases, and what containerd keeps for containers
 * without a record. Reads only; the daemon's start is what sweeps.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { Container, Endpoint, Network } from '../model.ts';

export interface Leak {
  readonly kind: 'link' | 'namespace' | 'lease' | 'container';
  /** Interface, path, address or id. */
  readonly name: string;
  /** One sentence. */
  readonly text: string;
}

export interface LeakSources {
  readonly kernel: Pick<Kernel, 'links'>;
  readonly runtime: Pick<Runtime, 'list'>;
  readonly clock: Clock;
  readonly namespaceFolder: string;
  /** Of the namespaces of networks, called by their ids; it may be missing. */
  readonly overlayFolder: string;
  /** Id of the network or endpoint that a link's alias names as its owner, if the link is this daemon's. */
  readonly ownerOf: (alias: string | undefined) => string | undefined;
  readonly records: () => {
    readonly networks: readonly Network[];
    readonly endpoints: readonly Endpoint[];
    readonly containers: readonly Container[];
  };
}

/** What is being made or taken down looks like a leak for a moment. */
const secondLookMs = 1000;

async function listOverlays(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function look({
  kernel,
  runtime,
  namespaceFolder,
  overlayFolder,
  ownerOf,
  records,
}: LeakSources): Promise<readonly Leak[]> {
  const [links, names, overlays, tasks] = await Promise.all([
    kernel.links(),
    readdir(namespaceFolder),
    listOverlays(overlayFolder),
    runtime.list(),
  ]);
  const { networks, endpoints, containers } = records();
  const used = new Set<string>(
    endpoints.filter(({ state }) => state === 'attached').map(({ networkId }) => networkId),
  );
  const containerIds = new Set<string>(containers.map(({ id }) => id));
  const sandboxPaths = new Set(containers.flatMap(({ sandbox }) => sandbox?.path ?? []));
  const owners = new Set<string>([
    ...networks.map(({ id }) => id),
    ...endpoints.filter(({ state }) => state === 'attached').map(({ id }) => id),
  ]);
  return [
    ...links.flatMap(({ name, alias }): readonly Leak[] => {
      const owner = ownerOf(alias);
      if (owner === undefined || owners.has(owner)) return [];
      return [{ kind: 'link', name, text: `the interface ${name} has our mark and no owner` }];
    }),
    ...names
      .map((name) => join(namespaceFolder, name))
      .filter((path) => !sandboxPaths.has(path))
      .map(
        (path): Leak => ({ kind: 'namespace', name: path, text: `no container has the namespace ${path}` }),
      ),
    ...overlays
      .filter((id) => !used.has(id))
      .map((id): Leak => {
        const path = join(overlayFolder, id);
        return {
          kind: 'namespace',
          name: path,
          text: `no container is on the network of the namespace ${path}`,
        };
      }),
    ...endpoints
      .filter(({ containerId }) => !containerIds.has(containerId))
      .map(({ ipv4, ipv6, containerName }): Leak => {
        const address = ipv4 ?? ipv6 ?? '';
        return {
          kind: 'lease',
          name: address,
          text: `${address} is held for ${containerName}, which is gone`,
        };
      }),
    ...tasks
      .filter(({ id }) => !containerIds.has(id))
      .map(
        ({ id }): Leak => ({
          kind: 'container',
          name: id,
          text: `containerd has ${id}, which has no record`,
        }),
      ),
  ];
}

/** Leaks that are there twice, a second apart; resolves at once where the first look finds none. */
export async function findLeaks(sources: LeakSources): Promise<readonly Leak[]> {
  const first = await look(sources);
  if (first.length === 0) return [];
  await sources.clock.sleep(secondLookMs);
  const identify = ({ kind, name }: Leak): string => `${kind} ${name}`;
  const seen = new Set(first.map(identify));
  return (await look(sources)).filter((leak) => seen.has(identify(leak)));
}
