/*
 * What Docker tells of a swarm's root certificate: its subject and public key as DER (RFC 5280, 4.1), in base64. Reads
 * only as much of the DER as that needs; Node's X509Certificate gives names as text alone.
 */
import { X509Certificate } from 'node:crypto';

interface Element {
  /** Offsets into the bytes: the element, its content, and what follows. */
  readonly start: number;
  readonly content: number;
  readonly end: number;
  readonly tag: number;
}

/** The DER element at `start`: a tag, then the length in one byte or in as many as 0x80 is added to. */
function elementAt(der: Buffer, start: number): Element {
  const first = der.readUInt8(start + 1);
  const lengthBytes = first < 0x80 ? 0 : first - 0x80;
  const length = lengthBytes === 0 ? first : der.readUIntBE(start + 2, lengthBytes);
  const content = start + 2 + lengthBytes;
  return { start, content, end: content + length, tag: der.readUInt8(start) };
}

/** Elements of a TBSCertificate before `subject`, the optional version left out: serial, algorithm, issuer, validity. */
const elementsBeforeSubject = 4;

function subjectOf(der: Buffer): Buffer {
  let element = elementAt(der, elementAt(der, elementAt(der, 0).content).content);
  const isVersion = element.tag === 0xa0;
  for (let left = elementsBeforeSubject + (isVersion ? 1 : 0); left > 0; left--)
    element = elementAt(der, element.end);
  return der.subarray(element.start, element.end);
}

/** Subject and public key of a certificate in PEM. Throws what Node's X509Certificate throws for another text. */
export function issuerOf(pem: string): { readonly subject: string; readonly publicKey: string } {
  const { raw, publicKey } = new X509Certificate(pem);
  return {
    subject: subjectOf(raw).toString('base64'),
    publicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
  };
}
