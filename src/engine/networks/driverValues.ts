/*
 * Records (text) to what drivers take (values). A record that does not parse is a programming error: it was checked
 * before it was stored.
 */
import type { DriverEndpoint, DriverNetwork } from '../../drivers/interface.ts';
import { type Ip, parseIp } from '../../net/ip.ts';
import { type IpWithLength, parseIpWithLength, parsePrefix } from '../../net/prefix.ts';
import type { Endpoint, Network } from '../model.ts';
import { sysctlsOf } from './endpointOptions.ts';

function mustBe<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new TypeError(`a stored address is malformed: ${text}`);
  return value;
}

export function toDriverNetwork(network: Network): DriverNetwork {
  return {
    id: network.id,
    name: network.name,
    isInternal: network.isInternal,
    isPredefined: network.isPredefined,
    hasIpv4: network.hasIpv4,
    hasIpv6: network.hasIpv6,
    pools: network.pools.map((pool) => ({
      subnet: mustBe(parsePrefix(pool.subnet), pool.subnet),
      gateway: pool.gateway === undefined ? undefined : mustBe(parseIp(pool.gateway), pool.gateway),
    })),
    options: network.options,
  };
}

/** The lengths that Docker gives link-local addresses. */
const linkLocalLengths = { 4: 16, 6: 64 } as const;

function addressesOf(endpoint: Endpoint): readonly IpWithLength[] {
  const global = [endpoint.ipv4, endpoint.ipv6].flatMap((text) =>
    text === undefined ? [] : mustBe(parseIpWithLength(text), text),
  );
  const linkLocal = (endpoint.request.linkLocalIps ?? []).map((text) => {
    const ip = mustBe(parseIp(text), text);
    return { ip, length: linkLocalLengths[ip.family] };
  });
  return [...global, ...linkLocal];
}

/** The gateways of the families in `endpoint.defaultRoutes`. */
export function gatewaysOf(endpoint: Endpoint): readonly Ip[] {
  return endpoint.defaultRoutes.flatMap((family): readonly Ip[] => {
    const text = family === 4 ? endpoint.ipv4Gateway : endpoint.ipv6Gateway;
    return text === undefined ? [] : [mustBe(parseIp(text), text)];
  });
}

export function toDriverEndpoint(endpoint: Endpoint & Required<Pick<Endpoint, 'mac'>>): DriverEndpoint {
  return {
    id: endpoint.id,
    networkId: endpoint.networkId,
    containerId: endpoint.containerId,
    interfaceName: endpoint.interfaceName,
    hostInterfaceName: endpoint.hostInterfaceName,
    mac: endpoint.mac,
    addresses: addressesOf(endpoint),
    gateways: gatewaysOf(endpoint),
    sysctls: sysctlsOf(endpoint.request, endpoint.interfaceName),
  };
}
