/*
 * What a link has carried: IFLA_STATS64 of RTM_NEWLINK, `struct rtnl_link_stats64` (linux/if_link.h), whose first eight
 * numbers, 64 bits each in the machine's order, are rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors,
 * rx_dropped, tx_dropped.
 */
import { decodeAttributes, stringOf, view } from './core.ts';

export interface LinkCounters {
  readonly name: string;
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxErrors: bigint;
  readonly txErrors: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
}

const attribute = { name: 3, stats64: 23 } as const;

/** Zeros where the kernel sends none. */
export function decodeLinkCounters(payload: Uint8Array): LinkCounters {
  const attributes = decodeAttributes(payload, 16);
  const bytes = attributes.get(attribute.stats64);
  const at = (index: number): bigint =>
    bytes === undefined || bytes.length < 8 * (index + 1) ? 0n : view(bytes).getBigUint64(8 * index, true);
  return {
    name: stringOf(attributes.get(attribute.name)) ?? '',
    rxPackets: at(0),
    txPackets: at(1),
    rxBytes: at(2),
    txBytes: at(3),
    rxErrors: at(4),
    txErrors: at(5),
    rxDropped: at(6),
    txDropped: at(7),
  };
}
