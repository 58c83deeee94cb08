/*
 * RFC 3339 times with nanoseconds, trailing zeros cut, as Docker prints them in logs and inspect.
 */
import type { Clock } from './clock.ts';

/** `2026-11-24T04:16:06.123456789Z`; the digits below a millisecond come from the monotonic clock. */
export function timestamp(clock: Clock): string {
  const ms = clock.nowMs();
  const fraction =
    String((ms % 1000) | 0).padStart(3, '0') + String(process.hrtime.bigint() % 1_000_000n).padStart(6, '0');
  const digits = fraction.replace(/0+$/, '');
  return `${new Date(ms).toISOString().slice(0, 19)}${digits === '' ? '' : `.${digits}`}Z`;
}

/** Milliseconds since 1970, with fractions. NaN if `text` is no time. */
export function parseTimestamp(text: string): number {
  const match = /^(.*T\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (match === null) return Number.NaN;
  return Date.parse(`${match[1]}${match[3]}`) + Number(match[2] ?? 0) * 1000;
}
