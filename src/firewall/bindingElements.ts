/*
 * Published ports to set elements. Pure. One port is one element of a hash map, whatever the number of ports; a run
 * whose ports stay the same is one element of an interval map, and one whose ports change is an element a port, since
 * nftables cannot add an offset to a port.
 *
 *   any4 any6         proto . port             → target . port    published on every address
 *   pub4 pub6         address . proto . port   → target . port    published on one
 *   span4 span6       address . proto . ports  → target           runs, port kept; every address is 0.0.0.0/0
 *   limited4 limited6 address . proto . ports                     only who is in the next set may connect
 *   admits4 admits6   source . address . proto . ports
 *   opened4 opened6   source . target . proto . ports             gateway mode routed
 *   trusted4 trusted6 link . target . proto . port                from there by the container's own address too
 *   asked4 asked6     address . proto . ports                     the host's INPUT decides (publish policy)
 */
import type { SetElement } from '../kernel/kernel.ts';
import { lastOf, type Prefix } from '../net/prefix.ts';
import { protoNumbers } from '../net/proto.ts';
import type { FirewallBinding } from './binding.ts';
import {
  bySpans,
  everyAddress,
  exactly,
  ipField,
  nameField,
  portField,
  portSpan,
  prefixSpan,
  protoField,
  type Span,
} from './fields.ts';

/** True if every address of `inner` is in `outer`. */
function covers(outer: Prefix, inner: Prefix): boolean {
  return (
    outer.base.family === inner.base.family &&
    outer.base.bits <= inner.base.bits &&
    lastOf(inner).bits <= lastOf(outer).bits
  );
}

/** The sources of the target's family, none inside another: intervals of one set must not overlap. */
function sourcesOf({ sources, target: { family } }: FirewallBinding): readonly Prefix[] {
  const own = sources.filter(({ base }) => base.family === family);
  return own.filter(
    (one, i) => !own.some((other, j) => covers(other, one) && (!covers(one, other) || j < i)),
  );
}

function routedElements(binding: FirewallBinding): readonly SetElement[] {
  const { proto, target, port, count, sources } = binding;
  const { family } = target;
  const from = sources.length === 0 ? [everyAddress(family)] : sourcesOf(binding);
  return from.map((source) =>
    bySpans(`opened${family}`, [
      prefixSpan(source),
      exactly(ipField(target)),
      exactly(protoField(protoNumbers[proto])),
      portSpan(port, count),
    ]),
  );
}

/** One a port: a port may be published twice, and intervals must not overlap. Not for who is limited to sources. */
function trustedElements(binding: FirewallBinding): readonly SetElement[] {
  const { proto, target, port, count, sources, trustedLinks } = binding;
  if (sources.length > 0) return [];
  return trustedLinks.flatMap((link) =>
    Array.from({ length: count }, (_, i) => ({
      set: `trusted${target.family}`,
      key: [nameField(link), ipField(target), protoField(protoNumbers[proto]), portField(port + i)],
    })),
  );
}

/** The host's address, protocol and ports as spans. */
function hostSpans({ hostIp, proto, hostPort, count, target }: FirewallBinding): readonly Span[] {
  return [
    hostIp === undefined ? prefixSpan(everyAddress(target.family)) : exactly(ipField(hostIp)),
    exactly(protoField(protoNumbers[proto])),
    portSpan(hostPort, count),
  ];
}

function translationElements(binding: FirewallBinding): readonly SetElement[] {
  const { proto, hostIp, hostPort, count, target, port } = binding;
  const { family } = target;
  if (count > 1 && hostPort === port)
    return [bySpans(`span${family}`, hostSpans(binding), [ipField(target)])];
  return Array.from({ length: count }, (_, i): SetElement => {
    const key = [protoField(protoNumbers[proto]), portField(hostPort + i)];
    const data = [ipField(target), portField(port + i)];
    return hostIp === undefined
      ? { set: `any${family}`, key, data }
      : { set: `pub${family}`, key: [ipField(hostIp), ...key], data };
  });
}

function limitElements(binding: FirewallBinding): readonly SetElement[] {
  if (binding.sources.length === 0) return [];
  const { family } = binding.target;
  const spans = hostSpans(binding);
  return [
    bySpans(`limited${family}`, spans),
    ...sourcesOf(binding).map((source) => bySpans(`admits${family}`, [prefixSpan(source), ...spans])),
  ];
}

/** All elements of one binding. `asksHost`: the host's INPUT verdict decides who is let in. */
export function planBinding(binding: FirewallBinding, asksHost: boolean): readonly SetElement[] {
  if (binding.isRouted) return routedElements(binding);
  return [
    ...translationElements(binding),
    ...limitElements(binding),
    ...trustedElements(binding),
    ...(asksHost ? [bySpans(`asked${binding.target.family}`, hostSpans(binding))] : []),
  ];
}

const families = ['4', '6'] as const;

/** Sets and maps whose elements come from bindings. */
export const bindingSets: ReadonlySet<string> = new Set(
  ['any', 'pub', 'span', 'limited', 'admits', 'opened', 'trusted', 'asked'].flatMap((name) =>
    families.map((family) => `${name}${family}`),
  ),
);
