/*
 * The bridge driver's options: Docker's labels, parsed strictly with Docker Engine 28's texts. Pure.
 * A label that we do not know is refused: an option that does nothing would be worse than an error.
 */

import { LinkspanError } from '../../errors/linkspanError.ts';
import { formatIp, type Ip, type IpFamily, parseIp } from '../../net/ip.ts';
import { type Prefix, parseSource } from '../../net/prefix.ts';
import type { Announcements } from '../announcer.ts';
import type { DriverNetwork } from '../interface.ts';
import {
  invalidOption as invalid,
  type Labels,
  parseBool,
  parseInteger,
  refuseLabel as refuse,
} from '../labels.ts';

export const gatewayModes = ['nat', 'nat-unprotected', 'routed', 'isolated'] as const;
export type BridgeGatewayMode = (typeof gatewayModes)[number];

export interface BridgeOptions {
  /** The bridge device. */
  readonly bridge: string;
  /** True: it is named after the network's id, for want of a name of the user's. */
  readonly isNamedById: boolean;
  readonly masquerades: boolean;
  /** False: port isolation between containers (`icc`). */
  readonly isOpenInside: boolean;
  readonly gatewayModes: Readonly<Record<IpFamily, BridgeGatewayMode>>;
  /** True: the bridge gets no IPv4 address; the gateway is somebody else on the segment. */
  readonly inhibitsIpv4: boolean;
  readonly mtuBytes: number;
  readonly interfacePrefix: string;
  /** Source of outgoing packets in place of the outgoing link's address. */
  readonly hostAddresses: Readonly<Partial<Record<IpFamily, Ip>>>;
  /** Where published ports are bound if the user names no address. */
  readonly bindingAddress: Ip | undefined;
  /** Who may connect to published ports; empty = everybody. */
  readonly publishSources: readonly Prefix[];
  /** Links from which published ports answer on the container's own address too. */
  readonly trustedLinks: readonly string[];
  /** Gratuitous ARPs after an attach. */
  readonly announcements: Announcements;
  readonly isDefaultBridge: boolean;
  /** True: a container may send as itself only. */
  readonly checksSources: boolean;
}

const prefix = 'com.docker.network';
type OptionName =
  | 'name'
  | 'masquerade'
  | 'icc'
  | 'binding'
  | 'gatewayMode4'
  | 'gatewayMode6'
  | 'inhibit4'
  | 'trusted'
  | 'isDefault'
  | 'mtu'
  | 'interfacePrefix'
  | 'host4'
  | 'host6'
  | 'ipv4'
  | 'ipv6'
  | 'announcements'
  | 'announceInterval'
  | 'publishFrom'
  | 'antiSpoof';

/** Docker's option labels, and ours. */
export const bridgeLabels: Readonly<Record<OptionName, string>> = {
  name: `${prefix}.bridge.name`,
  masquerade: `${prefix}.bridge.enable_ip_masquerade`,
  icc: `${prefix}.bridge.enable_icc`,
  binding: `${prefix}.bridge.host_binding_ipv4`,
  gatewayMode4: `${prefix}.bridge.gateway_mode_ipv4`,
  gatewayMode6: `${prefix}.bridge.gateway_mode_ipv6`,
  inhibit4: `${prefix}.bridge.inhibit_ipv4`,
  trusted: `${prefix}.bridge.trusted_host_interfaces`,
  isDefault: `${prefix}.bridge.default_bridge`,
  mtu: `${prefix}.driver.mtu`,
  interfacePrefix: `${prefix}.container_iface_prefix`,
  host4: `${prefix}.host_ipv4`,
  host6: `${prefix}.host_ipv6`,
  ipv4: `${prefix}.enable_ipv4`,
  ipv6: `${prefix}.enable_ipv6`,
  announcements: `${prefix}.advertise_addr_nmsgs`,
  announceInterval: `${prefix}.advertise_addr_ms`,
  publishFrom: 'linkspan.publish.from',
  antiSpoof: 'linkspan.anti-spoof',
};

const known: ReadonlySet<string> = new Set(Object.values(bridgeLabels));
const defaultMtuBytes = 1500;
/** Smallest IPv4 link (RFC 791) and largest that a bridge takes. */
const mtuRange = { min: 68, max: 65_535 } as const;

function parseMtu(labels: Labels): number {
  const value = labels[bridgeLabels.mtu];
  if (value === undefined) return defaultMtuBytes;
  const mtu = parseInteger(value);
  if (mtu === undefined)
    return refuse(bridgeLabels.mtu, value, `strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`);
  if (mtu === 0) return defaultMtuBytes;
  return mtu < mtuRange.min || mtu > mtuRange.max ? invalid(`invalid MTU number: ${mtu}`) : mtu;
}

function parseGatewayMode(labels: Labels, label: string): BridgeGatewayMode {
  const value = labels[label];
  if (value === undefined) return 'nat';
  return gatewayModes.find((mode) => mode === value) ?? refuse(label, value, `unknown gateway mode ${value}`);
}

function parseAddress(labels: Labels, label: string): Ip | undefined {
  const value = labels[label];
  return value === undefined ? undefined : (parseIp(value) ?? refuse(label, value, 'nil ip'));
}

/** An address of one family: a SNAT target of the other would be lost. */
function parseHostAddress(labels: Labels, label: string, family: IpFamily): Ip | undefined {
  const ip = parseAddress(labels, label);
  if (ip === undefined || ip.family === family) return ip;
  return refuse(label, formatIp(ip), `not an IPv${family} address`);
}

/** A name that the kernel takes for a link (dev_valid_name): 1 to 15 bytes, no slash, colon or white space. */
function isLinkName(name: string): boolean {
  return /^[^/:\s]+$/.test(name) && Buffer.byteLength(name) <= 15 && name !== '.' && name !== '..';
}

function parseBridgeName(labels: Labels, networkId: string): string {
  const name = labels[bridgeLabels.name] ?? '';
  if (name === '') return `br-${networkId.slice(0, 12)}`;
  return isLinkName(name) ? name : refuse(bridgeLabels.name, name, 'not a valid interface name');
}

function parseInterfacePrefix(labels: Labels): string {
  const name = labels[bridgeLabels.interfacePrefix] ?? '';
  if (name === '') return 'eth';
  // Two digits of an index must fit.
  const isValid = isLinkName(`${name}00`) && name !== 'lo';
  return isValid ? name : refuse(bridgeLabels.interfacePrefix, name, 'not a valid interface name');
}

/** How many gratuitous ARPs an attach sends, and how far apart. Docker's ranges, defaults (3, 1 s) and texts. */
function parseAnnouncements(labels: Labels): BridgeOptions['announcements'] {
  const countText = labels[bridgeLabels.announcements];
  const intervalText = labels[bridgeLabels.announceInterval];
  const count = parseInteger(countText ?? '3');
  if (count === undefined)
    return invalid(
      `value for option ${bridgeLabels.announcements} ${JSON.stringify(countText)} must be an integer`,
    );
  if (count < 0 || count > 3) return invalid(`${bridgeLabels.announcements} must be in the range 0 to 3`);
  const intervalMs = parseInteger(intervalText ?? '1000');
  if (intervalMs === undefined)
    return invalid(
      `value for option ${bridgeLabels.announceInterval} ${JSON.stringify(intervalText)} must be integer milliseconds`,
    );
  if (intervalMs < 100 || intervalMs > 2000)
    return invalid(`${bridgeLabels.announceInterval} must be in the range 100 to 2000`);
  return { count, intervalMs };
}

/** Names of links with colons between them. */
function parseTrusted(labels: Labels): readonly string[] {
  const text = labels[bridgeLabels.trusted] ?? '';
  const names = text.split(':').filter((name) => name !== '');
  const wrong = names.find((name) => !isLinkName(name));
  if (wrong !== undefined) refuse(bridgeLabels.trusted, text, `${wrong} is not a valid interface name`);
  return [...new Set(names)];
}

/** Subnets or addresses with commas between them. */
function parseSources(labels: Labels): readonly Prefix[] {
  const text = labels[bridgeLabels.publishFrom] ?? '';
  return text
    .split(',')
    .filter((part) => part !== '')
    .map((part) => parseSource(part) ?? refuse(bridgeLabels.publishFrom, text, `${part} is not a subnet`));
}

/** Throws code driverOptionInvalid or networkConfigInvalid, with Docker's texts where it has one. */
export function parseBridgeOptions(
  network: Pick<DriverNetwork, 'id' | 'isInternal' | 'options'>,
): BridgeOptions {
  const labels = network.options;
  for (const label of Object.keys(labels))
    if (!known.has(label)) invalid(`unknown option ${JSON.stringify(label)} for network driver "bridge"`);
  parseBool(labels, bridgeLabels.ipv4, true);
  parseBool(labels, bridgeLabels.ipv6, false);
  const modes = {
    4: parseGatewayMode(labels, bridgeLabels.gatewayMode4),
    6: parseGatewayMode(labels, bridgeLabels.gatewayMode6),
  };
  if (!network.isInternal && (modes[4] === 'isolated' || modes[6] === 'isolated'))
    throw new LinkspanError(
      'networkConfigInvalid',
      "gateway mode 'isolated' can only be used for an internal network",
    );
  const host4 = parseHostAddress(labels, bridgeLabels.host4, 4);
  const host6 = parseHostAddress(labels, bridgeLabels.host6, 6);
  return {
    bridge: parseBridgeName(labels, network.id),
    isNamedById: (labels[bridgeLabels.name] ?? '') === '',
    masquerades: parseBool(labels, bridgeLabels.masquerade, true),
    isOpenInside: parseBool(labels, bridgeLabels.icc, true),
    gatewayModes: modes,
    inhibitsIpv4: parseBool(labels, bridgeLabels.inhibit4, false),
    mtuBytes: parseMtu(labels),
    interfacePrefix: parseInterfacePrefix(labels),
    hostAddresses: {
      ...(host4 === undefined ? {} : { 4: host4 }),
      ...(host6 === undefined ? {} : { 6: host6 }),
    },
    bindingAddress: parseAddress(labels, bridgeLabels.binding),
    publishSources: parseSources(labels),
    trustedLinks: parseTrusted(labels),
    announcements: parseAnnouncements(labels),
    isDefaultBridge: parseBool(labels, bridgeLabels.isDefault, false),
    checksSources: parseBool(labels, bridgeLabels.antiSpoof, true),
  };
}
