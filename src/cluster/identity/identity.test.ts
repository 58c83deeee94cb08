/*
 * Tokens and certificates: formats, what is refused, and real TLS sessions between nodes.
 */
import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { systemClock } from '../../base/clock.ts';
import { HandClock } from '../../base/handClock.ts';
import type { NodeRole } from '../swarm.ts';
import { Authority, type KeyPair, requestCertificate, subjectOf } from './authority.ts';
import { digestOf, equalSecrets, formatJoinToken, newSecret, parseJoinToken } from './joinToken.ts';

const nodeId = 'n'.repeat(25);
const swarmId = 's'.repeat(25);

async function newNode(authority: Authority, role: NodeRole, lifeMs?: number): Promise<KeyPair> {
  const { requestPem, keyPem } = await requestCertificate();
  return { certificatePem: await authority.issue(requestPem, { nodeId, swarmId, role }, lifeMs), keyPem };
}

/** What the client got to hear: the server's answer, or the code of either side's refusal. */
async function meet(
  server: { readonly keys: KeyPair; readonly trusts: string },
  client: { readonly keys?: KeyPair; readonly trusts: string },
): Promise<string> {
  const listening = createServer(
    {
      key: server.keys.keyPem,
      cert: server.keys.certificatePem,
      ca: server.trusts,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
    },
    (socket) => {
      const { authorized, authorizationError } = socket;
      socket.on('error', () => {});
      socket.end(authorized ? 'welcome' : String(authorizationError));
    },
  );
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const socket: TLSSocket = connect({
    ...{ host: '127.0.0.1', port: (listening.address() as AddressInfo).port, servername: 'swarm-manager' },
    ca: client.trusts,
    ...(client.keys === undefined ? {} : { key: client.keys.keyPem, cert: client.keys.certificatePem }),
  });
  try {
    let heard = '';
    socket.setEncoding('utf8').on('data', (text: string) => (heard += text));
    await once(socket, 'end');
    return heard;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  } finally {
    socket.destroy();
    listening.close();
  }
}

test('a token says its digest and secret, in Docker’s lengths, and comes back as it was', () => {
  const token = { digest: digestOf('-----BEGIN CERTIFICATE-----\n'), secret: newSecret() };
  const text = formatJoinToken(token);
  assert.match(text, /^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
  assert.deepEqual(parseJoinToken(`${text}\n`), token);
});

test('the digest is the sha256 of the certificate’s bytes as a number of base 36', () => {
  const pem = 'any text';
  let rest = BigInt(`0x${createHash('sha256').update(pem).digest('hex')}`);
  const digits: string[] = [];
  for (; rest > 0n; rest /= 36n)
    digits.unshift('0123456789abcdefghijklmnopqrstuvwxyz'[Number(rest % 36n)] ?? '');
  assert.equal(digestOf(pem), digits.join('').padStart(50, '0'));
});

test('what is no token is none', () => {
  const good = formatJoinToken({ digest: 'd'.repeat(50), secret: 's'.repeat(25) });
  const wrong = [
    '',
    'SWMTKN',
    good.slice(0, -1),
    `${good}0`,
    good.replace('-1-', '-3-'),
    good.replace('SWMTKN', 'SWMKEY'),
    good.toUpperCase(),
    `${good}-more`,
    good.replace('dd', '%%'),
  ];
  for (const text of wrong) assert.equal(parseJoinToken(text), undefined, text);
});

test('secrets are equal only to themselves', () => {
  const secret = newSecret();
  assert.equal(equalSecrets(secret, secret), true);
  assert.equal(equalSecrets(secret, newSecret()), false);
  assert.equal(equalSecrets(secret, secret.slice(1)), false);
});

test('a node’s certificate says who it is, and is good for 90 days from an hour ago', async () => {
  const clock = new HandClock();
  const authority = await Authority.create(clock);
  const { certificatePem, keyPem } = await newNode(authority, 'worker');
  assert.deepEqual(subjectOf(certificatePem), { nodeId, swarmId, role: 'worker' });
  const read = new X509Certificate(certificatePem);
  assert.equal(read.subjectAltName, `DNS:${nodeId}, DNS:swarm-worker`);
  assert.equal(read.ca, false);
  assert.equal(read.validFromDate.getTime(), clock.nowMs() - 3_600_000);
  assert.equal(read.validToDate.getTime(), clock.nowMs() + 90 * 24 * 3_600_000);
  assert.equal(read.checkIssued(new X509Certificate(authority.keys.certificatePem)), true);
  assert.match(keyPem, /^-----BEGIN PRIVATE KEY-----/);
});

test('an authority that was carried over signs as before', async () => {
  const first = await Authority.create(systemClock);
  const second = await Authority.open(systemClock, first.keys);
  assert.equal(second.digest, first.digest);
  const keys = await newNode(second, 'manager');
  assert.equal(
    await meet({ keys, trusts: first.keys.certificatePem }, { keys, trusts: first.keys.certificatePem }),
    'welcome',
  );
});

test('a request that is none, or that its key did not sign, is refused', async () => {
  const authority = await Authority.create(systemClock);
  const subject = { nodeId, swarmId, role: 'worker' } as const;
  const { requestPem } = await requestCertificate();
  const bytes = Buffer.from(requestPem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] ?? 0) ^ 1;
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  for (const text of ['', 'rubbish', authority.keys.certificatePem, forged])
    await assert.rejects(authority.issue(text, subject), { code: 'joinRefused' }, text);
});

test('TLS: nodes of one swarm meet; strangers, the expired and workers as servers are refused', async () => {
  const authority = await Authority.create(systemClock);
  const other = await Authority.create(systemClock);
  const [ours, theirs] = [authority.keys.certificatePem, other.keys.certificatePem];
  const server = { keys: await newNode(authority, 'manager'), trusts: ours };
  const worker = await newNode(authority, 'worker');
  assert.equal(await meet(server, { keys: worker, trusts: ours }), 'welcome');
  assert.equal(await meet(server, { trusts: ours }), 'UNABLE_TO_GET_ISSUER_CERT', 'no certificate');
  assert.notEqual(await meet(server, { keys: await newNode(other, 'worker'), trusts: ours }), 'welcome');
  const expired = await newNode(authority, 'worker', -1000);
  assert.equal(await meet(server, { keys: expired, trusts: ours }), 'CERT_HAS_EXPIRED');
  assert.match(
    await meet(server, { keys: worker, trusts: theirs }),
    /CERT|ISSUER/,
    'a swarm of somebody else',
  );
  assert.equal(
    await meet({ keys: worker, trusts: ours }, { keys: worker, trusts: ours }),
    'ERR_TLS_CERT_ALTNAME_INVALID',
  );
});
