/*
 * The host driver: containers share the machine's own network. There is nothing to make, and one such network only.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Driver } from '../interface.ts';

const nothing = (): Promise<void> => Promise.resolve();
const nothingToRepair = (): Promise<readonly string[]> => Promise.resolve([]);

export function createHostDriver(): Driver {
  return {
    name: 'host',
    scope: 'local',
    plan: () => ({ needsPools: false, gatewayFamilies: [], interfacePrefix: '' }),
    checkConflict: (_network, others) => {
      if (others.length > 0)
        throw new LinkspanError('networkConflict', 'only one instance of "host" network is allowed');
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
