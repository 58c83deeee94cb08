/*
 * Moments as users and clients write them, in nanoseconds since 1970: unix seconds with a fraction, RFC 3339 with
 * parts left off, or a Go duration before now.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

const unitNs: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

function fractionNs(digits: string): bigint {
  return BigInt(digits.slice(0, 9).padEnd(9, '0'));
}

/** A Go duration such as `1h30m` or `1.5s`; undefined if `source` is none. */
export function parseDuration(source: string): bigint | undefined {
  const match = /^([+-]?)((?:\d+(?:\.\d*)?(?:ns|us|\u00b5s|ms|s|m|h))+)$/.exec(source);
  if (match === null) return source === '0' ? 0n : undefined;
  let total = 0n;
  for (const [, whole = '0', part = '', unit = 's'] of (match[2] ?? '').matchAll(
    /(\d+)(?:\.(\d*))?(ns|us|\u00b5s|ms|s|m|h)/g,
  )) {
    const scale = unitNs[unit] ?? 1n;
    total += BigInt(whole) * scale + (fractionNs(part) * scale) / 1_000_000_000n;
  }
  return match[1] === '-' ? -total : total;
}

/** RFC 3339, also without seconds, time or zone (then UTC); undefined if `source` is none. */
export function parseRfc3339(source: string): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?)?(Z|[+-]\d\d:\d\d)?$/.exec(source);
  if (match === null) return undefined;
  const [, day = '', minutes = '00:00', seconds = '00', fraction = '', zone = 'Z'] = match;
  const ms = Date.parse(`${day}T${minutes}:${seconds}${zone}`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1_000_000n + fractionNs(fraction);
}

/** Undefined for an empty `source`; throws code requestInvalid, naming `what` (`since`, `until`). */
export function parseMoment(source: string, what: string, nowMs: number): bigint | undefined {
  if (source === '') return undefined;
  const unix = /^(-?\d+)(?:\.(\d+))?$/.exec(source);
  if (unix !== null) return BigInt(unix[1] ?? '0') * 1_000_000_000n + fractionNs(unix[2] ?? '');
  const duration = parseDuration(source);
  if (duration !== undefined) return BigInt(Math.trunc(nowMs)) * 1_000_000n - duration;
  const moment = parseRfc3339(source);
  if (moment !== undefined) return moment;
  throw new LinkspanError(
    'requestInvalid',
    `invalid value for "${what}": ${JSON.stringify(source)} is neither unix seconds, nor an RFC 3339 time, nor a duration such as 10m`,
  );
}
