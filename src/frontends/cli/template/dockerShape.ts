/*
 * Which parts of Docker's API objects (version 1.50) are maps and nullable lists, and which fields the daemon leaves
 * out when empty, so that `{{if .State.Health}}` works on a container without a health check.
 */
import type { GoShape } from './values.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/));

const emptyEndpointConfig = { IPv4Address: '', IPv6Address: '', LinkLocalIPs: null };

export const dockerShape: GoShape = {
  maps: words(`Annotations Attributes AuxiliaryAddresses Containers Data Details DriverOpts EndpointsConfig
    ExposedPorts IndexConfigs Labels Networks Options PortBindings Ports Runtimes Services StorageOpt Sysctls Tmpfs
    Volumes LogOpts`),
  slices:
    words(`Aliases Args Binds BlkioDeviceReadBps CapAdd CapDrop Cmd DNSNames Devices Dns DnsOptions DnsSearch
    Entrypoint Env ExecIDs ExtraHosts GroupAdd LinkLocalIPs Links MaskedPaths Mounts OnBuild Peers Ports[] ReadonlyPaths
    RepoDigests RepoTags SecurityOpt Shell Ulimits VolumesFrom Warnings`),
  optional: {
    '': { SizeRw: null, SizeRootFs: null, Peers: [], Services: null, Parent: '', Comment: '', Author: '' },
    State: { Health: null },
    Config: {
      Healthcheck: null,
      ExposedPorts: null,
      ArgsEscaped: false,
      NetworkDisabled: false,
      MacAddress: '',
      StopSignal: '',
      StopTimeout: null,
      Shell: null,
    },
    HostConfig: {
      Mounts: null,
      Tmpfs: null,
      Sysctls: null,
      StorageOpt: null,
      Init: null,
      Runtime: '',
      Annotations: null,
    },
    IPAMConfig: emptyEndpointConfig,
    'Config[]': { Subnet: '', IPRange: '', Gateway: '', AuxiliaryAddresses: null },
    'Mounts[]': { Name: '', Driver: '' },
  },
};
