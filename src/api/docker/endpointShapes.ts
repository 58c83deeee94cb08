/*
 * Attachments at the edge: Docker's EndpointSettings (Engine API 1.50) and the engine's requests and endpoints.
 */

import { parseLink } from '../../engine/containers/links.ts';
import type { AttachmentRequest, Container, Endpoint, Network } from '../../engine/model.ts';
import { dnsNamesOf } from '../../engine/networks/dnsNames.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type IpFamily, parseIp } from '../../net/ip.ts';
import { parseMac } from '../../net/mac.ts';
import { parseIpWithLength } from '../../net/prefix.ts';
import { type Decoder, int, list, map, struct, text } from './goJson.ts';

/** What a client may say of an attachment; the rest of the shape is output. */
export interface EndpointSettings {
  readonly IPAMConfig: {
    readonly IPv4Address: string;
    readonly IPv6Address: string;
    readonly LinkLocalIPs: readonly string[] | undefined;
  };
  readonly Links: readonly string[] | undefined;
  readonly Aliases: readonly string[] | undefined;
  readonly MacAddress: string;
  readonly DriverOpts: Readonly<Record<string, string>>;
  readonly GwPriority: number;
}

export const endpointSettings: Decoder<EndpointSettings> = struct<EndpointSettings>('EndpointSettings', {
  IPAMConfig: struct('EndpointIPAMConfig', {
    IPv4Address: text,
    IPv6Address: text,
    LinkLocalIPs: list(text),
  }),
  Links: list(text),
  Aliases: list(text),
  MacAddress: text,
  DriverOpts: map(text),
  GwPriority: int,
});

function addressProblem(address: string, family: IpFamily): readonly string[] {
  if (address === '' || parseIp(address)?.family === family) return [];
  return [`invalid IPv${family} address: ${address}`];
}

/** Syntax only; whether an address fits the network is the engine's to say. */
function checkSettings(settings: EndpointSettings): void {
  const { IPAMConfig: ipam, MacAddress: mac, Links: links } = settings;
  const problems = [
    ...addressProblem(ipam.IPv4Address, 4),
    ...addressProblem(ipam.IPv6Address, 6),
    ...(ipam.LinkLocalIPs ?? [])
      .filter((address) => parseIp(address) === undefined)
      .map((address) => `invalid link-local IP address: ${address}`),
  ];
  if (problems.length > 0)
    throw new LinkspanError('addressInvalid', `invalid endpoint settings:\n${problems.join('\n')}`);
  if (mac !== '' && parseMac(mac) === undefined)
    throw new LinkspanError('addressInvalid', `invalid MAC address ${mac}`);
  for (const link of links ?? []) parseLink(link);
}

/** Throws codes addressInvalid and containerConfigInvalid. */
export function toAttachment(network: string, settings: EndpointSettings): AttachmentRequest {
  checkSettings(settings);
  const { IPAMConfig: ipam } = settings;
  return {
    network,
    ...(ipam.IPv4Address !== '' && { ipv4: ipam.IPv4Address }),
    ...(ipam.IPv6Address !== '' && { ipv6: ipam.IPv6Address }),
    ...((ipam.LinkLocalIPs ?? []).length > 0 && { linkLocalIps: ipam.LinkLocalIPs ?? [] }),
    ...(settings.MacAddress !== '' && { mac: settings.MacAddress }),
    aliases: settings.Aliases ?? [],
    links: settings.Links ?? [],
    driverOptions: settings.DriverOpts,
    gatewayPriority: settings.GwPriority,
  };
}

function ipamShape(request: AttachmentRequest): Record<string, unknown> | null {
  const { ipv4, ipv6, linkLocalIps } = request;
  if (ipv4 === undefined && ipv6 === undefined && linkLocalIps === undefined) return null;
  return {
    ...(ipv4 !== undefined && { IPv4Address: ipv4 }),
    ...(ipv6 !== undefined && { IPv6Address: ipv6 }),
    ...(linkLocalIps !== undefined && { LinkLocalIPs: linkLocalIps }),
  };
}

/** A default route through the device alone has no gateway to show. */
function gatewayText(gateway: string | undefined): string {
  return gateway === undefined || gateway === '0.0.0.0' || gateway === '::' ? '' : gateway;
}

/** The addresses of an endpoint, split from their lengths; empty where there is none. */
export function addressFields(endpoint: Endpoint | undefined): {
  readonly EndpointID: string;
  readonly Gateway: string;
  readonly IPAddress: string;
  readonly IPPrefixLen: number;
  readonly IPv6Gateway: string;
  readonly GlobalIPv6Address: string;
  readonly GlobalIPv6PrefixLen: number;
} {
  const [ipv4 = ''] = (endpoint?.ipv4 ?? '').split('/');
  const [ipv6 = ''] = (endpoint?.ipv6 ?? '').split('/');
  return {
    EndpointID: endpoint?.id ?? '',
    Gateway: gatewayText(endpoint?.ipv4Gateway),
    IPAddress: ipv4,
    IPPrefixLen: parseIpWithLength(endpoint?.ipv4 ?? '')?.length ?? 0,
    IPv6Gateway: gatewayText(endpoint?.ipv6Gateway),
    GlobalIPv6Address: ipv6,
    GlobalIPv6PrefixLen: parseIpWithLength(endpoint?.ipv6 ?? '')?.length ?? 0,
  };
}

/** Networks without an interface (host, none) have no address of the link either, nor has ipvlan one of its own. */
export function macOf(endpoint: Endpoint): string {
  return endpoint.interfaceName === '' || endpoint.sharesMac === true ? '' : (endpoint.mac ?? '');
}

/** One container on one network, as it is now. `endpoint` is undefined while the container does not run. */
export interface Attachment {
  readonly request: AttachmentRequest;
  /** Undefined if the network is gone or was never found. */
  readonly network: Network | undefined;
  readonly endpoint: Endpoint | undefined;
}

/** One value of NetworkSettings.Networks. */
export function attachmentShape(
  container: Container,
  { request, network, endpoint }: Attachment,
): Record<string, unknown> {
  const isUserDefined = network !== undefined && !network.isPredefined;
  const orNull = <T>(items: readonly T[]): readonly T[] | null => (items.length === 0 ? null : items);
  return {
    IPAMConfig: ipamShape(request),
    // On the default network they are HostConfig's.
    Links: isUserDefined ? orNull(request.links) : null,
    Aliases: orNull(request.aliases),
    MacAddress: endpoint === undefined ? (request.mac ?? '') : macOf(endpoint),
    DriverOpts: Object.keys(request.driverOptions).length === 0 ? null : request.driverOptions,
    GwPriority: request.gatewayPriority,
    NetworkID: network?.id ?? '',
    ...addressFields(endpoint),
    DNSNames: isUserDefined ? (endpoint?.dnsNames ?? dnsNamesOf(container, request.aliases)) : null,
  };
}
