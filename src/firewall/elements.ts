/*
 * Networks to set elements: the part of the table that varies. Pure. One network costs a handful of elements in hash
 * sets, and one in an interval set per subnet; the packet path costs the same for one network and for a thousand.
 */
import type { SetElement } from '../kernel/kernel.ts';
import { formatIp, type Ip, type IpFamily, widthOf } from '../net/ip.ts';
import { formatPrefix, lastOf, type Prefix } from '../net/prefix.ts';
import type { FirewallNetwork, FirewallSubnet } from './network.ts';

type Field = SetElement['key'][number];

const nameField = (name: string): Field => ({ type: 'ifname', name });
const ipField = (ip: Ip): Field => ({ type: 'ip', ip });

function byName(set: string, ...names: readonly string[]): SetElement {
  return { set, key: names.map(nameField) };
}

/** First address after the subnet: interval ends are exclusive. Undefined for a subnet that ends with the family. */
function endOf(prefix: Prefix): Ip | undefined {
  const bits = lastOf(prefix).bits + 1n;
  return bits >> BigInt(widthOf(prefix.base.family)) === 0n
    ? { family: prefix.base.family, bits }
    : undefined;
}

function bySubnet(set: string, prefix: Prefix, data?: Ip): SetElement {
  const end = endOf(prefix);
  return {
    set,
    key: [ipField(prefix.base)],
    ...(end === undefined ? {} : { keyEnd: [ipField(end)] }),
    ...(data === undefined ? {} : { data: [ipField(data)] }),
  };
}

function sourceElements(subnet: FirewallSubnet): readonly SetElement[] {
  const { prefix, sourceNat, gatewayMode } = subnet;
  if (sourceNat === 'none' || gatewayMode === 'routed' || gatewayMode === 'isolated') return [];
  const family: IpFamily = prefix.base.family;
  return sourceNat === 'masquerade'
    ? [bySubnet(`masq${family}`, prefix)]
    : [bySubnet(`snat${family}`, prefix, sourceNat.to)];
}

function gatewayElements(bridge: string, subnet: FirewallSubnet): readonly SetElement[] {
  const family = subnet.prefix.base.family;
  if (subnet.gatewayMode === 'nat-unprotected') return [byName(`open${family}`, bridge)];
  return subnet.gatewayMode === 'routed' ? [byName(`routed${family}`, bridge)] : [];
}

/** All elements of one network. */
export function planNetwork(network: FirewallNetwork): readonly SetElement[] {
  const { bridge } = network;
  const outward = network.isInternal
    ? [byName('internal', bridge)]
    : network.subnets.flatMap((subnet) => [...gatewayElements(bridge, subnet), ...sourceElements(subnet)]);
  return [
    byName('bridges', bridge),
    ...(network.isOpenInside ? [byName('same', bridge, bridge)] : []),
    ...outward,
  ];
}

/** Names that Docker and libvirt give to bridges behind which their own guests are, never an uplink. */
const enginesBridge = /^(docker0|docker_gwbridge|br-[0-9a-f]{12}|virbr\d+)$/;

/**
 * Elements of a bridge that is not ours: `theirs` keeps our mark off packets to another engine's guests, and where the
 * guard stands (`isGuarded`) `foreign` lets frames pass inside the bridge.
 */
export function planForeignBridge(bridge: string, isGuarded: boolean): readonly SetElement[] {
  return [
    ...(enginesBridge.test(bridge) ? [byName('theirs', bridge)] : []),
    ...(isGuarded ? [byName('foreign', bridge, bridge)] : []),
  ];
}

function formatField(field: Field): string {
  switch (field.type) {
    case 'ip':
      return formatIp(field.ip);
    case 'ifname':
      return `"${field.name}"`;
    case 'mac':
      return field.mac;
    case 'proto':
      return String(field.proto);
    case 'port':
      return String(field.port);
  }
}

/** Length of the subnet that starts at `base` and ends before `end`; `end` undefined = the end of the family. */
function lengthOf(base: Ip, end: Ip | undefined): number {
  const width = widthOf(base.family);
  const size = (end?.bits ?? 1n << BigInt(width)) - base.bits;
  return width - (size.toString(2).length - 1);
}

/** Names of sets whose key is a subnet. */
const intervalSets: ReadonlySet<string> = new Set(['masq4', 'masq6', 'snat4', 'snat6']);

/** The key in nft syntax: `"br0" . "br0"`, `172.18.0.0/16`. Equal keys have equal text. */
export function formatKey(element: SetElement): string {
  const [first] = element.key;
  if (intervalSets.has(element.set) && first?.type === 'ip') {
    const end = element.keyEnd?.[0];
    const length = lengthOf(first.ip, end?.type === 'ip' ? end.ip : undefined);
    return formatPrefix({ base: first.ip, length });
  }
  return element.key.map(formatField).join(' . ');
}

/** The data in nft syntax, empty for sets. */
export function formatData(element: SetElement): string {
  return (element.data ?? []).map(formatField).join(' . ');
}
