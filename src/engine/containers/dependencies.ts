/*
 * What the containers are built from: handed in by the composition root, shared by the files of this folder.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { KeyedMutex } from '../../base/mutex.ts';
import type { ImageStore } from '../../runtime/images/images.ts';
import type { HostMounts } from '../../runtime/hostMounts.ts';
import type { SpecHost } from '../../runtime/oci/spec.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { MakeFifo } from '../../runtime/stdio/fifo.ts';
import type { OpenDatagrams } from '../../runtime/stdio/journalWriter.ts';
import type { LogConfig } from '../../runtime/stdio/logOptions.ts';
import type { Store } from '../../store/store.ts';
import type { EventLog } from '../events.ts';
import type { AccountReader } from './accounts.ts';
import type { ContainerTable } from './containerTable.ts';
import type { DnsSettings } from './etcFiles.ts';
import type { SandboxNetwork } from './ports.ts';
import type { SharedMemory } from './sharedMemory.ts';
import type { Subpaths } from '../volumes/subpaths.ts';
import type { LocalVolumes } from '../volumes/volumes.ts';

export interface ContainersDependencies {
  readonly store: Store;
  readonly runtime: Runtime;
  readonly images: ImageStore;
  readonly events: EventLog;
  readonly network: SandboxNetwork;
  /** Not yet recovered: that needs the containers. */
  readonly volumes: LocalVolumes;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly host: SpecHost;
  readonly makeFifo: MakeFifo;
  readonly openDatagrams: OpenDatagrams;
  /** `<data root>/containers`: hosts, hostname, resolv.conf and log of each container. */
  readonly dataFolder: string;
  /** `<exec root>/containers`, on a tmpfs: FIFOs. */
  readonly fifoFolder: string;
  /** `<exec root>/shm`: what containers share as /dev/shm. */
  readonly shmFolder: string;
  /** `<exec root>/subpaths`: parts of volumes on their way into containers. */
  readonly subpathFolder: string;
  readonly hostMounts: HostMounts;
  /** Of containers that name no IPC mode. */
  readonly defaultIpcMode: 'private' | 'shareable';
  /** The machine's own files: /etc/hosts and /etc/resolv.conf. */
  readonly hostsPath: string;
  readonly resolvConfPath: string;
  /** The daemon's --dns, --dns-search and --dns-opt: hold for a container that sets none. */
  readonly dnsDefaults: DnsSettings;
  /** The daemon's --log-driver and --log-opt: for a container that names no driver, or the same one. */
  readonly defaultLog: LogConfig;
  /** The machine's name now. */
  readonly hostname: () => string;
}

/** The dependencies, and what the files of this folder make of them for each other. */
export interface ContainersContext extends ContainersDependencies {
  readonly table: ContainerTable;
  /** One operation on a container at a time, by id. */
  readonly mutex: KeyedMutex;
  readonly accounts: AccountReader;
  readonly sharedMemory: SharedMemory;
  readonly subpaths: Subpaths;
}
