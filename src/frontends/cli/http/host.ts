/*
 * Where the daemon listens: `unix:///path` or `tcp://host:port`, as `-H`, LINKSPAN_HOST or DOCKER_HOST give it.
 */
import { CliError } from '../cliError.ts';

export const defaultHost = 'unix:///run/linkspan/linkspan.sock';

export type HostAddress = { readonly path: string } | { readonly host: string; readonly port: number };

/** Parses a host; throws CliError for a scheme that the CLI does not speak. */
export function parseHost(text: string): HostAddress {
  const unix = /^unix:\/\/(.+)$/.exec(text);
  if (unix !== null) return { path: unix[1] ?? '' };
  const tcp = /^(?:tcp|http):\/\/(?:\[([^\]]+)\]|([^:/]*))(?::(\d+))?\/?$/.exec(text);
  if (tcp !== null) return { host: tcp[1] ?? (tcp[2] || 'localhost'), port: Number(tcp[3] ?? '2375') };
  throw new CliError(`unable to parse docker host \`${text}\`: use unix:///path or tcp://host:port`, 125);
}

/** The host to use: the flag first, then LINKSPAN_HOST, then DOCKER_HOST, then the default socket. */
export function chooseHost(flagValue: string | undefined, env: NodeJS.ProcessEnv): string {
  return flagValue || env['LINKSPAN_HOST'] || env['DOCKER_HOST'] || defaultHost;
}
