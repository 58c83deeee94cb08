/*
 * What the three predefined networks look like under a configuration. The default bridge network carries the same
 * options that Docker shows on its own.
 */
import type { NetworkRequest, PoolRequest } from '../engine/model.ts';
import { plainNetwork } from '../engine/networks/plainRequests.ts';
import { formatIp } from '../net/ip.ts';
import { formatPrefix, type IpWithLength, parseIpWithLength, prefixOf } from '../net/prefix.ts';
import type { DaemonConfig } from './config.ts';

export const hostRequest: NetworkRequest = plainNetwork('host', 'host');
export const noneRequest: NetworkRequest = plainNetwork('none', 'null');

/** Its address and subnet where they are given, else a range alone, else nothing: a free default pool. */
function poolOf(own: IpWithLength | undefined, range: string | undefined): readonly PoolRequest[] {
  if (own !== undefined) {
    const subnet = formatPrefix(prefixOf(own.ip, own.length));
    return [{ subnet, gateway: formatIp(own.ip), ...(range === undefined ? {} : { ipRange: range }) }];
  }
  return range === undefined ? [] : [{ subnet: range }];
}

/** The subnets: --bip and --bip6, the address of a bridge that is there, --fixed-cidr and --fixed-cidr-v6. */
function defaultPools(config: DaemonConfig, existing: IpWithLength | undefined): readonly PoolRequest[] {
  const own = config.bip === undefined ? existing : parseIpWithLength(config.bip);
  return [
    ...poolOf(own, config.fixedCidr),
    ...(config.ipv6 ? poolOf(parseIpWithLength(config.bip6 ?? ''), config.fixedCidrV6) : []),
  ];
}

/** `existing` is the address of the bridge `bridgeName` where it is there already and not ours. */
export function bridgeRequest(
  config: DaemonConfig,
  bridgeName: string,
  existing: IpWithLength | undefined,
): NetworkRequest {
  return {
    ...plainNetwork('bridge', 'bridge'),
    ipv6: config.ipv6,
    pools: defaultPools(config, existing),
    options: {
      'com.docker.network.bridge.default_bridge': 'true',
      'com.docker.network.bridge.enable_icc': String(config.allowsIcc),
      'com.docker.network.bridge.enable_ip_masquerade': String(config.masquerades),
      'com.docker.network.bridge.host_binding_ipv4': '0.0.0.0',
      'com.docker.network.bridge.name': bridgeName,
      'com.docker.network.driver.mtu': String(config.mtuBytes ?? 1500),
      // Only where it is off, so that an inspect shows what Docker's does.
      ...(config.checksSources ? {} : { 'linkspan.anti-spoof': 'false' }),
    },
  };
}
