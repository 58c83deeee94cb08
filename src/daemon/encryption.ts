/*
 * Wires the encrypted tunnels between the nodes of a swarm.
 */
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { RepairLog } from '../base/repairLog.ts';
import type { Seam } from '../base/seam.ts';
import type { SwarmNetworks } from '../cluster/swarmNetworks.ts';
import type { Underlay } from '../drivers/overlay/segments.ts';
import { formatOwnerMark } from '../drivers/ownerMark.ts';
import { EncryptedCarrier } from '../engine/overlay/encryptedCarrier.ts';
import { TunnelKeys } from '../engine/overlay/tunnelKeys.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import { createTunnelGuard } from '../firewall/tunnelGuard.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Prefix } from '../net/prefix.ts';
import type { Store } from '../store/store.ts';
import { createTunnels, tunnelNameOf } from '../tunnels/createTunnels.ts';
import type { DaemonConfig } from './config.ts';
import { systemAddresses } from './node.ts';

export interface EncryptionDependencies {
  readonly config: DaemonConfig;
  readonly kernel: Kernel;
  readonly store: Store;
  readonly daemonId: string;
  readonly swarm: SwarmNetworks;
  readonly underlay: () => Underlay;
  /** Of networks of our own on this machine: nobody reaches it by their addresses. */
  readonly ownNetworks: () => readonly Prefix[];
  readonly logger: Logger;
  readonly repairs: RepairLog;
  readonly seam: Seam;
}

/** Bytes of a secret that is none. */
const leastSecretBytes = 16;

function readSecret(path: string | undefined): { readonly secret?: Uint8Array } {
  if (path === undefined) return {};
  let secret: Buffer;
  try {
    secret = readFileSync(path);
  } catch (error) {
    throw new LinkspanError('requestInvalid', `--encryption-secret: ${(error as Error).message}`);
  }
  if (secret.length >= leastSecretBytes) return { secret };
  throw new LinkspanError(
    'requestInvalid',
    `--encryption-secret: ${path} has ${secret.length} bytes, ${leastSecretBytes} are the least`,
  );
}

/** Nothing is in the kernel until a network of this host needs it. The caller disposes of it. */
export function openEncryption(deps: EncryptionDependencies): EncryptedCarrier {
  const { config, kernel, store, daemonId, swarm, underlay, logger, repairs, seam } = deps;
  const namespace = join(config.execRoot, 'tunnels', 'netns');
  const onRepair = (repair: Parameters<RepairLog['record']>[0]): void => repairs.record(repair);
  return new EncryptedCarrier({
    ...{ swarm, kernel, underlay, namespace, logger, repairs, clock: systemClock },
    ...readSecret(config.encryptionSecret),
    addresses: () => systemAddresses(deps.ownNetworks()).map(({ ip }) => ip),
    makeFolder: (path) => mkdir(path, { recursive: true, mode: 0o700 }),
    name: tunnelNameOf(daemonId),
    alias: formatOwnerMark({ daemonId, objectId: 'tunnels' }),
    port: config.encryptionPort,
    keys: new TunnelKeys(store, systemClock),
    tunnels: createTunnels({
      ...{ kernel, logger, seam, clock: systemClock },
      folder: join(config.execRoot, 'tunnels'),
    }),
    guard: createTunnelGuard({
      // Its table is in the tunnels' namespace, where nobody else is.
      kernel: {
        events: kernel.events,
        nft: (commands, options = {}) => kernel.nft(commands, { ...options, namespace }),
      },
      isThere: () => kernel.hasNamespace(namespace),
      ...{ logger, clock: systemClock, onRepair },
      port: () => underlay().port,
    }),
  });
}
