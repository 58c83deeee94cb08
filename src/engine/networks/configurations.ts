/*
 * Configuration-only networks: a record of options, subnets and labels without anything in the kernel, and what another
 * network takes from one. Pure. Texts are Docker Engine 28's.
 */
import { newId } from '../../base/ids.ts';
import { type ErrorCode } from '../../errors/codes.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { checkPools } from '../../ipam/poolCheck.ts';
import type { Network, NetworkRequest } from '../model.ts';
import { familiesOf } from './networkPlan.ts';

function refuse(text: string, code: ErrorCode = 'networkConflict'): never {
  throw new LinkspanError(code, text);
}

/** The record of a configuration-only network. The name must be free and the request checked. */
export function planConfiguration(request: NetworkRequest, createdAt: string): Network {
  if (request.isIngress || request.isInternal || request.isAttachable || request.scope !== undefined)
    refuse(
      'configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.',
    );
  if (request.configFrom !== undefined)
    refuse('a configuration network cannot depend on another configuration network');
  const { problem } = checkPools(request.pools);
  if (problem !== undefined) refuse(problem, 'networkConfigInvalid');
  const { name, ipamDriver, ipamOptions, options, labels } = request;
  return {
    ...{ id: newId<'network'>(), name, createdAt, state: 'ready', scope: 'local' },
    // As Docker shows them.
    driver: 'null',
    ...familiesOf(request),
    ...{ isInternal: false, isAttachable: false, isPredefined: false },
    ...{ ipamDriver, ipamOptions, options, labels },
    pools: [],
    configuration: request.pools,
  };
}

/** The request with everything that `configuration` says. Throws code networkConflict if it says anything of that itself. */
export function fromConfiguration(request: NetworkRequest, configuration: Network): NetworkRequest {
  const { ipv4 = true, ipv6 = false, pools, labels, ipamOptions, options } = request;
  const hasAny = (record: Readonly<Record<string, string>>): boolean => Object.keys(record).length > 0;
  if (!ipv4 || ipv6 || pools.length > 0 || hasAny(labels) || hasAny(ipamOptions))
    refuse(
      'user-specified configurations are not supported if the network depends on a configuration network',
    );
  if (hasAny(options))
    refuse('network driver options are not supported if the network depends on a configuration network');
  return {
    ...request,
    configFrom: configuration.name,
    ipv4: configuration.hasIpv4,
    ipv6: configuration.hasIpv6,
    ipamDriver: configuration.ipamDriver,
    ipamOptions: configuration.ipamOptions,
    pools: configuration.configuration ?? [],
    options: configuration.options,
    labels: configuration.labels,
  };
}
