/*
 * rtnetlink: how one network namespace numbers another. Pure. A namespace has a number for those only that a link of
 * its leads into, or that somebody had it number. Contract: linux/net_namespace.h, network_namespaces(7).
 *
 *   rtgenmsg  0 u8 family | 1 padding to 4
 */
import { decodeAttributes, messageFlag, u32Of, Writer } from './core.ts';

export const namespaceIdType = { new: 88, get: 90 } as const;

const netnsa = { id: 1, fd: 3 } as const;
/** NETNSA_NSID_NOT_ASSIGNED; in a request for a number: any that is free. */
const noId = 0xffffffff;

/** RTM_NEWNSID: gives the namespace behind descriptor `fd` the lowest free number; EEXIST if it has one. */
export function encodeNewNamespaceId(fd: number): Uint8Array {
  const w = new Writer();
  w.message(namespaceIdType.new, messageFlag.request | messageFlag.ack, () => {
    w.u32(0);
    w.u32Attribute(netnsa.fd, fd);
    w.u32Attribute(netnsa.id, noId);
  });
  return w.finish();
}

/** RTM_GETNSID, answered by one RTM_NEWNSID. */
export function encodeGetNamespaceId(fd: number): Uint8Array {
  const w = new Writer();
  w.message(namespaceIdType.get, messageFlag.request, () => {
    w.u32(0);
    w.u32Attribute(netnsa.fd, fd);
  });
  return w.finish();
}

/** Decodes RTM_NEWNSID; undefined where the namespace has no number. */
export function decodeNamespaceId(payload: Uint8Array): number | undefined {
  const id = u32Of(decodeAttributes(payload, 4).get(netnsa.id));
  return id === noId ? undefined : id;
}
