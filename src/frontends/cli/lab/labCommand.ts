/*
 * What the `lab` commands share: the flag that says which lab, and finding the lab and its hosts.
 */
import { requireRoot } from '../../lab/lab.ts';
import { defaultFolder, type LabState, readLab, resolveFolder } from '../../lab/labFolder.ts';
import { getHost } from '../../lab/topology.ts';
import type { Invocation } from '../command.ts';
import { type Flags, type FlagSpec, flag } from '../flags.ts';

export const folderFlag: FlagSpec = flag(
  '--folder',
  'string',
  'Folder of the lab; one lab stands in each',
  defaultFolder,
);

export function folderOf(flags: Flags): string {
  return resolveFolder(flags.text('folder'));
}

export interface StandingLab {
  readonly folder: string;
  readonly state: LabState;
}

/** Throws if it is not up. Anybody may look. */
export function standingLab({ flags }: Invocation): StandingLab {
  const folder = folderOf(flags);
  return { folder, state: readLab(folder) };
}

/** The same for what needs root. */
export function ownLab(invocation: Invocation): StandingLab {
  requireRoot();
  return standingLab(invocation);
}

/** Host names of the lab, checked. */
export function hostArgument({ state }: StandingLab, name: string | undefined): string {
  return getHost(state.topology, name ?? '').name;
}
