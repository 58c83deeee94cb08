/*
 * Changes of the swarm's root, as steps from one record to the next. It begins with a new root that the old one signs too,
 * so that each side trusts the other whichever root it knows, and ends when no node needs the old one any more: then the
 * tokens name the new root, and those of before are void. What is asked for and refused is as in swarmkit
 * (manager/controlapi/ca_rotation.go); that a new root replaces the one that a change was about to bring, too.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { SwarmRecord } from '../membership/records.ts';
import { Authority, type KeyPair } from './authority.ts';
import { newSecret } from './joinToken.ts';

type Roots = Pick<SwarmRecord, 'root' | 'rotation' | 'rootCount'>;

/** What the one who asks wants. */
export interface RootWish {
  /** A new root that the swarm makes. */
  readonly isForced: boolean;
  /** One of the user's: certificate and key as PEM. Empty texts: none. */
  readonly own: KeyPair;
}

/** The new root's certificate must be good for so long. */
const shortestRootLifeMs = 365 * 24 * 3_600_000;

function invalid(message: string): LinkspanError {
  return new LinkspanError('requestInvalid', `rpc error: code = InvalidArgument desc = ${message}`);
}

/** The roots of the record after what is wanted; the same object if that is nothing. Codes requestInvalid, notImplemented. */
export async function rotateRoot(clock: Clock, roots: Roots, { isForced, own }: RootWish): Promise<Roots> {
  if (own.certificatePem === '' && own.keyPem !== '')
    throw invalid('if a signing CA key is provided, the signing CA cert must also be provided');
  if (own.certificatePem !== '') return await takeOwn(clock, roots, readOwn(clock, own));
  if (!isForced) return roots;
  const rootCount = (roots.rootCount ?? 1) + 1;
  return await begin(clock, roots, (await Authority.create(clock, rootCount)).keys);
}

async function begin(clock: Clock, { root, rootCount = 1 }: Roots, next: KeyPair): Promise<Roots> {
  const authority = await Authority.open(clock, root);
  const crossPem = await authority.crossSign(next.certificatePem);
  return { root, rotation: { root: next, crossPem }, rootCount: rootCount + 1 };
}

async function takeOwn(clock: Clock, roots: Roots, own: KeyPair): Promise<Roots> {
  const { root, rotation } = roots;
  // Back to the root of before: what the change was about to bring is dropped.
  if (isSame(root, own))
    return { root, ...(roots.rootCount === undefined ? {} : { rootCount: roots.rootCount }) };
  if (rotation !== undefined && isSame(rotation.root, own)) return roots;
  const [given, before] = [own, root].map(({ certificatePem }) => new X509Certificate(certificatePem));
  if (given?.subject === before?.subject)
    throw invalid('the desired CA certificate must have another subject than the current one');
  return await begin(clock, roots, own);
}

const isSame = (a: KeyPair, b: KeyPair): boolean =>
  new X509Certificate(a.certificatePem).fingerprint256 ===
  new X509Certificate(b.certificatePem).fingerprint256;

/** A root that the user brought, in the form of our own. */
function readOwn(clock: Clock, { certificatePem, keyPem }: KeyPair): KeyPair {
  if ((certificatePem.match(/-----BEGIN CERTIFICATE-----/g) ?? []).length > 1)
    throw invalid('the desired CA certificate cannot contain multiple certificates');
  if (keyPem === '')
    throw invalid(
      'there must be at least one valid, reachable external CA corresponding to the desired CA certificate',
    );
  let certificate: X509Certificate;
  let key: ReturnType<typeof createPrivateKey>;
  try {
    certificate = new X509Certificate(certificatePem);
    key = createPrivateKey(keyPem);
  } catch {
    throw invalid('could not parse the desired CA certificate and key');
  }
  if (!certificate.ca) throw invalid('the desired CA certificate is not one of a certificate authority');
  if (!certificate.checkPrivateKey(key)) throw invalid('the desired CA certificate and key do not match');
  if (certificate.validToDate.getTime() < clock.nowMs() + shortestRootLifeMs)
    throw invalid('CA certificate expires too soon');
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new LinkspanError(
      'notImplemented',
      'A root key other than ECDSA on the curve P-256 is not supported yet',
    );
  return {
    certificatePem: certificate.toString().trim(),
    keyPem: key.export({ type: 'pkcs8', format: 'pem' }).trim(),
  };
}

/** The change has ended: the new root alone, and tokens that name it. */
export function finishRotation(swarm: SwarmRecord): SwarmRecord {
  const { rotation, ...rest } = swarm;
  if (rotation === undefined) return swarm;
  return { ...rest, root: rotation.root, secrets: { worker: newSecret(), manager: newSecret() } };
}
