/*
 * What runs: the user's wishes over the image's defaults, by Docker's rules. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { ImageConfig } from '../../runtime/images/images.ts';
import { mergeHealthcheck } from '../../runtime/oci/healthcheck.ts';
import type { ContainerSpec, ResolvedProcess } from '../model.ts';
import { resolve } from 'node:path';

function nameOf(entry: string): string {
  return entry.split('=', 1)[0] ?? entry;
}

/** The user's own first, then those of the image that the user did not set; a bare name unsets the image's. */
function mergeEnv(own: readonly string[], image: readonly string[]): readonly string[] {
  const names = new Set(own.map(nameOf));
  return [
    ...own.filter((entry) => entry.includes('=')),
    ...image.filter((entry) => !names.has(nameOf(entry))),
  ];
}

/** An entrypoint of one empty string clears the image's (`--entrypoint ""`). */
function entrypointAndCommand(
  spec: ContainerSpec,
  image: ImageConfig,
): { readonly entrypoint: readonly string[]; readonly command: readonly string[] } {
  const own = spec.entrypoint ?? [];
  const command = spec.command ?? [];
  const entrypoint = spec.entrypoint ?? image.entrypoint;
  return {
    entrypoint: entrypoint.length === 1 && entrypoint[0] === '' ? [] : entrypoint,
    // The image's command is meant for the image's entrypoint.
    command: own.length === 0 && command.length === 0 ? image.command : command,
  };
}

/** Throws containerConfigInvalid if neither names a command. */
export function resolveProcess(spec: ContainerSpec, image: ImageConfig): ResolvedProcess {
  const { entrypoint, command } = entrypointAndCommand(spec, image);
  const args = [...entrypoint, ...command];
  const healthcheck = mergeHealthcheck(spec.healthcheck, image.healthcheck);
  if (args.length === 0) throw new LinkspanError('containerConfigInvalid', 'no command specified');
  return {
    args,
    entrypoint,
    command,
    env: mergeEnv(spec.env, image.env),
    workingDir: spec.workingDir ?? image.workingDir,
    user: spec.user ?? image.user,
    stopSignal: spec.stopSignal ?? image.stopSignal ?? 'SIGTERM',
    ...(healthcheck !== undefined && { healthcheck }),
    ...(image.shell !== undefined && { shell: image.shell }),
    labels: { ...image.labels, ...spec.labels },
    exposedPorts: [...new Set([...spec.exposedPorts, ...image.exposedPorts])].sort(),
    volumes: [
      ...new Set([...(spec.volumes ?? []), ...image.volumes].map((path) => resolve('/', path))),
    ].sort(),
  };
}
