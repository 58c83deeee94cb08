/*
 * The face of the engine to the API: what Docker's commands need, in our words. The composition root builds it.
 * `ref` is what a user types: a full id, a name, or a unique id prefix. Every method throws LinkspanError.
 */

import type { Readable } from 'node:stream';
import type { Condition } from '../base/condition.ts';
import type { Swarm } from '../cluster/swarm.ts';
import type { LinkCounters } from '../codec/netlink/linkCounters.ts';
import type { CgroupUsage, SystemCpu } from '../runtime/cgroups/usage.ts';
import type { ConfigDraft } from '../runtime/images/changes.ts';
import type { ImageStore } from '../runtime/images/images.ts';
import type { LimitSupport } from '../runtime/oci/limitSupport.ts';
import type { ConsoleSize } from '../runtime/oci/spec.ts';
import type { RootfsChange } from '../runtime/runtime.ts';
import type { AttachStreams, LogQuery, LogRecord } from '../runtime/stdio/stdio.ts';
import type { EngineChoice } from '../tunnels/tunnel.ts';
import type { PortChange } from './bindings/requests.ts';
import type { Health } from './containers/healthState.ts';
import type { EventLog } from './events.ts';
import type {
  AttachmentRequest,
  Binding,
  Container,
  ContainerChange,
  ContainerId,
  ContainerSpec,
  Endpoint,
  ExecId,
  Network,
  NetworkRequest,
  Volume,
  VolumeRequest,
} from './model.ts';

export interface NetworkFilter {
  readonly isPredefined?: boolean;
  /** True: without endpoints and not predefined. */
  readonly isDangling?: boolean;
}

/** A pool's addresses, in numbers that for IPv6 exceed what a JavaScript number holds. */
export interface PoolStatus {
  readonly subnet: string;
  /** Leased and reserved ones, with those that nobody may have (network, broadcast). */
  readonly inUse: bigint;
  /** Left for automatic choice, in the subnet or its range. */
  readonly available: bigint;
}

/** A part of a network that a node gives addresses from by itself. */
export interface HeldBlock {
  /** `10.0.1.64/26`. */
  readonly block: string;
  /** Its name, or its id where nobody knows that. */
  readonly node: string;
}

/** A node with endpoints on a network of the swarm. */
export interface PeerNode {
  /** Its host name. */
  readonly name: string;
  /** Its end of the tunnels. */
  readonly address: string;
}

/** An endpoint on a network of the swarm, of this node or another. */
export interface PlacedEndpoint {
  readonly endpointId: string;
  readonly containerName: string;
  /** Without length; the IPv4 one where it has both. */
  readonly address: string;
  /** Its node's end of the tunnels; empty for a node that is not known any more. */
  readonly hostAddress: string;
}

export interface Networks {
  /** In name order. */
  list(filter?: NetworkFilter): readonly Network[];
  /** Full id, then full name, then id prefix. Codes networkNotFound, networkAmbiguous. */
  get(ref: string): Network;
  /** Endpoints of running containers on this network, and those of stopped ones (state in the record). */
  endpoints(network: Network): readonly Endpoint[];
  /** How much of each of its pools is in use; of a network of the swarm, by all nodes, as far as a manager can be asked. */
  poolStatus(network: Network): Promise<readonly PoolStatus[]>;
  /** What interfaces of containers here get, where the network is one of the swarm and this node is in it. */
  mtuBytes(network: Network): number | undefined;
  /** Of a network of the swarm: nodes with endpoints of running containers on it, as far as a manager can be asked. */
  peers(network: Network): Promise<readonly PeerNode[]>;
  /** Likewise: endpoints of running containers on all nodes, by name. */
  placedEndpoints(network: Network): Promise<readonly PlacedEndpoint[]>;
  /** Likewise: the nodes that have blocks of it; none of a network without blocks. */
  blocks(network: Network): Promise<readonly HeldBlock[]>;
  create(request: NetworkRequest): Promise<{ readonly network: Network; readonly warning: string }>;
  remove(ref: string): Promise<void>;
  /** Removes custom networks without attachments that `select` takes; resolves with them. */
  prune(select: (network: Network) => boolean): Promise<readonly Network[]>;
}

export interface Volumes {
  /** In name order. */
  list(): readonly Volume[];
  /** By full name. Code volumeNotFound. */
  get(name: string): Volume;
  /** Where its files are. */
  pathOf(name: string): string;
  /** Containers, running or not, that have the volume. */
  users(name: string): readonly ContainerId[];
  /** What its files take; those deeper than 200 folders count nothing. */
  sizeBytes(name: string): Promise<number>;
  /** The one that has the name, if there is one. Codes volumeInvalid, driverNotFound. */
  create(request: VolumeRequest): Promise<Volume>;
  /** With its files. Codes volumeNotFound (not if forced), volumeInUse. */
  remove(name: string, isForced: boolean): Promise<void>;
  /** Removes volumes without users that `select` takes. */
  prune(
    select: (volume: Volume) => boolean,
  ): Promise<{ readonly names: readonly string[]; readonly reclaimedBytes: number }>;
}

export interface ExecSpec {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly workingDir?: string;
  readonly user?: string;
  readonly isTty: boolean;
  readonly isPrivileged: boolean;
  readonly attach: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
  readonly detachKeys?: string;
  readonly consoleSize?: ConsoleSize;
}

export interface Exec {
  readonly id: ExecId;
  readonly containerId: ContainerId;
  readonly spec: ExecSpec;
  readonly state: 'created' | 'running' | 'exited';
  readonly pid: number;
  readonly exitCode: number | undefined;
}

/** What `wait` waits for, as Docker's `condition`. */
export type WaitCondition = 'not-running' | 'next-exit' | 'removed';

export interface CommitRequest {
  /** `mine:1`; absent = the image has no name. */
  readonly ref?: string;
  readonly author: string;
  readonly comment: string;
  /** Dockerfile instructions, in order. */
  readonly changes: readonly string[];
  /** The container holds still meanwhile. */
  readonly pauses: boolean;
  /** What the image runs; absent = what the container runs. What it leaves open is the container's. */
  readonly config?: ConfigDraft;
}

/** What is at a path of a container. */
export interface PathStat {
  /** The last part of the path; `.` or `/` where it has none. */
  readonly name: string;
  readonly sizeBytes: number;
  /** st_mode. */
  readonly mode: number;
  readonly modifiedMs: number;
  /** Where a link leads, absolute and without links; there or not. Empty for anything else. */
  readonly linkTarget: string;
}

export interface PathWrite {
  /** A folder is not replaced by anything else, nor anything else by a folder. */
  readonly keepsKinds: boolean;
  /** All that is written belongs to the container's user, and not to whom the tar names. */
  readonly asUser: boolean;
}

/** The files of containers. What is in volumes is not among them, but for paths. */
export interface ContainerFiles {
  /** What the container has beside its image; a folder is before what is in it. */
  changes(ref: string): Promise<readonly RootfsChange[]>;
  /** Of the path itself, where that is a link. Code fileNotFound. */
  statPath(ref: string, path: string): Promise<PathStat>;
  /** What is at the path, as a tar whose names begin with the path's last part; ready when `take` is. Code fileNotFound. */
  readPath(
    ref: string,
    path: string,
    take: (stat: PathStat, tar: AsyncIterable<Uint8Array>) => Promise<void>,
  ): Promise<void>;
  /** Unpacks a tar into the folder at the path. Codes fileNotFound, archiveRefused. */
  writePath(ref: string, path: string, tar: Readable, options: PathWrite): Promise<void>;
  /** All of them as a tar, as they are while it is packed. The event `export` is there at once. */
  export(ref: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** An image of the container's own image and what it has changed; resolves with its id. Codes requestInvalid, imageNotFound. */
  commit(ref: string, request: CommitRequest): Promise<string>;
}

/** What a running container has used so far. */
export interface ContainerSample {
  /** RFC 3339 with nanoseconds. */
  readonly readAt: string;
  readonly usage: CgroupUsage;
  readonly system: SystemCpu;
  /** Of the interfaces that its networks gave it. */
  readonly interfaces: readonly LinkCounters[];
}

export interface Containers {
  readonly files: ContainerFiles;
  list(): readonly Container[];
  /** Full id, then name (with or without slash), then id prefix. */
  get(ref: string): Container;
  /** What its probes say; undefined where nobody asks, or it has never run. */
  health(container: Container): Health | undefined;
  /** The AppArmor profile that it runs with; empty where there is no AppArmor, or it has never run. */
  appArmorProfile(container: Container): string;
  /** Ids of its execs that have not ended, in the order of their creation. */
  execIds(container: Container): readonly string[];
  endpoints(container: Container): readonly Endpoint[];
  /** What the container publishes now; empty unless it runs. */
  bindings(container: Container): readonly Binding[];
  /** Publishes and takes back ports, at once if it runs, and for every later start. Codes portTaken, portNotPublished. */
  changePorts(ref: string, change: PortChange): Promise<void>;
  create(
    spec: ContainerSpec,
    name: string | undefined,
  ): Promise<{ readonly container: Container; readonly warnings: readonly string[] }>;
  start(ref: string): Promise<void>;
  /** SIGTERM (or the stop signal), then SIGKILL after `timeoutS` (undefined = the container's, else 10; -1 = never). No-op if not running: resolves false. */
  stop(ref: string, timeoutS?: number, signal?: string): Promise<boolean>;
  restart(ref: string, timeoutS?: number, signal?: string): Promise<void>;
  kill(ref: string, signal: string): Promise<void>;
  pause(ref: string): Promise<void>;
  unpause(ref: string): Promise<void>;
  /** Resolves to `ready` at once; its `done` settles with the exit code when the condition holds. */
  wait(
    ref: string,
    condition: WaitCondition,
    signal: AbortSignal,
  ): { readonly done: Promise<{ readonly exitCode: number; readonly error: string }> };
  remove(
    ref: string,
    options: { readonly isForced: boolean; readonly removesVolumes: boolean },
  ): Promise<void>;
  rename(ref: string, name: string): Promise<void>;
  /** Other limits, at once where it runs, and another restart policy; resolves with Docker's warnings. */
  update(ref: string, change: ContainerChange): Promise<readonly string[]>;
  /** One more network, running or not. Codes endpointExists, networkNotFound, containerConfigInvalid, addressInvalid. */
  connect(ref: string, request: AttachmentRequest): Promise<void>;
  /** Code endpointNotFound if it is not on that network. Forced: also off a network that is gone. */
  disconnect(ref: string, network: string, isForced: boolean): Promise<void>;
  resize(ref: string, size: { readonly height: number; readonly width: number }): Promise<void>;
  /** Before or after start; `logs` first replays the log. */
  attach(
    ref: string,
    want: {
      readonly stdin: boolean;
      readonly stdout: boolean;
      readonly stderr: boolean;
      readonly isStream: boolean;
      readonly withLogs: boolean;
      readonly detachKeys?: string;
    },
  ): Promise<AttachStreams>;
  logs(ref: string, query: LogQuery, signal: AbortSignal): AsyncIterable<LogRecord>;
  top(
    ref: string,
    psArgs: readonly string[],
  ): Promise<{ readonly titles: readonly string[]; readonly processes: readonly (readonly string[])[] }>;
  /** What it has used so far; undefined unless it runs. Code containerNotFound. */
  sample(id: ContainerId): Promise<ContainerSample | undefined>;
  /** Bytes in the writable layer and in all layers. */
  size(ref: string): Promise<{ readonly writableBytes: number; readonly rootfsBytes: number }>;
  prune(select: (container: Container) => boolean): Promise<readonly ContainerId[]>;

  execCreate(ref: string, spec: ExecSpec): Promise<Exec>;
  execGet(id: string): Exec;
  execStart(
    id: string,
    options: { readonly isDetached: boolean; readonly consoleSize?: ConsoleSize },
  ): Promise<AttachStreams>;
  execResize(id: string, size: { readonly height: number; readonly width: number }): Promise<void>;
}

export interface EngineInfo {
  readonly id: string;
  readonly name: string;
  readonly dataRoot: string;
  readonly containerdVersion: string;
  readonly containerd: { readonly address: string; readonly namespace: string };
  readonly runcVersion: string;
  readonly cgroupDriver: string;
  readonly cgroupVersion: 1 | 2;
  /** Which limits containers can have. */
  readonly limitSupport: LimitSupport;
  readonly hasAppArmor: boolean;
  readonly warnings: readonly string[];
  /** Of containers that name none. */
  readonly loggingDriver: string;
  readonly isDebug: boolean;
  readonly labels: readonly string[];
}

/** How packets in the encrypted tunnels get from this node to another. */
export interface TunnelPath {
  readonly nodeId: string;
  readonly hostname: string;
  /**
   * `relay`: by the node that `relay` names. `idle`: there is a peer, no session of the last three minutes, and nothing
   * that says that there could be none. `none`: there is no peer, or no path to it works, see `why`.
   */
  readonly state: 'direct' | 'relay' | 'idle' | 'none';
  /** Half a sentence. */
  readonly why: string;
  /** The largest packet that containers of the two nodes send to each other by it; absent: the other has no tunnel. */
  readonly mtuBytes?: number;
  /** Host name. */
  readonly relay?: string;
  /** Outer, `192.0.2.12:51851`; where the peer was heard from last, or is thought to be. */
  readonly endpoint?: string;
  /** Milliseconds since 1970. */
  readonly lastHandshakeMs?: number;
  /** Of outer packets, since the peer was added. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

export interface Encryption {
  /** What encrypts here, or would. */
  engine(): Promise<EngineChoice>;
  /** To every other node, by host name. Empty without a swarm. */
  paths(): Promise<readonly TunnelPath[]>;
  /** Another key of this node, without losing a packet. Codes noSwarm, managerUnreachable. */
  rotateKey(): Promise<void>;
  /** Nodes that should be reached, and are not. */
  readonly conditions: readonly Condition[];
}

export interface Engine {
  readonly networks: Networks;
  readonly containers: Containers;
  readonly volumes: Volumes;
  readonly images: ImageStore;
  readonly swarm: Swarm;
  readonly encryption: Encryption;
  readonly events: EventLog;
  info(): Promise<EngineInfo>;
}
