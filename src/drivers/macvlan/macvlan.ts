/*
 * The macvlan driver: every endpoint is a link with an address of its own on the parent's segment. The host itself does
 * not reach its macvlan children through the parent; that is the kernel's rule.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type ChildDependencies, type ChildKind, createChildDriver } from '../childDriver.ts';
import type { Driver, DriverNetwork } from '../interface.ts';

const modeLabel = 'macvlan_mode';
const modes = ['bridge', 'private', 'vepa', 'passthru'] as const;
type MacvlanMode = (typeof modes)[number];

function modeOf(options: DriverNetwork['options']): MacvlanMode {
  const text = options[modeLabel] || 'bridge';
  const mode = modes.find((one) => one === text);
  if (mode === undefined)
    throw new LinkspanError(
      'driverOptionInvalid',
      `requested macvlan mode '${text}' is not valid, 'bridge' mode is the macvlan driver default`,
    );
  return mode;
}

export const macvlanKind: ChildKind = {
  name: 'macvlan',
  kernelFeature: 'CONFIG_MACVLAN',
  modeLabels: [modeLabel],
  parse: (options) => ({ child: { kind: 'macvlan', mode: modeOf(options) }, plan: {} }),
  // Several networks may be on one parent, unless one of them takes all of it.
  conflict: (network, other, parent) => {
    if (modeOf(network.options) === 'passthru')
      return `cannot use mode passthru, macvlan network ${other.id} is already using parent interface ${parent}`;
    if (modeOf(other.options) === 'passthru')
      return `macvlan network ${other.id} is already using parent interface ${parent} in mode passthru`;
    return undefined;
  },
};

export function createMacvlanDriver(deps: ChildDependencies): Driver {
  return createChildDriver(macvlanKind, deps);
}
