/*
 * The networks of a host as they really are, read from the kernel and from the daemon, drawn as text, and written
 * down as the ip, nft and iptables commands that would make the same. Used by the demo; changes nothing.
 */
import { execFileSync } from 'node:child_process';
import { openNft } from '../src/kernel/libnftables.ts';

export interface Attachment {
  readonly container: string;
  /** In the host's namespace. */
  readonly hostLink: string;
  /** In the container's. */
  readonly link: string;
  /** With prefix length. */
  readonly address: string;
  readonly mac: string;
  readonly published: readonly { readonly hostPort: string; readonly port: string; readonly proto: string }[];
}

export interface BridgeNetwork {
  readonly name: string;
  readonly bridge: string;
  readonly subnet: string;
  /** The bridge's own address with prefix length. */
  readonly gateway: string;
  readonly attachments: readonly Attachment[];
}

export interface Topology {
  readonly hostAddress: string;
  readonly outsideAddress: string;
  readonly networks: readonly BridgeNetwork[];
  /** Sets and maps of the nft table that have elements, as nft prints an element. */
  readonly nftElements: readonly { readonly name: string; readonly elements: readonly string[] }[];
}

function read(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8' });
}

interface Link {
  readonly ifindex: number;
  readonly ifname: string;
  readonly link_index?: number;
  readonly addr_info?: readonly {
    readonly family: string;
    readonly local: string;
    readonly prefixlen: number;
  }[];
}

function links(...args: string[]): readonly Link[] {
  return JSON.parse(read('ip', '-j', ...args)) as Link[];
}

interface InspectedNetwork {
  readonly Id: string;
  readonly Name: string;
  readonly IPAM: { readonly Config: readonly { readonly Subnet: string }[] };
  readonly Options: Readonly<Record<string, string>>;
  readonly Containers: Readonly<
    Record<string, { readonly Name: string; readonly MacAddress: string; readonly IPv4Address: string }>
  >;
}

interface InspectedContainer {
  readonly NetworkSettings: {
    readonly SandboxKey: string;
    readonly Ports: Readonly<
      Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
    >;
  };
}

/** Ports of the host's IPv4 addresses that lead into the container. */
function publishedBy(container: InspectedContainer | undefined): Attachment['published'] {
  return Object.entries(container?.NetworkSettings.Ports ?? {}).flatMap(([target, bindings]) => {
    const [port = '', proto = ''] = target.split('/');
    return (bindings ?? [])
      .filter(({ HostIp }) => !HostIp.includes(':'))
      .map(({ HostPort: hostPort }) => ({ hostPort, port, proto }));
  });
}

function inspect(...args: string[]): unknown {
  return JSON.parse(read('linkspan', ...args));
}

/** The veth pair of a container: its own end has the address, and names the other end's index. */
function readAttachment(
  id: string,
  { Name, MacAddress, IPv4Address }: InspectedNetwork['Containers'][string],
): Attachment {
  const [container] = inspect('inspect', id) as readonly InspectedContainer[];
  const sandbox = container?.NetworkSettings.SandboxKey ?? '';
  const inside = JSON.parse(read('nsenter', `--net=${sandbox}`, '--', 'ip', '-j', 'addr')) as Link[];
  const own = inside.find(({ addr_info }) =>
    addr_info?.some(({ local }) => local === IPv4Address.split('/')[0]),
  );
  const peer = links('link').find(({ ifindex }) => ifindex === own?.link_index);
  return {
    container: Name,
    hostLink: peer?.ifname ?? '?',
    link: own?.ifname ?? '?',
    address: IPv4Address,
    mac: MacAddress,
    published: publishedBy(container),
  };
}

function readNetwork(name: string): BridgeNetwork {
  const [network] = inspect('network', 'inspect', name) as readonly InspectedNetwork[];
  if (network === undefined) throw new Error(`no network ${name}`);
  const bridge = network.Options['com.docker.network.bridge.name'] ?? `br-${network.Id.slice(0, 12)}`;
  const [link] = links('-4', 'addr', 'show', bridge);
  const own = link?.addr_info?.[0];
  return {
    name,
    bridge,
    subnet: network.IPAM.Config[0]?.Subnet ?? '',
    gateway: own === undefined ? '' : `${own.local}/${own.prefixlen}`,
    attachments: Object.entries(network.Containers)
      .map(([id, entry]) => readAttachment(id, entry))
      .toSorted((a, b) => (a.address < b.address ? -1 : 1)),
  };
}

/** Element blocks of `nft list table`, as `name` and the texts between the commas. */
export function parseNftElements(listing: string): Topology['nftElements'] {
  return [...listing.matchAll(/(?:set|map) (\S+) \{[^{}]*?elements = \{([^{}]*)\}/g)].map((match) => ({
    name: match[1] ?? '',
    elements: (match[2] ?? '')
      .split(',')
      .map((text) => text.trim().replaceAll(/\s+/g, ' '))
      .filter((text) => text !== ''),
  }));
}

/** Reads what there is now; runs in the daemon's network namespace. */
export function readTopology(networks: readonly string[], outsideAddress: string): Topology {
  const [uplink] = links('-4', 'addr', 'show', 'eth0');
  const address = uplink?.addr_info?.[0];
  return {
    hostAddress: address === undefined ? '' : `${address.local}/${address.prefixlen}`,
    outsideAddress,
    networks: networks.map(readNetwork),
    nftElements: parseNftElements(openNft()('list table inet linkspan', false)),
  };
}

/** The drawing, one line an entry. */
export function drawTopology({ hostAddress, outsideAddress, networks }: Topology): readonly string[] {
  const lines = [
    `  outside   ${outsideAddress}`,
    '     │',
    '     │ eth0',
    `  host      ${hostAddress}`,
    '     │',
  ];
  networks.forEach((network, at) => {
    const isLast = at === networks.length - 1;
    lines.push(`     ${isLast ? '└' : '├'}── ${network.name}   ${network.bridge}   ${network.gateway}`);
    network.attachments.forEach(({ container, hostLink, link, address, published }, index) => {
      const corner = index === network.attachments.length - 1 ? '└' : '├';
      const rail = isLast ? ' ' : '│';
      lines.push(
        `     ${rail}     ${corner}── ${hostLink} ════ ${link} ${address}   ${container}${published
          .map(({ hostPort, port, proto }) => `   ${hostPort} → ${port}/${proto}`)
          .join('')}`,
      );
    });
    lines.push(isLast ? '' : '     │');
  });
  return lines;
}

/** The same with iproute2: what a hand would type. Containers stand for their network namespaces. */
export function ipCommands({ networks }: Topology): readonly string[] {
  return networks.flatMap(({ bridge, gateway, attachments }) => [
    `ip link add ${bridge} type bridge`,
    `ip address add ${gateway} dev ${bridge}`,
    `ip link set ${bridge} up`,
    ...attachments.flatMap(({ container, hostLink, link, address, mac }) => [
      `ip netns add ${container}`,
      `ip link add ${hostLink} master ${bridge} type veth peer name ${link} address ${mac} netns ${container}`,
      `ip -n ${container} address add ${address} dev ${link}`,
      `ip -n ${container} link set ${link} up`,
      `ip link set ${hostLink} up`,
      `ip -n ${container} route add default via ${gateway.split('/')[0]}`,
    ]),
  ]);
}

/** The elements that stand in the table now; its rules are constant. */
export function nftCommands({ nftElements }: Topology): readonly string[] {
  return nftElements.flatMap(({ name, elements }) =>
    elements.map((element) => `nft add element inet linkspan ${name} '{ ${element} }'`),
  );
}

/** What the tutorial and older engines type instead: rules that grow with networks. */
export function iptablesCommands({ networks }: Topology): readonly string[] {
  return [
    'sysctl net.ipv4.ip_forward=1',
    ...networks.flatMap(({ bridge, subnet, attachments }) => [
      `iptables -t nat -A POSTROUTING -s ${subnet} ! -o ${bridge} -j MASQUERADE`,
      `iptables -A FORWARD -o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
      ...networks
        .filter((other) => other.bridge !== bridge)
        .map((other) => `iptables -A FORWARD -i ${bridge} -o ${other.bridge} -j DROP`),
      `iptables -A FORWARD -i ${bridge} ! -o ${bridge} -j ACCEPT`,
      `iptables -A FORWARD -i ${bridge} -o ${bridge} -j ACCEPT`,
      ...attachments.flatMap(({ address, published }) =>
        published.flatMap(({ hostPort, port, proto }) => [
          `iptables -t nat -A PREROUTING -p ${proto} --dport ${hostPort} -j DNAT --to-destination ${address.split('/')[0]}:${port}`,
          `iptables -A FORWARD -d ${address.split('/')[0]} -o ${bridge} -p ${proto} --dport ${port} -j ACCEPT`,
        ]),
      ),
    ]),
  ];
}
