/*
 * Port texts: `80`, `80/tcp`, `8000-8010/udp`.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

export interface PortRange {
  readonly first: number;
  readonly last: number;
  readonly protocol: string;
}

/** Undefined if malformed, out of 1 to 65535, backwards, or of another protocol than tcp, udp and sctp. */
export function parsePortRange(text: string): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(text.toLowerCase());
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? first);
  const isInRange = first >= 1 && last <= 65535 && first <= last;
  return isInRange ? { first, last, protocol: match[3] ?? 'tcp' } : undefined;
}

/** `80-81/udp` → `80/udp`, `81/udp`. Throws code containerConfigInvalid. */
export function expandPorts(text: string): readonly string[] {
  const range = parsePortRange(text);
  if (range === undefined)
    throw new LinkspanError('containerConfigInvalid', `invalid port specification: "${text}"`);
  const count = range.last - range.first + 1;
  return Array.from({ length: count }, (_, i) => `${range.first + i}/${range.protocol}`);
}
