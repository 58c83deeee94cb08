/*
 * Environments as lists of `NAME=value`, put together the way Docker does: what the engine gives, then the image's
 * and the user's own on top. Pure.
 */

/** PATH of a container whose image sets none. */
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function nameOf(entry: string): string {
  const end = entry.indexOf('=');
  return end === -1 ? entry : entry.slice(0, end);
}

/**
 * `over` replaces entries of `base` of the same name in their place and adds the others behind.
 * An entry without `=` removes the name.
 */
export function mergeEnvironment(base: readonly string[], over: readonly string[]): readonly string[] {
  const merged = new Map(base.map((entry) => [nameOf(entry), entry]));
  for (const entry of over) {
    if (entry.includes('=')) merged.set(nameOf(entry), entry);
    else merged.delete(entry);
  }
  return [...merged.values()];
}

/** The whole environment of a container's first process; `env` is image and user already merged. */
export function processEnvironment(options: {
  readonly env: readonly string[];
  readonly hostname: string;
  readonly isTty: boolean;
  readonly home: string;
}): readonly string[] {
  const given = [
    `PATH=${defaultPath}`,
    `HOSTNAME=${options.hostname}`,
    ...(options.isTty ? ['TERM=xterm'] : []),
  ];
  const merged = mergeEnvironment(given, options.env);
  return merged.some((entry) => nameOf(entry) === 'HOME') ? merged : [...merged, `HOME=${options.home}`];
}
