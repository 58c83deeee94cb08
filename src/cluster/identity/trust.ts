/*
 * Which roots members of a swarm trust and who certifies them, as the swarm's record says: one root, or while it is being
 * changed both, and the new one certifies. Pure; no more of X.509 than Node has.
 */
import { X509Certificate } from 'node:crypto';
import type { NodeRecord, NodeTls, SwarmRecord } from '../membership/records.ts';
import type { KeyPair } from './authority.ts';
import { digestOf } from './joinToken.ts';

export interface Trust {
  /** PEM, the one that tokens name first. */
  readonly roots: readonly string[];
  /** Certificate and key of the root that certifies. */
  readonly issuer: KeyPair;
  /** What goes with each certificate; undefined unless the root is being changed. */
  readonly crossPem: string | undefined;
  /** What is to be told by a node that has all of this. */
  readonly wanted: NodeTls;
}

/** Several certificates in one text, as TLS and a node's record have them. */
export function bundleOf(roots: readonly string[]): string {
  return roots.map((pem) => (pem.endsWith('\n') ? pem : `${pem}\n`)).join('');
}

/** What a node says that it trusts. A single root counts byte for byte, as its token names it. */
export function trustsOf(rootPem: string): string {
  return digestOf(rootPem.trim());
}

export function trustOf({ root, rotation }: Pick<SwarmRecord, 'root' | 'rotation'>): Trust {
  const issuer = rotation?.root ?? root;
  const roots = [root, ...(rotation === undefined ? [] : [issuer])].map(
    ({ certificatePem }) => certificatePem,
  );
  const wanted = { issuer: digestOf(issuer.certificatePem), trusts: trustsOf(bundleOf(roots)) };
  return { roots, issuer, crossPem: rotation?.crossPem, wanted };
}

/** `certificatePem`: the first in it counts. */
export function isIssuedBy(certificatePem: string, rootPem: string): boolean {
  const [certificate, root] = [new X509Certificate(certificatePem), new X509Certificate(rootPem)];
  return certificate.checkIssued(root) && certificate.verify(root.publicKey);
}

/** The digest of the root that a certificate comes from; empty: none of these. */
export function issuerAmong(roots: readonly string[], certificatePem: string): string {
  const found = roots.find((root) => isIssuedBy(certificatePem, root));
  return found === undefined ? '' : digestOf(found);
}

/** Nothing needs to be said to the node. */
export function isUpToDate(tls: NodeTls | undefined, { wanted }: Pick<Trust, 'wanted'>): boolean {
  return tls?.issuer === wanted.issuer && tls.trusts === wanted.trusts;
}

/** A change of the root can end: no node is left that would be locked out. */
export function isConverged(nodes: Iterable<NodeRecord>, trust: Trust): boolean {
  for (const { tls } of nodes) if (!isUpToDate(tls, trust)) return false;
  return true;
}
