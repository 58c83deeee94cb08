/*
 * What Docker refuses in the request for an attachment, with Engine 28's texts. Reads the tables, changes nothing.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type Ip, type IpFamily, parseIp } from '../../net/ip.ts';
import { parseMac } from '../../net/mac.ts';
import { containsIp, linkLocal6, type Prefix } from '../../net/prefix.ts';
import type { AttachmentRequest, Container, Network } from '../model.ts';
import { endpointOptionProblems } from './endpointOptions.ts';
import type { NetworkTable } from './networkTable.ts';

const linkLocal: Readonly<Record<IpFamily, Prefix>> = {
  4: { base: { family: 4, bits: 0xa9fe0000n }, length: 16 },
  6: linkLocal6,
};

function isLinkLocal(ip: Ip | undefined): boolean {
  return ip !== undefined && containsIp(linkLocal[ip.family], ip);
}

function addressProblems(
  text: string | undefined,
  family: IpFamily,
  network: Network,
  table: NetworkTable,
): readonly string[] {
  if (text === undefined) return [];
  const ip = parseIp(text);
  if (ip?.family !== family || ip.bits === 0n) return [`invalid IPv${family} address: ${text}`];
  return table.hasSubnetFor(network.id, ip) ? [] : [`no configured subnet contains IP address ${text}`];
}

/** `network` is what the request names. Throws code containerConfigInvalid, addressInvalid, networkClosed or networkConflict. */
export function checkAttachment(request: AttachmentRequest, network: Network, table: NetworkTable): void {
  const { ipv4, ipv6, linkLocalIps = [], mac, aliases } = request;
  const refuse = (
    code: 'containerConfigInvalid' | 'addressInvalid' | 'networkConflict' | 'networkClosed',
    text: string,
  ): never => {
    throw new LinkspanError(code, text);
  };
  if (network.configuration !== undefined)
    refuse('networkConflict', 'cannot create endpoint on configuration-only network');
  if (network.refusesContainers === true)
    refuse(
      'networkClosed',
      `Could not attach to network ${network.name}: rpc error: code = PermissionDenied desc = network ${network.name} not manually attachable`,
    );
  if (network.isPredefined && (ipv4 ?? ipv6) !== undefined)
    refuse('containerConfigInvalid', 'user-specified IP address is supported on user-defined networks only');
  if (network.isPredefined && aliases.length > 0)
    refuse('containerConfigInvalid', 'network-scoped aliases are only supported for user-defined networks');
  const problems = [
    ...addressProblems(ipv4, 4, network, table),
    ...addressProblems(ipv6, 6, network, table),
    ...linkLocalIps
      .filter((text) => !isLinkLocal(parseIp(text)))
      .map((text) => `invalid link-local IP address: ${text}`),
    ...(mac !== undefined && parseMac(mac) === undefined ? [`invalid MAC address: ${mac}`] : []),
    ...endpointOptionProblems(request),
  ];
  if (problems.length > 0) refuse('addressInvalid', `invalid endpoint settings:\n${problems.join('\n')}`);
}

/** Throws code endpointExists: the container is attached to the network. */
export function refuseSecond({ name }: Pick<Container, 'name'>, network: Network): never {
  throw new LinkspanError(
    'endpointExists',
    `endpoint with name ${name} already exists in network ${network.name}`,
  );
}
