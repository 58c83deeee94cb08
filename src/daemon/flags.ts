/*
 * The daemon's command line: one row per flag, under dockerd's name where it means the same. A flag of dockerd's is
 * honoured, accepted and without effect here (with the reason, listed by --help), or refused by name.
 * `key` is the name in the configuration file (dockerd's daemon.json) where it differs from the flag.
 */

export interface FlagRow {
  /** Without dashes. */
  readonly flag: string;
  readonly short?: string;
  readonly key?: string;
  /** `list` flags repeat. Switches take an optional `=false`. */
  readonly kind: 'text' | 'switch' | 'list' | 'number';
  readonly about: string;
  /** Why it changes nothing, or why it is refused. Absent = honoured. */
  readonly ignored?: string;
  readonly refused?: string;
}

export const flagRows: readonly FlagRow[] = [
  {
    flag: 'host',
    short: 'H',
    key: 'hosts',
    kind: 'list',
    about: 'where to listen: unix://PATH, or tcp://127.0.0.1:PORT',
  },
  { flag: 'config-file', kind: 'text', about: 'configuration file, JSON in the form of daemon.json' },
  { flag: 'data-root', kind: 'text', about: 'folder of everything durable (/var/lib/linkspan)' },
  { flag: 'exec-root', kind: 'text', about: 'folder of sockets and namespace mounts (/run/linkspan)' },
  { flag: 'pidfile', short: 'p', kind: 'text', about: 'file that holds the process id' },
  {
    flag: 'group',
    short: 'G',
    kind: 'text',
    about: 'group that may use the socket (linkspan, if it exists)',
  },
  { flag: 'log-level', short: 'l', kind: 'text', about: 'debug, info, warn, error or fatal' },
  {
    flag: 'log-driver',
    kind: 'text',
    about: 'log driver of containers that name none: json-file, local, journald or none (json-file)',
  },
  { flag: 'log-opt', key: 'log-opts', kind: 'list', about: 'KEY=VALUE: option of that driver' },
  { flag: 'debug', short: 'D', kind: 'switch', about: 'the same as --log-level=debug' },
  { flag: 'label', key: 'labels', kind: 'list', about: 'key=value label of this engine' },
  { flag: 'containerd', kind: 'text', about: 'socket of a containerd to use instead of starting one' },
  {
    flag: 'builder',
    kind: 'text',
    about: 'BuildKit that builds images: unix:///run/buildkit/buildkitd.sock or tcp://HOST:PORT',
  },
  { flag: 'cgroup-parent', kind: 'text', about: 'cgroup above those of the containers (/linkspan)' },
  {
    flag: 'default-ipc-mode',
    kind: 'text',
    about: 'of containers without --ipc: private, or shareable (private)',
  },
  {
    flag: 'store',
    kind: 'text',
    about:
      'where a manager keeps the records of its swarm: etcd://HOST:PORT[,HOST:PORT...] (the database of this node)',
  },
  {
    flag: 'store-ca',
    kind: 'text',
    about: 'file with the certificate that signed the store’s; makes it TLS',
  },
  { flag: 'store-cert', kind: 'text', about: 'file with the certificate that the store knows us by' },
  { flag: 'store-key', kind: 'text', about: 'file with its key' },
  {
    flag: 'default-address-pool',
    key: 'default-address-pools',
    kind: 'list',
    about: 'base=CIDR,size=N: where subnets are taken from',
  },
  {
    flag: 'bridge',
    short: 'b',
    kind: 'text',
    about: 'bridge of the default network; none = no default network',
  },
  { flag: 'bip', kind: 'text', about: 'address and subnet of the default bridge, 172.17.0.1/16 form' },
  {
    flag: 'fixed-cidr',
    kind: 'text',
    about: 'range within the default subnet that addresses are taken from',
  },
  { flag: 'ipv6', kind: 'switch', about: 'IPv6 on the default network (false)' },
  { flag: 'bip6', kind: 'text', about: 'IPv6 address and subnet of the default bridge, fd00::1/64 form' },
  {
    flag: 'fixed-cidr-v6',
    kind: 'text',
    about: 'the same for its IPv6 subnet',
  },
  { flag: 'mtu', kind: 'number', about: 'MTU of the default network, bytes' },
  { flag: 'icc', kind: 'switch', about: 'containers of the default network may reach each other (true)' },
  {
    flag: 'anti-spoof',
    kind: 'switch',
    about: "containers of the default network may not use others' addresses (true)",
  },
  { flag: 'ip-masq', kind: 'switch', about: 'the default network is masqueraded outward (true)' },
  {
    flag: 'default-network-opt',
    key: 'default-network-opts',
    kind: 'list',
    about: 'DRIVER=KEY=VALUE: option of every new network of that driver',
  },
  { flag: 'ip-forward', kind: 'switch', about: 'switch net.ipv4.ip_forward on (true)' },
  {
    flag: 'ip-forward-no-drop',
    kind: 'switch',
    about: 'do not drop forwarding between foreign interfaces after switching ip_forward on',
  },
  {
    flag: 'firewall-integration',
    kind: 'text',
    about: 'auto = add one marked rule where a foreign firewall drops forwarding; off = only report it',
  },
  {
    flag: 'publish-policy',
    kind: 'text',
    about:
      'open = published ports are open to everybody; host-input = only to whom the host’s INPUT rules let pass',
  },
  {
    flag: 'encryption-port',
    kind: 'number',
    about: 'UDP port of the encrypted tunnels between the nodes of a swarm (51851)',
  },
  {
    flag: 'encryption-secret',
    kind: 'text',
    about:
      'file of at least 16 bytes, the same on all nodes: mixed into the keys of encrypted tunnels, so that breaking X25519 is not enough',
  },
  { flag: 'dns', kind: 'list', about: 'name server for containers' },
  { flag: 'dns-search', kind: 'list', about: 'search domain for containers' },
  { flag: 'dns-opt', key: 'dns-opts', kind: 'list', about: 'resolv.conf option for containers' },
  {
    flag: 'host-gateway-ip',
    key: 'host-gateway-ips',
    kind: 'list',
    about: 'what host-gateway means in --add-host (the default bridge’s address)',
  },
  {
    flag: 'registry-mirror',
    key: 'registry-mirrors',
    kind: 'list',
    about: 'URL of a mirror of Docker Hub, which is asked first',
  },
  {
    flag: 'insecure-registry',
    key: 'insecure-registries',
    kind: 'list',
    about: 'registry that may be spoken to over plain HTTP',
  },

  {
    flag: 'userland-proxy',
    kind: 'switch',
    about: '',
    ignored: 'there is no proxy process; the kernel does the work',
  },
  {
    flag: 'userland-proxy-path',
    kind: 'text',
    about: '',
    ignored: 'there is no proxy process; the kernel does the work',
  },
  { flag: 'iptables', kind: 'switch', about: '', ignored: 'rules are in one nftables table of our own' },
  { flag: 'ip6tables', kind: 'switch', about: '', ignored: 'rules are in one nftables table of our own' },
  { flag: 'firewall-backend', kind: 'text', about: '', ignored: 'it is always nftables' },
  { flag: 'live-restore', kind: 'switch', about: '', ignored: 'containers always outlive the daemon' },
  {
    flag: 'storage-driver',
    short: 's',
    kind: 'text',
    about: '',
    ignored: 'layers are containerd snapshots (overlayfs)',
  },
  { flag: 'containerd-namespace', kind: 'text', about: '', ignored: 'the namespace is always linkspan' },
  { flag: 'containerd-plugins-namespace', kind: 'text', about: '', ignored: 'there are no plugins' },
  { flag: 'experimental', kind: 'switch', about: '', ignored: 'nothing is experimental' },
  { flag: 'exec-opt', key: 'exec-opts', kind: 'list', about: '', ignored: 'runc with cgroupfs is used' },
  { flag: 'default-runtime', kind: 'text', about: '', ignored: 'runc is used' },
  { flag: 'default-cgroupns-mode', kind: 'text', about: '', ignored: 'private on cgroup v2, host on v1' },
  {
    flag: 'swarm-default-advertise-addr',
    kind: 'text',
    about: '',
    ignored: 'it matters once there is a swarm',
  },
  {
    flag: 'allow-direct-routing',
    kind: 'switch',
    about: '',
    refused: 'unpublished ports are never reachable from outside; use gateway mode routed on a network',
  },
  {
    flag: 'userns-remap',
    kind: 'text',
    about: '',
    refused: 'containerd 1.6 makes no snapshots whose files belong to other users',
  },
  { flag: 'init', kind: 'switch', about: '', refused: 'there is no default yet: give run --init' },
  {
    flag: 'tls',
    kind: 'switch',
    about: '',
    refused: 'TLS on the API is not there yet; listen on a unix socket',
  },
  {
    flag: 'tlsverify',
    kind: 'switch',
    about: '',
    refused: 'TLS on the API is not there yet; listen on a unix socket',
  },
  {
    flag: 'tlscacert',
    kind: 'text',
    about: '',
    refused: 'TLS on the API is not there yet; listen on a unix socket',
  },
  {
    flag: 'tlscert',
    kind: 'text',
    about: '',
    refused: 'TLS on the API is not there yet; listen on a unix socket',
  },
  {
    flag: 'tlskey',
    kind: 'text',
    about: '',
    refused: 'TLS on the API is not there yet; listen on a unix socket',
  },
];

/** Refusals that hold only when a switch is on: `--init=false` asks for what we do anyway. */
export function isRefusedValue(value: unknown): boolean {
  return value !== false && value !== '' && value !== undefined;
}
