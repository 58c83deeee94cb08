import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allowsPlainHttp, hostOf, registryUrls } from './endpoint.ts';

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

test('registryUrls tries HTTPS first, and Docker Hub at its registry', () => {
  assert.deepEqual(registryUrls('docker.io', []), ['https://registry-1.docker.io']);
  assert.deepEqual(registryUrls('reg.example:5000', []), ['https://reg.example:5000']);
  assert.deepEqual(registryUrls('localhost:5000', []), ['https://localhost:5000', 'http://localhost:5000']);
});
