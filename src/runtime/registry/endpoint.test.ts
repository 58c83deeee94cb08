import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allowsPlainHttp, hostOf, parseInsecure, parseMirror, registryUrls } from './endpoint.ts';

test('hostOf takes the port and the brackets off', () => {
  for (const [domain, host] of [
    ['docker.io', 'docker.io'],
    ['reg.example:5000', 'reg.example'],
    ['[fd00::1]:5000', 'fd00::1'],
    ['[::1]', '::1'],
  ])
    assert.equal(hostOf(domain ?? ''), host);
});

test('plain HTTP is for loopback and what is configured', () => {
  const insecure = ['reg.example:5000', 'other.example', '10.1.0.0/16', '192.0.2.7'];
  const table: readonly (readonly [string, boolean])[] = [
    ['localhost', true],
    ['localhost:5000', true],
    ['127.0.0.1:5000', true],
    ['127.9.9.9', true],
    ['[::1]:5000', true],
    ['reg.example:5000', true],
    ['reg.example', false],
    ['reg.example:5001', false],
    ['other.example:1234', true],
    ['10.1.2.3:5000', true],
    ['10.2.2.3:5000', false],
    ['192.0.2.7:80', true],
    ['docker.io', false],
    ['127.0.0.1.example', false],
    ['localhost.example', false],
  ];
  for (const [domain, expected] of table) assert.equal(allowsPlainHttp(domain, insecure), expected, domain);
});

test('a mirror is a bare URL', () => {
  assert.equal(parseMirror('https://mirror.example/'), 'https://mirror.example');
  assert.equal(parseMirror('http://10.0.0.1:5000'), 'http://10.0.0.1:5000');
  const refused: readonly (readonly [string, RegExp])[] = [
    ['mirror.example', /^invalid mirror: "mirror\.example" is not a valid URI$/],
    ['ftp://mirror.example', /^invalid mirror: unsupported scheme "ftp" in "ftp:\/\/mirror\.example"$/],
    ['https://mirror.example/v2', /^invalid mirror: path, query, or fragment at end of the URI/],
    ['https://mirror.example/?x', /^invalid mirror: path, query, or fragment at end of the URI/],
    [
      'https://me:secret@mirror.example',
      /^invalid mirror: username\/password not allowed in URI "https:\/\/xxxxx:xxxxx@mirror\.example"$/,
    ],
  ];
  for (const [given, message] of refused) assert.throws(() => parseMirror(given), { message });
});

test('an insecure registry is a host or a network', () => {
  assert.equal(parseInsecure('reg.example:5000'), 'reg.example:5000');
  assert.equal(parseInsecure('http://reg.example:5000'), 'reg.example:5000');
  assert.equal(parseInsecure('10.0.0.0/8'), '10.0.0.0/8');
  assert.throws(() => parseInsecure('ftp://reg'), /insecure registry ftp:\/\/reg should not contain/);
});

test('registryUrls tries HTTPS first, and Docker Hub at its registry', () => {
  assert.deepEqual(registryUrls('docker.io', []), ['https://registry-1.docker.io']);
  assert.deepEqual(registryUrls('reg.example:5000', []), ['https://reg.example:5000']);
  assert.deepEqual(registryUrls('localhost:5000', []), ['https://localhost:5000', 'http://localhost:5000']);
});
