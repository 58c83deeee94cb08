/*
 * The overlay driver's options: Docker's labels and ours, parsed strictly. Pure. A label that we do not know is refused,
 * and so is one that asks for what is not there: an option that does nothing would be worse than an error.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { DriverNetwork } from '../interface.ts';
import { invalidOption, type Labels, parseBool, parseInteger, refuseLabel } from '../labels.ts';

export interface OverlayOptions {
  /** One for each segment, in the order of the subnets; empty where nobody has chosen yet. */
  readonly vnis: readonly number[];
  /** MTU of the underlay, of which the tunnel's headers take their part; undefined = as measured. */
  readonly underlayMtuBytes: number | undefined;
  /** False: containers that are no tasks of a service are refused. */
  readonly isAttachable: boolean;
  /** What its containers send to other hosts goes through the encrypted tunnels. */
  readonly isEncrypted: boolean;
  /** Containers send as their own MAC only. */
  readonly checksSources: boolean;
  /** Set: each node has blocks of 2 to this power addresses of its own; at least 2. */
  readonly blockBits: number | undefined;
}

export const overlayLabels = {
  vnis: 'com.docker.network.driver.overlay.vxlanid_list',
  mtu: 'com.docker.network.driver.mtu',
  attachable: 'linkspan.attachable',
  antiSpoof: 'linkspan.anti-spoof',
  hostPrefix: 'linkspan.host-prefix',
  encrypted: 'encrypted',
  ipv4: 'com.docker.network.enable_ipv4',
  ipv6: 'com.docker.network.enable_ipv6',
} as const;

const known: ReadonlySet<string> = new Set(Object.values(overlayLabels));

/** Options that exist, by what we lack for them. */
const missing: ReadonlyMap<string, string> = new Map([
  ['dsr', 'direct server return (dsr) is not supported: leave the option out'],
]);

/** 24 bits, of which Docker takes each; 0 means none to the kernel. */
const largestVni = 0xffffff;
/** Of a block of four addresses: its router's, and three more. */
const longestBlock = 30;
/** Largest that a link takes. */
const largestMtuBytes = 65_535;

function parseVnis(labels: Labels): readonly number[] {
  const text = labels[overlayLabels.vnis];
  if (text === undefined) return [];
  const vnis = text.split(',').map((part) => {
    const vni = /^\d{1,8}$/.test(part) ? Number(part) : 0;
    if (vni < 1 || vni > largestVni) invalidOption(`invalid vxlan id value ${JSON.stringify(part)} passed`);
    return vni;
  });
  if (new Set(vnis).size < vnis.length) refuseLabel(overlayLabels.vnis, text, 'the same VNI twice');
  return vnis;
}

function parseMtu(labels: Labels): number | undefined {
  const value = labels[overlayLabels.mtu];
  if (value === undefined) return undefined;
  const mtu = parseInteger(value);
  if (mtu === undefined) return invalidOption(`failed to parse ${value}: invalid syntax`);
  if (mtu < 0 || mtu > largestMtuBytes) return invalidOption(`invalid MTU value: ${mtu}`);
  return mtu === 0 ? undefined : mtu;
}

/** Said as the length of a block of IPv4; blocks of IPv6 are as large. */
function parseBlockBits(labels: Labels): number | undefined {
  const text = labels[overlayLabels.hostPrefix];
  if (text === undefined) return undefined;
  const length = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  if (length < 1 || length > longestBlock)
    refuseLabel(overlayLabels.hostPrefix, text, `it must be a prefix length of 1 to ${longestBlock}`);
  return 32 - length;
}

/** Throws code driverOptionInvalid or networkConfigInvalid. */
export function parseOverlayOptions(
  network: Pick<DriverNetwork, 'hasIpv4' | 'hasIpv6' | 'options'>,
): OverlayOptions {
  const labels = network.options;
  for (const label of Object.keys(labels)) {
    const why = missing.get(label);
    if (why !== undefined) invalidOption(why);
    if (!known.has(label))
      invalidOption(`unknown option ${JSON.stringify(label)} for network driver "overlay"`);
  }
  parseBool(labels, overlayLabels.ipv4, true);
  parseBool(labels, overlayLabels.ipv6, false);
  if (!network.hasIpv4 && !network.hasIpv6)
    throw new LinkspanError('networkConfigInvalid', 'IPv4 or IPv6 must be enabled');
  return {
    vnis: parseVnis(labels),
    underlayMtuBytes: parseMtu(labels),
    isAttachable: parseBool(labels, overlayLabels.attachable, true),
    // Docker's `--opt encrypted` has no value.
    isEncrypted: labels[overlayLabels.encrypted] === '' || parseBool(labels, overlayLabels.encrypted, false),
    checksSources: parseBool(labels, overlayLabels.antiSpoof, true),
    blockBits: parseBlockBits(labels),
  };
}
