/*
 * The ipvlan driver: endpoints share their parent's link address and are told apart by their IP. In the modes l3 and
 * l3s the kernel routes between them and the parent, so that their default route is the device alone.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type ChildDependencies, type ChildKind, createChildDriver } from '../childDriver.ts';
import type { Driver } from '../interface.ts';

const labels = { mode: 'ipvlan_mode', flag: 'ipvlan_flag' } as const;
const modes = ['l2', 'l3', 'l3s'] as const;
const flags = ['bridge', 'private', 'vepa'] as const;

function choose<T extends string>(what: string, values: readonly [T, ...T[]], text: string | undefined): T {
  const [standard] = values;
  const found = values.find((value) => value === (text || standard));
  if (found !== undefined) return found;
  throw new LinkspanError(
    'driverOptionInvalid',
    `requested ipvlan ${what} '${text}' is not valid, '${standard}' ${what} is the ipvlan driver default`,
  );
}

export const ipvlanKind: ChildKind = {
  name: 'ipvlan',
  kernelFeature: 'CONFIG_IPVLAN',
  modeLabels: Object.values(labels),
  parse: (options) => {
    const mode = choose('mode', modes, options[labels.mode]);
    const flag = choose('flag', flags, options[labels.flag]);
    return {
      child: { kind: 'ipvlan', mode, flag },
      plan: { sharesMac: true, routesByDevice: mode !== 'l2' },
    };
  },
  // The mode belongs to the parent, not to the network.
  conflict: (_network, other, parent) =>
    `network dm-${other.id.slice(0, 12)} is already using parent interface ${parent}`,
};

export function createIpvlanDriver(deps: ChildDependencies): Driver {
  return createChildDriver(ipvlanKind, deps);
}
