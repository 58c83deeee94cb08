/*
 * Generic netlink: the header of its messages, and how a family's number is asked for. Pure. Contract:
 * linux/genetlink.h.
 *
 *   genlmsghdr  0 u8 command | 1 u8 version | 2 u16 reserved
 */
import { decodeAttributes, messageFlag, u16Of, Writer } from './core.ts';

export const genericHeaderBytes = 4;

/** GENL_ID_CTRL: the family that knows the others. Its answers have this type too. */
export const controlFamily = 16;
const control = { getFamily: 3, version: 2, familyId: 1, familyName: 2 } as const;

export function writeGenericHeader(w: Writer, command: number, version: number): void {
  w.u8(command);
  w.u8(version);
  w.u16(0);
}

/** CTRL_CMD_GETFAMILY; the kernel may load a module for it. ENOENT if there is no such family. */
export function encodeGetFamily(name: string): Uint8Array {
  const w = new Writer();
  w.message(controlFamily, messageFlag.request, () => {
    writeGenericHeader(w, control.getFamily, control.version);
    w.stringAttribute(control.familyName, name);
  });
  return w.finish();
}

/** The family's number, which is the type of its messages. Throws RangeError where the answer has none. */
export function decodeFamily(payload: Uint8Array): number {
  const id = u16Of(decodeAttributes(payload, genericHeaderBytes).get(control.familyId));
  if (id === undefined) throw new RangeError('a family without a number');
  return id;
}
