/*
 * The driver of the network `none` (Docker's driver name is `null`): a sandbox with nothing but loopback. One network
 * only.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Driver } from '../interface.ts';

const nothing = (): Promise<void> => Promise.resolve();
const nothingToRepair = (): Promise<readonly string[]> => Promise.resolve([]);

export function createNoneDriver(): Driver {
  return {
    name: 'null',
    scope: 'local',
    plan: () => ({ needsPools: false, gatewayFamilies: [], interfacePrefix: '' }),
    checkConflict: (_network, others) => {
      if (others.length > 0)
        throw new LinkspanError('networkConflict', 'only one instance of "null" network is allowed');
    },
    ensureNetwork: nothing,
    removeNetwork: nothing,
    attach: nothing,
    detach: nothing,
    linkOf: () => undefined,
    repairNetwork: nothingToRepair,
    repairEndpoint: nothingToRepair,
    sweep: nothing,
  };
}
