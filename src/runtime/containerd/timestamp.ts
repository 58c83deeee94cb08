/*
 * google.protobuf.Timestamp to the text that Docker prints: RFC 3339 in UTC, nanoseconds without trailing zeros.
 */
import type { Timestamp } from './messages.ts';

/** Go's zero time; what containerd means by a timestamp that was never set. */
const zeroTime = '0001-01-01T00:00:00Z';

/** `2026-01-02T03:04:05.000000006Z`; the zero time for null or for seconds before year 1. */
export function formatTimestamp(timestamp: Timestamp | null): string {
  if (timestamp === null) return zeroTime;
  const seconds = Number(timestamp.seconds);
  // -62135596800 is 0001-01-01, which Go sends for a time that was never set.
  if (seconds <= -62_135_596_800) return zeroTime;
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  const fraction = String(timestamp.nanos).padStart(9, '0').replace(/0+$/, '');
  return fraction === '' ? `${whole}Z` : `${whole}.${fraction}Z`;
}
