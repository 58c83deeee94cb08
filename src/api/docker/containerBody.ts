/*
 * The body of POST /containers/create (Docker Engine API 1.50): the fields that we act on, as they come.
 * Fields that we know but do not support are looked at in containerRefusals.ts.
 */
import type { ConsoleSize } from '../../runtime/oci/spec.ts';
import { consoleSizeBody } from './consoleSize.ts';
import { type EndpointSettings, endpointSettings } from './endpointShapes.ts';
import { bool, type Decoder, int, list, map, pointer, raw, struct, text, words } from './goJson.ts';
import { type HealthcheckBody, healthcheckBody } from './healthShapes.ts';
import { type ResourcesBody, resourceFields } from './limitBody.ts';
import type { PortBindingBody, PortBindingsBody } from './portShapes.ts';

interface VolumeOptionsBody {
  readonly NoCopy: boolean;
  readonly Labels: Labels | undefined;
  readonly Subpath: string;
  readonly DriverConfig: { readonly Name: string; readonly Options: Labels | undefined };
}

export interface MountBody {
  readonly Type: string;
  readonly Source: string;
  readonly Target: string;
  readonly ReadOnly: boolean;
  readonly BindOptions: {
    readonly Propagation: string;
    readonly NonRecursive: boolean;
    readonly CreateMountpoint: boolean;
    readonly ReadOnlyNonRecursive: boolean;
    readonly ReadOnlyForceRecursive: boolean;
  };
  readonly ImageOptions: { readonly Subpath: string };
  readonly TmpfsOptions: { readonly SizeBytes: number; readonly Mode: number };
  readonly VolumeOptions: VolumeOptionsBody | undefined;
}

/** Words are lists; undefined is Go's nil. */
type Words = readonly string[] | undefined;
type Labels = Readonly<Record<string, string>>;

export interface HostConfigBody extends ResourcesBody {
  readonly Binds: Words;
  readonly Mounts: readonly MountBody[] | undefined;
  readonly Tmpfs: Labels;
  readonly VolumesFrom: Words;
  readonly VolumeDriver: string;
  readonly NetworkMode: string;
  readonly PortBindings: PortBindingsBody;
  readonly PublishAllPorts: boolean;
  readonly AutoRemove: boolean;
  readonly RestartPolicy: { readonly Name: string; readonly MaximumRetryCount: number };
  readonly Annotations: Labels;
  readonly CapAdd: Words;
  readonly CapDrop: Words;
  readonly CgroupnsMode: string;
  readonly Dns: Words;
  readonly DnsOptions: Words;
  readonly DnsSearch: Words;
  readonly ExtraHosts: Words;
  readonly GroupAdd: Words;
  readonly IpcMode: string;
  readonly Links: Words;
  readonly PidMode: string;
  readonly Privileged: boolean;
  readonly ReadonlyRootfs: boolean;
  readonly SecurityOpt: Words;
  /** Empty, not absent: nothing is hidden. Others are refused. */
  readonly MaskedPaths: Words;
  readonly ReadonlyPaths: Words;
  readonly UTSMode: string;
  readonly UsernsMode: string;
  readonly ShmSize: number;
  readonly Sysctls: Labels;
  readonly Runtime: string;
  readonly Init: boolean | undefined;
  readonly CgroupParent: string;
  readonly OomScoreAdj: number;
  readonly ConsoleSize: ConsoleSize | undefined;
  readonly LogConfig: { readonly Type: string; readonly Config: Labels };
}

export interface ContainerBody {
  readonly Hostname: string;
  readonly Domainname: string;
  readonly User: string;
  readonly AttachStdin: boolean;
  readonly AttachStdout: boolean;
  readonly AttachStderr: boolean;
  readonly ExposedPorts: Readonly<Record<string, unknown>>;
  readonly Volumes: Readonly<Record<string, unknown>>;
  readonly Tty: boolean;
  readonly OpenStdin: boolean;
  readonly StdinOnce: boolean;
  readonly Env: Words;
  readonly Cmd: Words;
  readonly Entrypoint: Words;
  readonly Image: string;
  readonly WorkingDir: string;
  readonly MacAddress: string;
  readonly Labels: Labels;
  readonly StopSignal: string;
  readonly StopTimeout: number | undefined;
  readonly Healthcheck: HealthcheckBody | undefined;
  readonly HostConfig: HostConfigBody;
  readonly NetworkingConfig: { readonly EndpointsConfig: Readonly<Record<string, EndpointSettings>> };
}

const mountBody = struct<MountBody>('Mount', {
  Type: text,
  Source: text,
  Target: text,
  ReadOnly: bool,
  BindOptions: struct('BindOptions', {
    Propagation: text,
    NonRecursive: bool,
    CreateMountpoint: bool,
    ReadOnlyNonRecursive: bool,
    ReadOnlyForceRecursive: bool,
  }),
  ImageOptions: struct('ImageOptions', { Subpath: text }),
  TmpfsOptions: struct('TmpfsOptions', { SizeBytes: int, Mode: int }),
  VolumeOptions: pointer(
    struct<VolumeOptionsBody>('VolumeOptions', {
      NoCopy: bool,
      Labels: pointer(map(text)),
      Subpath: text,
      DriverConfig: struct('Driver', { Name: text, Options: pointer(map(text)) }),
    }),
  ),
});

export const restartPolicyBody: Decoder<HostConfigBody['RestartPolicy']> = struct('RestartPolicy', {
  Name: text,
  MaximumRetryCount: int,
});

const hostConfigBody = struct<HostConfigBody>('HostConfig', {
  Binds: list(text),
  Mounts: list(mountBody),
  Tmpfs: map(text),
  VolumesFrom: list(text),
  VolumeDriver: text,
  NetworkMode: text,
  PortBindings: map(list(struct<PortBindingBody>('PortBinding', { HostIp: text, HostPort: text }))),
  PublishAllPorts: bool,
  AutoRemove: bool,
  RestartPolicy: restartPolicyBody,
  Annotations: map(text),
  CapAdd: words,
  CapDrop: words,
  CgroupnsMode: text,
  Dns: list(text),
  DnsOptions: list(text),
  DnsSearch: list(text),
  ExtraHosts: list(text),
  GroupAdd: list(text),
  IpcMode: text,
  Links: list(text),
  PidMode: text,
  Privileged: bool,
  ReadonlyRootfs: bool,
  SecurityOpt: list(text),
  MaskedPaths: list(text),
  ReadonlyPaths: list(text),
  UTSMode: text,
  UsernsMode: text,
  ShmSize: int,
  Sysctls: map(text),
  Runtime: text,
  Init: pointer(bool),
  CgroupParent: text,
  OomScoreAdj: int,
  ConsoleSize: consoleSizeBody,
  LogConfig: struct('LogConfig', { Type: text, Config: map(text) }),
  ...resourceFields,
});

export const containerBody: Decoder<ContainerBody> = struct<ContainerBody>('CreateRequest', {
  Hostname: text,
  Domainname: text,
  User: text,
  AttachStdin: bool,
  AttachStdout: bool,
  AttachStderr: bool,
  ExposedPorts: map(raw),
  Volumes: map(raw),
  Tty: bool,
  OpenStdin: bool,
  StdinOnce: bool,
  Env: list(text),
  Cmd: words,
  Entrypoint: words,
  Image: text,
  WorkingDir: text,
  MacAddress: text,
  Labels: map(text),
  StopSignal: text,
  StopTimeout: pointer(int),
  Healthcheck: pointer(healthcheckBody),
  HostConfig: hostConfigBody,
  NetworkingConfig: struct('NetworkingConfig', { EndpointsConfig: map(endpointSettings) }),
});
