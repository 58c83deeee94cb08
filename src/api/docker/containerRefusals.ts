/*
 * Options of a container that Docker has and we do not (yet): when one is set, the request is refused with 501 and
 * a sentence that names it, because an option that is silently dropped is worse than one that is missing.
 * What clients send for "not set" passes: zero values, null, and the few other values listed here.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** Go's zero value of any type, and empty lists and maps. */
function isUnset(value: unknown): boolean {
  if (value === null || value === undefined) return true;
  if (typeof value === 'object') return Object.keys(value).length === 0;
  return value === '' || value === 0 || value === false;
}

/** True if `value` is unset or one of `harmless`. */
const isOneOf =
  (...harmless: readonly unknown[]) =>
  (value: unknown): boolean =>
    isUnset(value) || harmless.includes(value);

interface Refusal {
  readonly field: string;
  /** The flag of `docker run` that sets it. */
  readonly flag: string;
  readonly passes?: (value: unknown) => boolean;
}

const hostConfigRefusals: readonly Refusal[] = [
  { field: 'CpuCount', flag: '--cpu-count' },
  { field: 'CpuPercent', flag: '--cpu-percent' },
  { field: 'IOMaximumIOps', flag: '--io-maxiops' },
  { field: 'IOMaximumBandwidth', flag: '--io-maxbandwidth' },
  { field: 'DeviceRequests', flag: '--gpus' },
  { field: 'Cgroup', flag: '--cgroup' },
  { field: 'Isolation', flag: '--isolation', passes: isOneOf('default') },
  { field: 'StorageOpt', flag: '--storage-opt' },
  { field: 'MaskedPaths', flag: 'own paths to hide' },
  { field: 'ReadonlyPaths', flag: 'own paths to protect' },
];

const configRefusals: readonly Refusal[] = [
  { field: 'NetworkDisabled', flag: '--network none in its place' },
  { field: 'Shell', flag: 'SHELL' },
];

function check(fields: Fields, refusals: readonly Refusal[], prefix: string): void {
  const folded = new Map(Object.entries(fields).map(([key, value]) => [key.toLowerCase(), value]));
  for (const { field, flag, passes = isUnset } of refusals) {
    if (!passes(folded.get(field.toLowerCase())))
      throw new LinkspanError('notImplemented', `${prefix}${field} (${flag}) is not supported yet`);
  }
}

/** Throws code notImplemented if `body`, the parsed JSON, sets an option that we would ignore. */
export function checkRefusals(body: unknown): void {
  const fields = fieldsOf(body);
  check(fields, configRefusals, '');
  check(fieldsOf(fields.HostConfig ?? fields.hostConfig), hostConfigRefusals, 'HostConfig.');
}
