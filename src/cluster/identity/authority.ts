/*
 * The swarm's certificate authority: a self-signed root (ECDSA P-256, 20 years) that certifies nodes. Of a node's request
 * only the public key counts; who it is, the manager says:
 *
 *   subject   CN = node id, OU = swarm-manager or swarm-worker, O = swarm id
 *   names     node id and OU (subjectAltName): a client asks for `swarm-manager`
 *   use       TLS client and server
 *
 * The role in a certificate is an upper bound: what a node may do, the store says (docs/adr). The root carries no path
 * length and a name of its own generation, or OpenSSL would refuse the chains of a rotation. Sources: RFC 5280, swarmkit
 * ca/certificates.go.
 */
import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { Clock } from '../../base/clock.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { NodeRole } from '../swarm.ts';
import { digestOf } from './joinToken.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const signing = { ...algorithm, hash: 'SHA-256' } as const;
const hourMs = 3_600_000;
const yearMs = 365 * 24 * hourMs;
const rootYears = 20;
/** A clock that is behind takes a new certificate all the same. */
const backdateMs = hourMs;

/** How long a node's certificate is good: 90 days. */
const defaultLifeMs = 90 * 24 * hourMs;

/** Of a certificate, or for one. */
export interface NodeSubject {
  readonly nodeId: string;
  readonly swarmId: string;
  readonly role: NodeRole;
}

/** A key and what is certified of it, as PEM. */
export interface KeyPair {
  readonly certificatePem: string;
  /** PKCS#8. */
  readonly keyPem: string;
}

/** What a node sends to be certified; the key stays with it. */
export interface CertificateRequest {
  readonly requestPem: string;
  readonly keyPem: string;
}

const unitOf = (role: NodeRole): string => `swarm-${role}`;
/** Positive, 159 bits (RFC 5280 section 4.1.2.2: at most 20 octets). */
const newSerial = (): string => {
  const bytes = randomBytes(20);
  bytes[0] = (bytes[0] ?? 0) & 0x7f;
  return bytes.toString('hex');
};

async function toKeyPem(key: CryptoKey): Promise<string> {
  return PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

async function readKey(pem: string): Promise<CryptoKey> {
  const [bytes] = PemConverter.decode(pem);
  if (bytes === undefined) throw new TypeError('there is no key in this text');
  return await crypto.subtle.importKey('pkcs8', bytes, algorithm, true, ['sign']);
}

/** A new key and the request to certify it. */
export async function requestCertificate(): Promise<CertificateRequest> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: signing,
  });
  return { requestPem: request.toString('pem'), keyPem: await toKeyPem(keys.privateKey) };
}

/** Whose certificate it is; undefined if it is none of a node's. Says nothing of who signed it. */
export function subjectOf(certificatePem: string): NodeSubject | undefined {
  const { subjectName } = new X509Certificate(certificatePem);
  const [nodeId] = subjectName.getField('CN');
  const [swarmId] = subjectName.getField('O');
  const unit = subjectName.getField('OU')[0];
  const role = (['manager', 'worker'] as const).find((one) => unitOf(one) === unit);
  if (nodeId === undefined || swarmId === undefined || role === undefined) return undefined;
  return { nodeId, swarmId, role };
}

export class Authority {
  readonly #clock: Clock;
  readonly #root: X509Certificate;
  readonly #key: CryptoKey;
  readonly #keys: KeyPair;
  readonly #crossPem: string;

  private constructor(clock: Clock, root: X509Certificate, key: CryptoKey, keys: KeyPair, crossPem = '') {
    this.#clock = clock;
    this.#root = root;
    this.#key = key;
    this.#keys = keys;
    this.#crossPem = crossPem;
  }

  /** A new root. `generation`: which of the roots of that name it is, from 1. */
  static async create(clock: Clock, generation = 1, rootName = 'swarm-ca'): Promise<Authority> {
    const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const nowMs = clock.nowMs();
    const root = await X509CertificateGenerator.createSelfSigned({
      serialNumber: newSerial(),
      name: `CN=${rootName} g${generation}`,
      notBefore: new Date(nowMs - backdateMs),
      notAfter: new Date(nowMs + rootYears * yearMs),
      signingAlgorithm: signing,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const pair = { certificatePem: root.toString('pem'), keyPem: await toKeyPem(keys.privateKey) };
    return new Authority(clock, root, keys.privateKey, pair);
  }

  /** One that `keys` of another carried over. `crossPem` goes with each certificate, for those who trust its signer. */
  static async open(clock: Clock, keys: KeyPair, crossPem?: string): Promise<Authority> {
    const root = new X509Certificate(keys.certificatePem);
    return new Authority(clock, root, await readKey(keys.keyPem), keys, crossPem);
  }

  /** The root's certificate and key: whoever has the key can make nodes. */
  get keys(): KeyPair {
    return this.#keys;
  }

  /** As tokens carry it. */
  get digest(): string {
    return digestOf(this.#keys.certificatePem);
  }

  /** The certificate of another root as this one signs it: who trusts this root trusts by it what the other certifies. */
  async crossSign(rootPem: string): Promise<string> {
    const { subject, publicKey, notAfter } = new X509Certificate(rootPem);
    const certificate = await X509CertificateGenerator.create({
      serialNumber: newSerial(),
      ...{ issuer: this.#root.subject, subject, publicKey, notAfter },
      notBefore: new Date(this.#clock.nowMs() - backdateMs),
      signingAlgorithm: signing,
      signingKey: this.#key,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(publicKey),
      ],
    });
    return `${certificate.toString('pem')}\n`;
  }

  /**
   * A certificate for the key in `requestPem`, as PEM, and what others need to believe it. Code joinRefused where that is
   * no request, or not signed by the key that it is about. `addresses`: where it serves, for clients that ask for one.
   */
  async issue(
    requestPem: string,
    subject: NodeSubject,
    lifeMs: number = defaultLifeMs,
    addresses: readonly string[] = [],
  ): Promise<string> {
    const request = await readRequest(requestPem);
    const nowMs = this.#clock.nowMs();
    const unit = unitOf(subject.role);
    const certificate = await X509CertificateGenerator.create({
      serialNumber: newSerial(),
      issuer: this.#root.subject,
      subject: [{ O: [subject.swarmId] }, { OU: [unit] }, { CN: [subject.nodeId] }],
      notBefore: new Date(nowMs - backdateMs),
      notAfter: new Date(nowMs + lifeMs),
      signingAlgorithm: signing,
      publicKey: request.publicKey,
      signingKey: this.#key,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension([
          { type: 'dns', value: subject.nodeId },
          { type: 'dns', value: unit },
          ...addresses.map((value) => ({ type: 'ip' as const, value })),
        ]),
      ],
    });
    const pem = certificate.toString('pem');
    return this.#crossPem === '' ? pem : `${pem}\n${this.#crossPem}`;
  }
}

async function readRequest(pem: string): Promise<Pkcs10CertificateRequest> {
  const refuse = (cause?: unknown): never => {
    throw new LinkspanError('joinRefused', 'the certificate request is malformed', { cause });
  };
  let request: Pkcs10CertificateRequest;
  try {
    request = new Pkcs10CertificateRequest(pem);
  } catch (error) {
    return refuse(error);
  }
  const { namedCurve } = request.publicKey.algorithm as { readonly namedCurve?: string };
  if (namedCurve !== algorithm.namedCurve || !(await request.verify())) return refuse();
  return request;
}

/** The key that a request is about, as SubjectPublicKeyInfo (DER). Code joinRefused as `Authority.issue`. */
export async function publicKeyOf(requestPem: string): Promise<Uint8Array> {
  return new Uint8Array((await readRequest(requestPem)).publicKey.rawData);
}
