/*
 * What the engine knows, in the project's own words (ARCHITECTURE, glossary). Records here are stored as JSON, so they
 * hold only JSON values; addresses are text in canonical form. Docker's words are translated at api/docker.
 */
import type { Id } from '../base/ids.ts';
import type { DeviceMapping } from '../runtime/oci/devices.ts';
import type { Healthcheck } from '../runtime/oci/healthcheck.ts';
import type { Limits } from '../runtime/oci/limits.ts';
import type { ConsoleSize, Ulimit } from '../runtime/oci/spec.ts';
import type { LogConfig } from '../runtime/stdio/logOptions.ts';
import type { Mac } from '../net/mac.ts';
import type { Proto } from '../net/proto.ts';

export type NetworkId = Id<'network'>;
export type EndpointId = Id<'endpoint'>;
export type ContainerId = Id<'container'>;
export type SandboxId = Id<'sandbox'>;
export type ExecId = Id<'exec'>;

/** A subnet as asked for at create; every field is optional but what names a subnet depends on `subnet`. */
export interface PoolRequest {
  readonly subnet?: string;
  readonly ipRange?: string;
  readonly gateway?: string;
  /** Reserved addresses by name. */
  readonly auxAddresses?: Readonly<Record<string, string>>;
}

/** What a user asks for; Docker Engine API 1.50 NetworkCreate in our words. */
export interface NetworkRequest {
  readonly name: string;
  readonly driver: string;
  /** undefined = the driver's. */
  readonly scope?: string;
  readonly isInternal: boolean;
  readonly isAttachable: boolean;
  readonly isIngress: boolean;
  readonly isConfigOnly: boolean;
  readonly configFrom?: string;
  /** undefined = the default (IPv4 on, IPv6 off). */
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly ipamDriver: string;
  readonly ipamOptions: Readonly<Record<string, string>>;
  readonly pools: readonly PoolRequest[];
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** A subnet that a network has. */
export interface Pool {
  readonly subnet: string;
  readonly ipRange?: string;
  /** Without length. Absent where the driver needs none. */
  readonly gateway?: string;
  readonly auxAddresses: Readonly<Record<string, string>>;
}

/** A network's record. `creating` and `removing` are intents that a restart finishes. */
export interface Network {
  readonly id: NetworkId;
  readonly name: string;
  readonly driver: string;
  /** `global`: of the swarm, the same on all its nodes; managers made it. */
  readonly scope: 'local' | 'global';
  readonly state: 'creating' | 'ready' | 'removing';
  /** RFC 3339 with nanoseconds, as Docker prints. */
  readonly createdAt: string;
  readonly isInternal: boolean;
  readonly isAttachable: boolean;
  readonly hasIpv4: boolean;
  readonly hasIpv6: boolean;
  readonly ipamDriver: string;
  readonly ipamOptions: Readonly<Record<string, string>>;
  readonly pools: readonly Pool[];
  /** As given, plus what the driver adds for the default network. */
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** bridge, host, none: made by the daemon, cannot be removed. */
  readonly isPredefined: boolean;
  /** The swarm's own network for published ports of services. */
  readonly isIngress?: true;
  /** True: containers cannot be attached to it by hand. */
  readonly refusesContainers?: true;
  /** What its containers send to other nodes goes through the encrypted tunnels. */
  readonly isEncrypted?: true;
  /** Of a configuration-only network: the subnets as asked for, which networks made from it get. It has no pools. */
  readonly configuration?: readonly PoolRequest[];
  /** Name of the configuration-only network that this one was made from. */
  readonly configFrom?: string;
}

/** One container's wish to be on one network, from create or connect. */
export interface AttachmentRequest {
  /** Name, id or id prefix, as given. */
  readonly network: string;
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly linkLocalIps?: readonly string[];
  readonly mac?: string;
  readonly aliases: readonly string[];
  /** `NAME` or `NAME:ALIAS`: what this container alone calls another on this network. */
  readonly links: readonly string[];
  /** Docker's endpoint options: interface name and kernel parameters (endpointOptions.ts). */
  readonly driverOptions: Readonly<Record<string, string>>;
  /** The highest among a container's networks gives the default route. */
  readonly gatewayPriority: number;
}

/** An attachment that stands: the endpoint's record. */
export interface Endpoint {
  readonly id: EndpointId;
  readonly networkId: NetworkId;
  readonly containerId: ContainerId;
  readonly containerName: string;
  /** What the attachment was made for. */
  readonly request: AttachmentRequest;
  /**
   * What should be. `attached` is written before the kernel acts and holds while the container runs; a restart that
   * finds the container not running, or its record without this network (for a hidden one: without a network that
   * needs it), takes it back. `reserved` keeps the addresses
   * of a stopped container.
   */
  readonly state: 'attached' | 'reserved';
  /**
   * Only in a hidden endpoint, which no request and no container's record names: the sandbox that has its way out
   * through it (networks/gateway.ts).
   */
  readonly gatewayOf?: SandboxId;
  /** Counts up with the attachments of a container: their order. Absent in records from before it was kept. */
  readonly ordinal?: number;
  /** `eth0`; empty for drivers without an interface (none, host). */
  readonly interfaceName: string;
  /** Name of the host's end; empty as above. */
  readonly hostInterfaceName: string;
  readonly mac?: Mac;
  /** True: the interface has its parent's link address (ipvlan), and `mac` is not used. */
  readonly sharesMac?: true;
  /** With length: `172.17.0.2/16`. */
  readonly ipv4?: string;
  readonly ipv6?: string;
  /**
   * The network's gateway, without length; shown even where another endpoint has the default route. The unspecified
   * address where the default route needs none.
   */
  readonly ipv4Gateway?: string;
  readonly ipv6Gateway?: string;
  /** Families whose default route in the sandbox goes through this endpoint. */
  readonly defaultRoutes: readonly (4 | 6)[];
  /** What a resolver knows the container by on this network; the first is the name that PTR answers. */
  readonly dnsNames: readonly string[];
}

/** A container's network namespace. */
export interface Sandbox {
  readonly id: SandboxId;
  readonly path: string;
}

export type MountSpec =
  | {
      readonly type: 'bind';
      readonly source: string;
      readonly target: string;
      readonly isReadOnly: boolean;
      /** private, rprivate, shared, rshared, slave, rslave; undefined = rprivate. */
      readonly propagation?: string;
      /**
       * What is mounted below the source: absent = it comes along, and is read-only too where the mount is and the kernel
       * can; `none` = it does not come; `writable` = it keeps its own mode; `readonly` = it has to be read-only.
       */
      readonly below?: 'none' | 'writable' | 'readonly';
      /** The source directory is made if missing (`-v`, not `--mount`). */
      readonly createSource: boolean;
    }
  | { readonly type: 'tmpfs'; readonly target: string; readonly options: string }
  /** The files of an image, read-only; `source` is its name or id. */
  | { readonly type: 'image'; readonly source: string; readonly target: string; readonly isReadOnly: true }
  | {
      readonly type: 'volume';
      /** Empty: an anonymous one. */
      readonly source: string;
      readonly target: string;
      readonly isReadOnly: boolean;
      /** True: an empty volume gets what the image has at `target`. */
      readonly copies: boolean;
      /** What of the volume is mounted: a relative path, which does not lead out; absent = all. */
      readonly subpath?: string;
      /** Options of `-v` as given; absent for `--mount`. */
      readonly mode?: string;
      /** What the volume is made with if there is none of that name. */
      readonly driver: string;
      readonly options?: Readonly<Record<string, string>>;
      readonly labels?: Readonly<Record<string, string>>;
    };

/** A volume as one container has it. */
export interface VolumeMount {
  readonly type: 'volume';
  readonly name: string;
  readonly target: string;
  readonly isReadOnly: boolean;
  readonly copies: boolean;
  readonly subpath?: string;
  /** As Docker shows it: the options of `-v`. */
  readonly mode: string;
  /** Nobody named it: it goes with the last container that has it, where its removal says so. */
  readonly isAnonymous: boolean;
}

/** What a container has mounted, its own wishes, those of its image and those of other containers put together. */
export type MountPoint = Exclude<MountSpec, { readonly type: 'volume' }> | VolumeMount;

/** What a user asks for; Docker Engine API 1.50 volume CreateOptions in our words. */
export interface VolumeRequest {
  /** Empty: one is invented, and the volume is anonymous. */
  readonly name: string;
  /** Empty: `local`, the only one. */
  readonly driver: string;
  readonly options?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
}

/**
 * A volume's record. `creating` and `removing` are intents: a restart undoes the one and finishes the other. An anonymous
 * volume is `creating` until its container has a record.
 */
export interface Volume {
  readonly name: string;
  readonly state: 'creating' | 'ready' | 'removing';
  /** RFC 3339 with nanoseconds. */
  readonly createdAt: string;
  /** Absent where none were given, which clients can tell from an empty map. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, string>>;
}

/** A wish to publish a container port, or a run of them, from create or `port add`. */
export interface PortRequest {
  readonly proto: Proto;
  /** The container's first port. */
  readonly port: number;
  /** How many consecutive container ports. */
  readonly count: number;
  /** As given; empty = the network's binding address, or every address. */
  readonly hostIp: string;
  /** Both included; with a count above 1 as many as that, else a choice. undefined = ephemeral. */
  readonly hostPorts?: { readonly first: number; readonly last: number };
  /** Subnets that may connect; empty = everybody. */
  readonly sources: readonly string[];
}

/** A published port, or a run of them, as it stands. */
export interface Binding {
  readonly proto: Proto;
  readonly port: number;
  readonly count: number;
  /** `0.0.0.0` and `::` stand for every address. */
  readonly hostIp: string;
  /** 0 where nothing of the host's is taken: gateway mode `routed`. */
  readonly hostPort: number;
  readonly sources: readonly string[];
  /** Links from which the target is reached directly too; absent = none. */
  readonly trustedLinks?: readonly string[];
  readonly endpointId: EndpointId;
  /** The container's address. */
  readonly target: string;
  /** What was asked for: `exact`, `any` or `8000-8010`; with `askedIp` it tells which wish this satisfies. */
  readonly asked: string;
  readonly askedIp: string;
}

/** How the process sees the network: its own sandbox with attachments, the host's, none, or another container's. */
export type NetworkMode =
  | { readonly type: 'networks' }
  | { readonly type: 'host' }
  | { readonly type: 'none' }
  | { readonly type: 'container'; readonly container: string };

/** What follows the end of a run that nobody asked for. `maxRetries`: of `on-failure` alone, 0 = no limit. */
export interface RestartPolicy {
  readonly name: 'always' | 'unless-stopped' | 'on-failure';
  readonly maxRetries: number;
}

/** Everything that a user may say about a container; what the image adds is resolved at create (`ResolvedProcess`). */
export interface ContainerSpec {
  readonly image: string;
  /** undefined = the image's; [] = cleared. */
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly env: readonly string[];
  readonly workingDir?: string;
  readonly user?: string;
  readonly groupAdd: readonly string[];
  readonly hostname?: string;
  readonly domainname?: string;
  readonly isTty: boolean;
  /** Of its terminal at first; absent = 0 by 0. */
  readonly consoleSize?: ConsoleSize;
  readonly isStdinOpen: boolean;
  readonly isStdinOnce: boolean;
  readonly attach: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly stopSignal?: string;
  readonly stopTimeoutS?: number;
  /** What it does not say is the image's. */
  readonly healthcheck?: Healthcheck;
  /** `80/tcp` */
  readonly exposedPorts: readonly string[];
  readonly ports: readonly PortRequest[];
  /** Every exposed port too, on ephemeral host ports. */
  readonly publishesAllPorts: boolean;
  readonly isAutoRemove: boolean;
  /** Absent = never. */
  readonly restartPolicy?: RestartPolicy;
  readonly isPrivileged: boolean;
  readonly isReadOnlyRootfs: boolean;
  readonly hasInit: boolean;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly securityOptions: readonly string[];
  readonly mounts: readonly MountSpec[];
  /** Targets of anonymous volumes (`-v /path`); where something else is mounted it wins. */
  readonly volumes?: readonly string[];
  /** `CONTAINER` or `CONTAINER:ro`: whose mounts it has too. */
  readonly volumesFrom?: readonly string[];
  readonly sysctls: Readonly<Record<string, string>>;
  /** bytes; undefined = 64 MiB */
  readonly shmSizeBytes?: number;
  /** Written to /etc/hosts: name and address or `host-gateway`. */
  readonly extraHosts: readonly string[];
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly networkMode: NetworkMode;
  /** Docker's NetworkMode text as given (`default`, `bridge`, `mynet`, `container:x`), for inspect. */
  readonly networkModeText: string;
  /**
   * In the order of the command line, the one that NetworkMode names first; then what was connected later. Changed by
   * connect and disconnect: an endpoint whose network is not named here belongs to a change that was cut short.
   */
  readonly attachments: readonly AttachmentRequest[];
  /** Empty, `host`, or `container:` and an id. */
  readonly pidMode: string;
  /** `private`, `shareable`, `none`, `host`, or `container:` and an id; empty in older records: private. */
  readonly ipcMode: string;
  readonly utsMode: string;
  /** Absent = as the daemon's containers all are, on the host's users. */
  readonly userMode?: string;
  readonly cgroupNamespace: string;
  readonly runtime?: string;
  readonly limits?: Limits;
  readonly ulimits?: readonly Ulimit[];
  readonly devices?: readonly DeviceMapping[];
  /** `c 10:200 rwm` */
  readonly deviceRules?: readonly string[];
  /** undefined = the daemon's. */
  readonly cgroupParent?: string;
  /** undefined = 0. */
  readonly oomScoreAdj?: number;
  /** Asked for without a driver it is the daemon's; absent in records from before there were others: json-file. */
  readonly log?: LogConfig;
}

/** What `update` changes of a container; limits that are absent stay. */
export interface ContainerChange {
  readonly limits: Limits;
  readonly restartPolicy?: RestartPolicy | 'no';
}

/** Spec and image config put together: what runs. */
export interface ResolvedProcess {
  /** entrypoint ++ command; argv[0] first. Never empty. */
  readonly args: readonly string[];
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly stopSignal: string;
  readonly healthcheck?: Healthcheck;
  /** Runs commands in shell form; absent = `/bin/sh -c`. */
  readonly shell?: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly exposedPorts: readonly string[];
  /** Targets of anonymous volumes. Absent in records from before there were any. */
  readonly volumes?: readonly string[];
}

/**
 * `created` → `running` → `exited`; `starting` and `removing` are intents; `paused` is a running one held still;
 * `restarting` is one whose run ended, and whose next one is due.
 */
export type ContainerState =
  | 'created'
  | 'starting'
  | 'running'
  | 'paused'
  | 'restarting'
  | 'exited'
  | 'removing'
  | 'dead';

export type HealthStatus = 'starting' | 'healthy' | 'unhealthy';

/** A container's record. */
export interface Container {
  readonly id: ContainerId;
  /** Without a leading slash. */
  readonly name: string;
  readonly createdAt: string;
  readonly spec: ContainerSpec;
  readonly process: ResolvedProcess;
  /** Absent in records from before there were volumes: then the spec's. */
  readonly mounts?: readonly MountPoint[];
  /** With `removing`: its anonymous volumes go too. */
  readonly removesVolumes?: boolean;
  /** Digest of the image's config: `sha256:…` */
  readonly imageId: string;
  readonly state: ContainerState;
  readonly pid: number;
  /** Of the last run; 127 and 126 where the start failed. */
  readonly exitCode: number;
  readonly error: string;
  /** RFC 3339 nano; Docker's zero time if never. */
  readonly startedAt: string;
  readonly finishedAt: string;
  /** By the restart policy, since somebody started it. */
  readonly restartCount: number;
  /** Somebody stopped it, and nobody has started it since: the restart policy rests. */
  readonly wasStopped?: boolean;
  /** The kernel killed a process of the last run for memory. */
  readonly wasOomKilled?: boolean;
  /** By its healthcheck; `unhealthy` too where it does not run. Absent: nobody asks, or it has never run. */
  readonly health?: HealthStatus;
  /** The spec's limits may not be in the cgroup of the run yet. */
  readonly isUpdatePending?: boolean;
  readonly sandbox?: Sandbox;
  /** Host paths bound over /etc/hosts and so on. */
  readonly hostsPath: string;
  readonly hostnamePath: string;
  readonly resolvConfPath: string;
  readonly logPath: string;
}

export const zeroTime = '0001-01-01T00:00:00Z';
