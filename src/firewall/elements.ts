/*
 * Networks to set elements: the part of the table that varies with them. Pure. One network costs a handful of elements in hash
 * sets, and one in an interval set per subnet; the packet path costs the same for one network and for a thousand.
 */
import type { SetElement } from '../kernel/kernel.ts';
import { type Ip, type IpFamily, widthOf } from '../net/ip.ts';
import { lastOf, type Prefix } from '../net/prefix.ts';
import { bySpans, exactly, formatElementKey, formatField, ipField, nameField, prefixSpan } from './fields.ts';
import type { FirewallNetwork, FirewallSubnet } from './network.ts';

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
    ...network.subnets.map(({ prefix }) =>
      bySpans(`home${prefix.base.family}`, [prefixSpan(prefix), exactly(nameField(bridge))]),
    ),
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

/** Names of sets whose key is a subnet. */
const intervalSets: ReadonlySet<string> = new Set(['masq4', 'masq6', 'snat4', 'snat6']);

/** Names of sets whose addresses are numbers to nft: it has no type for what it compares them with. */
const numberSets: ReadonlySet<string> = new Set(['targets6']);

/** As libnftables prints an integer: what fits into 64 bits in decimal. */
const formatNumber = (bits: bigint): string => (bits >> 64n === 0n ? String(bits) : `0x${bits.toString(16)}`);

/** The key in nft syntax. Equal keys have equal text. */
export function formatKey(element: SetElement): string {
  if (numberSets.has(element.set))
    return element.key
      .map((field) => (field.type === 'ip' ? formatNumber(field.ip.bits) : formatField(field)))
      .join(' . ');
  return formatElementKey(element, intervalSets.has(element.set));
}

/** The data in nft syntax, empty for sets. */
export function formatData(element: SetElement): string {
  return (element.data ?? []).map(formatField).join(' . ');
}
