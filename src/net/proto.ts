/*
 * Transport protocols that have ports and can be published, with their numbers (IANA protocol numbers). Pure.
 */

export const protos = ['tcp', 'udp', 'sctp'] as const;
export type Proto = (typeof protos)[number];

/** IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP. */
export const protoNumbers: Readonly<Record<Proto, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** `tcp`, `udp` or `sctp` in any case; undefined for anything else. */
export function parseProto(text: string): Proto | undefined {
  const lower = text.toLowerCase();
  return protos.find((proto) => proto === lower);
}

/** The name of a protocol number as nft prints it; the number itself where it has no name here. */
export function formatProtoNumber(number: number): string {
  return protos.find((proto) => protoNumbers[proto] === number) ?? String(number);
}
