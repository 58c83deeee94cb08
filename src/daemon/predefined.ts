/*
 * What the three predefined networks look like under a configuration. The default bridge network carries the same
 * options that Docker shows on its own.
 */
import type { NetworkRequest, PoolRequest } from '../engine/model.ts';
import { formatIp } from '../net/ip.ts';
import { formatPrefix, type IpWithLength, parseIpWithLength, prefixOf } from '../net/prefix.ts';
import type { DaemonConfig } from './config.ts';

const plain: Omit<NetworkRequest, 'name' | 'driver'> = {
  isInternal: false,
  isAttachable: false,
  isIngress: false,
  isConfigOnly: false,
  ipamDriver: 'default',
  ipamOptions: {},
  pools: [],
  options: {},
  labels: {},
};

export const hostRequest: NetworkRequest = { ...plain, name: 'host', driver: 'host' };
export const noneRequest: NetworkRequest = { ...plain, name: 'none', driver: 'null' };

/** The subnet: --bip, the address of a bridge that is there, --fixed-cidr alone, or a free default pool. */
function defaultPool(config: DaemonConfig, existing: IpWithLength | undefined): PoolRequest {
  const range = config.fixedCidr === undefined ? {} : { ipRange: config.fixedCidr };
  const own = config.bip === undefined ? existing : parseIpWithLength(config.bip);
  if (own !== undefined)
    return { subnet: formatPrefix(prefixOf(own.ip, own.length)), gateway: formatIp(own.ip), ...range };
  return config.fixedCidr === undefined ? {} : { subnet: config.fixedCidr };
}

/** `existing` is the address of the bridge `bridgeName` where it is there already and not ours. */
export function bridgeRequest(
  config: DaemonConfig,
  bridgeName: string,
  existing: IpWithLength | undefined,
): NetworkRequest {
  const pool = defaultPool(config, existing);
  return {
    ...plain,
    name: 'bridge',
    driver: 'bridge',
    pools: Object.keys(pool).length === 0 ? [] : [pool],
    options: {
      'com.docker.network.bridge.default_bridge': 'true',
      'com.docker.network.bridge.enable_icc': String(config.allowsIcc),
      'com.docker.network.bridge.enable_ip_masquerade': String(config.masquerades),
      'com.docker.network.bridge.host_binding_ipv4': '0.0.0.0',
      'com.docker.network.bridge.name': bridgeName,
      'com.docker.network.driver.mtu': String(config.mtuBytes ?? 1500),
    },
  };
}
