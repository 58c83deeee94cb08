/*
 * Records (text) to what drivers take (values). A record that does not parse is a programming error: it was checked
 * before it was stored.
 */
import type { DriverEndpoint, DriverNetwork } from '../../drivers/interface.ts';
import { type Ip, parseIp } from '../../net/ip.ts';
import { type IpWithLength, parseIpWithLength, parsePrefix } from '../../net/prefix.ts';
import type { Endpoint, Network } from '../model.ts';

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

export function toDriverEndpoint(endpoint: Endpoint & Required<Pick<Endpoint, 'mac'>>): DriverEndpoint {
  const gateways = endpoint.defaultRoutes.flatMap((family): readonly Ip[] => {
    const text = family === 4 ? endpoint.ipv4Gateway : endpoint.ipv6Gateway;
    return text === undefined ? [] : [mustBe(parseIp(text), text)];
  });
  const addresses: IpWithLength[] = [endpoint.ipv4, endpoint.ipv6].flatMap((text) =>
    text === undefined ? [] : mustBe(parseIpWithLength(text), text),
  );
  return {
    id: endpoint.id,
    networkId: endpoint.networkId,
    interfaceName: endpoint.interfaceName,
    hostInterfaceName: endpoint.hostInterfaceName,
    mac: endpoint.mac,
    addresses,
    gateways,
  };
}
