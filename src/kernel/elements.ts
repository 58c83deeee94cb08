/*
 * Set and map elements by raw nfnetlink: one atomic batch, independent of the set's size. Synchronous, for a worker.
 * NFT_MSG_DESTROYSETELEM exists since Linux 6.3. Before, a missing element is an error of the delete: the batch,
 * which the kernel then dropped as a whole, goes again without the deletes that found nothing.
 */
import {
  type ElementChange,
  encodeBatchFrame,
  encodeElements,
  encodeFields,
  netfilterFamily,
} from '../codec/netlink/netfilter.ts';
import type { ElementBatch, KernelError } from './kernel.ts';
import type { NetlinkSocket, Request } from './netlinkSocket.ts';

/** An nfnetlink attribute holds at most 65535 bytes; an element with two concatenated keys and data needs some 150. */
const elementsPerMessage = 300;

interface Message {
  readonly request: Request;
  readonly isDelete: boolean;
}

/** `change` as bytes. `hasDestroy` false uses the delete of older kernels. */
function encodeChange(change: ElementBatch['changes'][number], hasDestroy: boolean): ElementChange {
  const { set, key, keyEnd, keyLast, data } = change.element;
  return {
    op: change.op === 'destroy' && !hasDestroy ? 'delete' : change.op,
    set,
    key: encodeFields(key),
    ...(keyEnd !== undefined && { keyEnd: encodeFields(keyEnd) }),
    ...(keyLast !== undefined && { keyLast: encodeFields(keyLast) }),
    ...(data !== undefined && { data: encodeFields(data) }),
  };
}

/** Groups neighbours of the same op and set; plain deletes stay alone, because each may fail on its own. */
function groupChanges(changes: readonly ElementChange[]): [ElementChange, ...ElementChange[]][] {
  const groups: [ElementChange, ...ElementChange[]][] = [];
  for (const change of changes) {
    const last = groups.at(-1);
    const isSame =
      last !== undefined &&
      change.op !== 'delete' &&
      last[0].op === change.op &&
      last[0].set === change.set &&
      last.length < elementsPerMessage;
    if (isSame) last.push(change);
    else groups.push([change]);
  }
  return groups;
}

function encodeMessages(batch: ElementBatch, hasDestroy: boolean): Message[] {
  const changes = batch.changes.map((change) => encodeChange(change, hasDestroy));
  return groupChanges(changes).map((group) => ({
    isDelete: group[0].op === 'delete',
    request: {
      operation: `nft ${group[0].op} element ${group[0].set}`,
      message: encodeElements(netfilterFamily[batch.family], batch.table, group),
    },
  }));
}

function send(socket: NetlinkSocket, messages: readonly Message[]): (KernelError | undefined)[] {
  const requests = messages.map(({ request }) => request);
  return socket.exchangeBatch(encodeBatchFrame('begin'), requests, encodeBatchFrame('end'));
}

/** Applies the batch or throws and leaves everything as it was. */
export function changeElements(socket: NetlinkSocket, batch: ElementBatch, hasDestroy: boolean): void {
  let messages = encodeMessages(batch, hasDestroy);
  while (messages.length > 0) {
    const outcomes = send(socket, messages);
    const fatal = outcomes.find((outcome, i) => {
      return outcome !== undefined && !(messages[i]?.isDelete === true && outcome.code === 'ENOENT');
    });
    if (fatal !== undefined) throw fatal;
    if (outcomes.every((outcome) => outcome === undefined)) return;
    messages = messages.filter((_, i) => outcomes[i] === undefined);
  }
}
