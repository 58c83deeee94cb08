/*
 * Which device the default network uses: `docker0`, as every tutorial says, unless a Docker of its own is or will be
 * at home on this machine; then `linkspan0`, so that neither takes the other's bridge away. Likewise `docker_gwbridge`,
 * by which overlay networks lead out, and `linkspan_gwbr`.
 */
import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Link } from '../../kernel/kernel.ts';
import { parseOwnerMark } from '../ownerMark.ts';

export interface DockerPresence {
  /** A process named dockerd runs. */
  readonly isRunning: boolean;
  /** systemd would start it: the service or its socket is enabled. */
  readonly isEnabled: boolean;
  /** A `docker0` exists that this daemon did not make. */
  readonly hasForeignBridge: boolean;
  /** Likewise a `docker_gwbridge`. */
  readonly hasForeignGateway: boolean;
}

/** `requested` (`--bridge`) decides if given. Pure. */
export function chooseDefaultBridge(
  presence: Omit<DockerPresence, 'hasForeignGateway'>,
  requested?: string,
): string {
  if (requested !== undefined && requested !== '') return requested;
  const hasDocker = presence.isRunning || presence.isEnabled || presence.hasForeignBridge;
  return hasDocker ? 'linkspan0' : 'docker0';
}

/** Device of the network that overlay networks lead out by. Pure. */
export function chooseGatewayBridge({
  isRunning,
  isEnabled,
  hasForeignGateway,
}: Omit<DockerPresence, 'hasForeignBridge'>): string {
  return isRunning || isEnabled || hasForeignGateway ? 'linkspan_gwbr' : 'docker_gwbridge';
}

const enablingLinks: readonly string[] = [
  'etc/systemd/system/multi-user.target.wants/docker.service',
  'etc/systemd/system/sockets.target.wants/docker.socket',
];

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** True if a process of this pid namespace is called dockerd (our own starter of that name runs as node). */
async function findDockerd(root: string): Promise<boolean> {
  const entries = await readdir(join(root, 'proc')).catch(() => []);
  const names = entries
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => readFile(join(root, 'proc', pid, 'comm'), 'utf8').catch(() => ''));
  return (await Promise.all(names)).some((name) => name.trim() === 'dockerd');
}

/** Looks at the machine. `root` is `/` but in tests. */
export async function probeDocker(
  links: readonly Link[],
  daemonId: string,
  root = '/',
): Promise<DockerPresence> {
  const enabled = await Promise.all(enablingLinks.map((path) => exists(join(root, path))));
  const hasForeign = (wanted: string): boolean =>
    links.some(({ name, alias }) => name === wanted && parseOwnerMark(alias)?.daemonId !== daemonId);
  return {
    isRunning: await findDockerd(root),
    isEnabled: enabled.includes(true),
    hasForeignBridge: hasForeign('docker0'),
    hasForeignGateway: hasForeign('docker_gwbridge'),
  };
}
