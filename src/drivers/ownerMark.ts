/*
 * The mark by which a daemon knows links that it made: IFLA_IFALIAS `linkspan:<daemon id>:<network or endpoint id>`.
 * It survives the daemon, and tells several daemons on one machine apart. At most 255 bytes (IFALIASZ).
 */

export interface OwnerMark {
  readonly daemonId: string;
  readonly objectId: string;
}

export function formatOwnerMark({ daemonId, objectId }: OwnerMark): string {
  return `linkspan:${daemonId}:${objectId}`;
}

/** Undefined for aliases that are not ours. */
export function parseOwnerMark(alias: string | undefined): OwnerMark | undefined {
  const match = /^linkspan:([^:]+):([^:]+)$/.exec(alias ?? '');
  const [, daemonId, objectId] = match ?? [];
  return daemonId === undefined || objectId === undefined ? undefined : { daemonId, objectId };
}
