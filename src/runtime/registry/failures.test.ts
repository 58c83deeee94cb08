import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseReference } from '../images/reference.ts';
import { explainAnswer, isCertificateFailure, refusal, unreachable } from './failures.ts';

const url = 'https://reg.example/v2/a/b/manifests/1';
const say = (status: number, challenge: string, body: string): string =>
  refusal(parseReference('reg.example/a/b:1'), explainAnswer(status, challenge, body), url).message;
const errors = (code: string, message: string): string => JSON.stringify({ errors: [{ code, message }] });

test('answers of registries become Docker’s sentences', () => {
  const table: readonly (readonly [number, string, string, string])[] = [
    [
      404,
      '',
      errors('MANIFEST_UNKNOWN', 'manifest unknown'),
      'manifest for reg.example/a/b:1 not found: manifest unknown: manifest unknown',
    ],
    [
      404,
      '',
      errors('NAME_UNKNOWN', ''),
      'repository reg.example/a/b not found: name unknown: repository name not known to registry',
    ],
    [
      401,
      'Bearer realm="https://auth",error="insufficient_scope"',
      errors('UNAUTHORIZED', 'authentication required'),
      "pull access denied for reg.example/a/b, repository does not exist or may require 'docker login': " +
        'denied: requested access to the resource is denied',
    ],
    [401, 'Bearer realm="https://auth",error="invalid_token"', '', 'unauthorized: authentication required'],
    [429, '', errors('TOOMANYREQUESTS', 'slow down'), 'toomanyrequests: slow down'],
    [418, '', '<html>', `Get "${url}": unexpected answer: status 418`],
    [400, '', '{"errors":[7]}', `Get "${url}": unexpected answer: status 400`],
  ];
  for (const [status, challenge, body, expected] of table)
    assert.equal(say(status, challenge, body), expected);
});

test('connections that fail are told as Docker tells them', () => {
  const failed = (cause: object): string =>
    unreachable(url, Object.assign(new TypeError('fetch failed'), { cause })).message.replace(
      `Get "${url}": `,
      '',
    );
  assert.equal(
    failed({ code: 'ECONNREFUSED', address: '192.0.2.1', port: 443 }),
    'dial tcp 192.0.2.1:443: connect: connection refused',
  );
  assert.equal(
    failed({ errors: [{ code: 'ECONNREFUSED' }, { code: 'EHOSTUNREACH', address: '192.0.2.1', port: 1 }] }),
    'dial tcp 192.0.2.1:1: connect: no route to host',
  );
  assert.equal(
    failed({ code: 'ENOTFOUND', hostname: 'reg.example' }),
    'dial tcp: lookup reg.example: no such host',
  );
  assert.equal(failed({ code: 'UND_ERR_SOCKET', message: 'other side closed' }), 'unexpected EOF');
  assert.equal(
    failed({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT', message: 'self-signed certificate' }),
    'tls: failed to verify certificate: self-signed certificate',
  );
});

test('a bad certificate is told from a server that speaks no TLS', () => {
  const withCode = (code: string): Error => Object.assign(new TypeError('fetch failed'), { cause: { code } });
  assert.equal(isCertificateFailure(withCode('CERT_HAS_EXPIRED')), true);
  assert.equal(isCertificateFailure(withCode('ERR_SSL_WRONG_VERSION_NUMBER')), false);
  assert.equal(isCertificateFailure(withCode('ECONNREFUSED')), false);
});
