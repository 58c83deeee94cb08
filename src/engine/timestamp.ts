/*
 * Time as Docker writes it: RFC 3339 in UTC with nanoseconds.
 */
import type { Clock } from '../base/clock.ts';

/** Now, e.g. `2026-11-24T03:44:00.123456789Z`; the clock gives milliseconds, the process timer the rest. */
export function timestamp(clock: Clock): string {
  const iso = new Date(clock.nowMs()).toISOString();
  const nanoseconds = String(process.hrtime.bigint() % 1_000_000n).padStart(6, '0');
  return `${iso.slice(0, -1)}${nanoseconds}Z`;
}
