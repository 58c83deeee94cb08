/*
 * Certificates for an etcd's members and clients, made in a test: an authority, and what it signs.
 */
import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { EtcdCertificates } from '../../src/store/etcd/etcdProcess.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** A key and its public half. */
interface Keys {
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

const newKeys = (): Promise<Keys> => crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
const life = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 86_400_000) };

export class StoreAuthority {
  readonly #root: X509Certificate;
  readonly #keys: Keys;
  #serial = 1;

  private constructor(root: X509Certificate, keys: Keys) {
    this.#root = root;
    this.#keys = keys;
  }

  static async create(name: string): Promise<StoreAuthority> {
    const keys = await newKeys();
    const root = await X509CertificateGenerator.createSelfSigned({
      ...{ serialNumber: '01', name: `CN=${name}`, ...life, signingAlgorithm: algorithm, keys },
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      ],
    });
    return new StoreAuthority(root, keys);
  }

  get caPem(): string {
    return this.#root.toString('pem');
  }

  /** For a member at `address`, or a client on this machine; `role` is a DNS name in it. */
  async issue(address: string, role = 'swarm-manager'): Promise<EtcdCertificates> {
    const keys = await newKeys();
    this.#serial += 1;
    const certificate = await X509CertificateGenerator.create({
      ...{ serialNumber: this.#serial.toString(16).padStart(2, '0'), ...life, signingAlgorithm: algorithm },
      ...{ issuer: this.#root.subject, subject: `CN=${role}`, publicKey: keys.publicKey },
      signingKey: this.#keys.privateKey,
      extensions: [
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension([
          { type: 'dns', value: role },
          { type: 'ip', value: address },
          ...(address === '127.0.0.1' ? [] : [{ type: 'ip' as const, value: '127.0.0.1' }]),
        ]),
      ],
    });
    const key = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
    const keyPem = PemConverter.encode(key, 'PRIVATE KEY');
    return { certificatePem: certificate.toString('pem'), keyPem, caPem: this.caPem };
  }
}
