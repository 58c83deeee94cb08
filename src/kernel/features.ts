/*
 * What this kernel can do, tried out in a namespace that dies afterwards: the machine's own network is not touched
 * (the kernel may load a module). Synchronous, for a worker.
 */
import { encodeProbeLink } from '../codec/netlink/route.ts';
import { hasErrno } from './errno.ts';
import { KernelError, type KernelFeature } from './kernel.ts';
import { linux } from './libc.ts';
import { getIfindex } from './links.ts';
import { inNewNamespace, type NamespaceContext } from './namespaces.ts';
import { NetlinkSocket } from './netlinkSocket.ts';
import { getSysctl } from './sysctl.ts';

const alone = ['bridge', 'veth', 'vxlan', 'dummy', 'wireguard'] as const;
/** Kinds that sit on another link. */
const onTop = ['macvlan', 'ipvlan', 'vlan'] as const;

/** What the table needs, as nft commands, and a name for it. */
const tables: readonly (readonly [name: string, commands: string])[] = [
  [
    'nf_tables inet nat',
    'add table inet probe; add chain inet probe c { type nat hook postrouting priority srcnat; }',
  ],
  [
    'nf_tables bridge',
    'add table bridge probe; add chain bridge probe c { type filter hook prerouting priority -300; }',
  ],
];

/** Features that show as a sysctl of every namespace. */
const sysctls: readonly (readonly [name: string, key: string])[] = [
  ['conntrack', 'net/netfilter/nf_conntrack_max'],
  ['br_netfilter', 'net/bridge/bridge-nf-call-iptables'],
  ['ipv6', 'net/ipv6/conf/all/forwarding'],
];

/** Present if `attempt` gets through; otherwise why not. */
function probe(name: string, attempt: () => void): KernelFeature {
  try {
    attempt();
    return { name, isPresent: true, detail: '' };
  } catch (error) {
    if (hasErrno(error, 'EOPNOTSUPP', 'ENOENT')) return { name, isPresent: false, detail: '' };
    if (!(error instanceof KernelError)) throw error;
    return { name, isPresent: false, detail: error.message };
  }
}

/** In a fixed order. `runNft` works in the namespace that the thread is in. */
export function probeFeatures(
  context: NamespaceContext,
  runNft: (commands: string, isJson: boolean) => string,
): readonly KernelFeature[] {
  const { seam } = context;
  return inNewNamespace(context, () => {
    using socket = new NetlinkSocket(context.sockets, linux.NETLINK_ROUTE);
    const make = (kind: string, parent?: number): void =>
      socket.run({ operation: `RTM_NEWLINK ${kind}`, message: encodeProbeLink(kind, `p-${kind}`, parent) });
    const links = alone.map((kind) => probe(kind, () => make(kind)));
    const upper = onTop.map((kind) =>
      probe(kind === 'vlan' ? '802.1q' : kind, () => make(kind, getIfindex(socket, 'p-veth'))),
    );
    const nft = tables.map(([name, commands]) =>
      probe(name, () => {
        seam.step('kernel nft');
        runNft(commands, false);
      }),
    );
    const rest = sysctls.map(([name, key]) => probe(name, () => void getSysctl(seam, key)));
    return [...links, ...upper, ...nft, ...rest];
  });
}
