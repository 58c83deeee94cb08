/*
 * What Docker refuses at create, with its texts, and what is refused because it does not exist here yet. Pure but for
 * looking whether bind sources exist.
 */
import { access } from 'node:fs/promises';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { checkHealthcheck } from '../../runtime/oci/healthcheck.ts';
import { parseDetachKeys } from '../../runtime/stdio/detachKeys.ts';
import type { ContainerSpec, MountSpec } from '../model.ts';
import { parseExtraHost } from './etcFiles.ts';
import { parseSignal } from './signals.ts';

function refuse(message: string): never {
  throw new LinkspanError('containerConfigInvalid', message);
}

/** In `container:` mode the network is another's: whatever would change it conflicts. */
function checkSharedNetwork(spec: ContainerSpec): void {
  const conflict = (what: string): never => refuse(`conflicting options: ${what}`);
  if (spec.hostname !== undefined && spec.hostname !== '') conflict('hostname and the network mode');
  if (spec.attachments.some(({ links }) => links.length > 0)) {
    conflict("container type network can't be used with links. This would result in undefined behavior");
  }
  if (spec.dns.length > 0) conflict('dns and the network mode');
  if (spec.extraHosts.length > 0) conflict('custom host-to-IP mapping and the network mode');
  if (spec.attachments.some(({ mac }) => mac !== undefined)) conflict('mac-address and the network mode');
  if (spec.exposedPorts.length > 0) {
    conflict('port exposing and the container type network mode');
  }
}

const modes = {
  PID: /^(?:|host|container:.+)$/s,
  IPC: /^(?:|host|none|private|shareable|container:.*)$/s,
  UTS: /^(?:|host)$/,
  USER: /^(?:|host)$/,
} as const;

function checkMode(name: keyof typeof modes, mode: string): void {
  if (!modes[name].test(mode)) refuse(`invalid ${name} mode: ${mode}`);
}

async function checkMount(mount: MountSpec): Promise<void> {
  if (mount.type !== 'bind') return;
  if (!mount.source.startsWith('/')) {
    refuse(
      `invalid mount config for type "bind": invalid mount path: '${mount.source}' mount path must be absolute`,
    );
  }
  if (mount.createSource) return;
  await access(mount.source).catch(() =>
    refuse(`invalid mount config for type "bind": bind source path does not exist: ${mount.source}`),
  );
}

/** Throws containerConfigInvalid or requestInvalid. */
export async function checkContainerSpec(spec: ContainerSpec): Promise<void> {
  if (spec.runtime !== undefined && !['', 'runc', 'io.containerd.runc.v2'].includes(spec.runtime)) {
    refuse(`unknown or invalid runtime name: ${spec.runtime}`);
  }
  checkMode('PID', spec.pidMode);
  checkMode('IPC', spec.ipcMode);
  checkMode('UTS', spec.utsMode);
  checkMode('USER', spec.userMode ?? '');
  if (spec.utsMode === 'host' && spec.hostname !== undefined && spec.hostname !== '') {
    refuse('conflicting options: hostname and the UTS mode');
  }
  for (const host of spec.extraHosts) parseExtraHost(host);
  if (spec.stopSignal !== undefined) parseSignal(spec.stopSignal);
  if (spec.healthcheck !== undefined) checkHealthcheck(spec.healthcheck);
  for (const mount of spec.mounts) await checkMount(mount);
  if (spec.networkMode.type === 'container') checkSharedNetwork(spec);
}

/** The keys to look for; throws requestInvalid. */
export function checkDetachKeys(keys: string | undefined, fallback: string): string {
  const text = keys === undefined || keys === '' ? fallback : keys;
  parseDetachKeys(text);
  return text;
}
