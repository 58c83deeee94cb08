/*
 * Links on a parent: macvlan and ipvlan inside a sandbox, and the parents that are ours (802.1q sub-interfaces,
 * dummies). As with veth, the link is born inside the sandbox (RTM_NEWLINK from a socket of this namespace, where the
 * parent's index means the parent, with IFLA_NET_NS_FD) and never moved: IFLA_LINK_NETNSID would make it here and
 * move it, 25 to 35 ms. Synchronous but for the delete, which waits for an rcu_barrier. Contract: linux/if_link.h.
 */
import { randomBytes } from 'node:crypto';
import { encodeDelLink, encodeNewLink, encodeSetLink, type NewKind } from '../codec/netlink/route.ts';
import { configurePeer } from './attach.ts';
import { hasErrno } from './errno.ts';
import { type ChildSpec, KernelError, type Link, type ParentSpec } from './kernel.ts';
import { dumpLinks, findLink, getIfindex } from './links.ts';
import { inSandbox, type NamespaceContext, openSocketIn } from './namespaces.ts';
import type { NetlinkSocket } from './netlinkSocket.ts';

const bareKinds: Readonly<Record<'macvlan' | 'ipvlan' | 'vlan', NewKind>> = {
  macvlan: { kind: 'macvlan', mode: 'bridge' },
  ipvlan: { kind: 'ipvlan', mode: 'l2', flag: 'bridge' },
  vlan: { kind: 'vlan', id: 1 },
};

/**
 * A link of the kind without what every such link needs is refused, with EOPNOTSUPP if the kind itself is not known
 * and cannot be loaded.
 */
export function hasLinkKind(host: NetlinkSocket, kind: 'macvlan' | 'ipvlan' | 'vlan'): boolean {
  const [outcome] = host.exchange([
    {
      operation: `RTM_NEWLINK probe ${kind}`,
      message: encodeNewLink({ name: 'lsprobe', newKind: bareKinds[kind] }),
    },
  ]);
  if (outcome === undefined)
    throw new KernelError(`probe ${kind}`, 'EEXIST', 'a link without parent was made');
  if (hasErrno(outcome, 'EOPNOTSUPP')) return false;
  if (hasErrno(outcome, 'EINVAL', 'ENODEV')) return true;
  throw outcome;
}

export function ensureParent(host: NetlinkSocket, { name, alias, kind }: ParentSpec): void {
  const found = findLink(host, name);
  if (found !== undefined) {
    if (found.alias !== alias)
      throw new KernelError(`ensure ${kind.kind} ${name}`, 'EEXIST', 'a link of that name is there');
    if (!found.isUp)
      host.run({
        operation: `RTM_NEWLINK up ${name}`,
        message: encodeSetLink({ ifindex: found.ifindex, isUp: true }),
      });
    return;
  }
  const fields =
    kind.kind === 'vlan'
      ? { newKind: { kind: kind.kind, id: kind.id }, parent: getIfindex(host, kind.parent) }
      : { newKind: kind };
  const [created, marked, raised] = host.exchange([
    { operation: `RTM_NEWLINK ${kind.kind} ${name}`, message: encodeNewLink({ name, ...fields }) },
    { operation: `RTM_NEWLINK alias ${name}`, message: encodeSetLink({ name, alias }) },
    // ENETDOWN where the link below is down.
    { operation: `RTM_NEWLINK up ${name}`, message: encodeSetLink({ name, isUp: true }) },
  ]);
  if (created !== undefined) throw created;
  const failure = marked ?? raised;
  if (failure === undefined) return;
  host.exchange([{ operation: `RTM_DELLINK ${name}`, message: encodeDelLink({ name }) }]);
  throw failure;
}

/**
 * Of the name that a child is born with: before Linux 6.14 a name that is taken in the namespace of the socket is
 * refused (EEXIST), though the link is to be in another, and every host has an eth0.
 */
export const bornPrefix = 'lsnew';

/** `host` is a socket of the parent's namespace. */
export function attachChild(context: NamespaceContext, host: NetlinkSocket, spec: ChildSpec): void {
  const { peerName: name, child, alias, peerMac } = spec;
  const parent = getIfindex(host, spec.parent);
  inSandbox(context, spec.sandbox, ({ netnsFd, socket }) => {
    const bornAs = `${bornPrefix}${randomBytes(4).toString('hex')}`;
    host.run({
      operation: `RTM_NEWLINK ${child.kind} ${name}`,
      message: encodeNewLink({
        ...{ name: bornAs, newKind: child, parent, netnsFd },
        ...(peerMac === undefined ? {} : { mac: peerMac }),
      }),
    });
    using undo = new DisposableStack();
    let itself: { readonly name: string } | { readonly ifindex: number } = { name: bornAs };
    undo.defer(() => socket.exchange([{ operation: `RTM_DELLINK ${name}`, message: encodeDelLink(itself) }]));
    const ifindex = getIfindex(socket, bornAs);
    itself = { ifindex };
    socket.run({
      operation: `RTM_NEWLINK name ${name}`,
      message: encodeSetLink({ ifindex, name, alias }),
    });
    configurePeer(context.seam, socket, spec);
    undo.move();
  });
}

/** The socket inside, or undefined if there is no namespace there any more. */
export function openInside(context: NamespaceContext, path: string): NetlinkSocket | undefined {
  try {
    return openSocketIn(context, path);
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'EINVAL')) return undefined;
    throw error;
  }
}

/** Made, but not marked yet. */
function isHalfMade({ kind, name }: Link, peerName: string): boolean {
  const isChild = kind === 'macvlan' || kind === 'ipvlan';
  return isChild && (name === peerName || name.startsWith(bornPrefix));
}

async function delLater(
  { seam }: NamespaceContext,
  inside: NetlinkSocket,
  name: string,
  link: { readonly name: string } | { readonly ifindex: number },
): Promise<void> {
  const operation = `RTM_DELLINK ${name}`;
  seam.step(`kernel ${operation}`);
  const outcome = await inside.exchangeLater({ operation, message: encodeDelLink(link) });
  if (outcome !== undefined && !hasErrno(outcome, 'ENODEV')) throw outcome;
}

/** Success if it or the namespace is gone. */
export async function delLinkInside(
  context: NamespaceContext,
  path: string,
  link: { readonly name: string },
): Promise<void> {
  using inside = openInside(context, path);
  if (inside !== undefined) await delLater(context, inside, link.name, link);
}

/** The mark finds it under another name. */
export async function detachChild(
  context: NamespaceContext,
  { sandbox, peerName, alias }: Pick<ChildSpec, 'sandbox' | 'peerName' | 'alias'>,
): Promise<void> {
  using inside = openInside(context, sandbox);
  if (inside === undefined) return;
  const found = dumpLinks(inside).find((link) =>
    link.alias === undefined ? isHalfMade(link, peerName) : link.alias === alias,
  );
  if (found !== undefined) await delLater(context, inside, peerName, { ifindex: found.ifindex });
}
