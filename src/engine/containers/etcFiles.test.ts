import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  formatHosts,
  formatResolvConf,
  ndotsOf,
  ownNames,
  parseExtraHost,
  readText,
  rewriteResolvConf,
  updateHosts,
  withDefaults,
  writeResolvConf,
} from './etcFiles.ts';

const none = { dns: [], dnsSearch: [], dnsOptions: [] };

test('a hosts file has Docker\u2019s head, extra hosts, then the container\u2019s own addresses', () => {
  const text = formatHosts({
    extraHosts: ['db:10.0.0.9', 'gw=host-gateway', 'six:[fd00::1]'],
    hostGatewayIps: ['172.17.0.1', 'fd00::2'],
    addresses: ['172.17.0.2'],
    names: ownNames('web', 'example.org'),
  });
  assert.equal(
    text,
    `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
10.0.0.9\tdb
172.17.0.1\tgw
fd00::2\tgw
fd00::1\tsix
172.17.0.2\tweb.example.org web
`,
  );
});

test('connect and disconnect change only lines of our own form', () => {
  const text = '127.0.0.1\tlocalhost\n172.17.0.2\tweb\n# mine\n10.0.0.1\tweb other\n';
  const connected = updateHosts(text, ['172.17.0.2', '172.18.0.2'], 'web');
  assert.equal(connected, `${text}172.18.0.2\tweb\n`);
  assert.equal(updateHosts(connected, ['172.18.0.2'], 'web'), connected.replace('172.17.0.2\tweb\n', ''));
  assert.equal(updateHosts(text, ['172.17.0.2'], 'web'), text);
});

test('extra hosts that are none are refused', () => {
  assert.deepEqual(parseExtraHost('a:1.2.3.4'), { name: 'a', ip: '1.2.3.4' });
  assert.deepEqual(parseExtraHost('a:fd00::1'), { name: 'a', ip: 'fd00::1' });
  assert.throws(() => parseExtraHost('a'), /^LinkspanError: bad format for add-host: "a"$/);
  assert.throws(() => parseExtraHost('a:b'), /invalid IP address in add-host: "b"/);
});

test('resolv.conf is the host\u2019s, less what the container cannot reach, under the user\u2019s wishes', () => {
  const host =
    '# comment\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch lan home\noptions edns0 trust-ad\n';
  const table: readonly [Parameters<typeof formatResolvConf>, string][] = [
    [[host, none, 'plain'], 'nameserver 9.9.9.9\nsearch lan home\noptions edns0 trust-ad\n'],
    [['nameserver ::1\n', none, 'plain'], 'nameserver 8.8.8.8\nnameserver 8.8.4.4\n'],
    [['', none, 'plain'], 'nameserver 8.8.8.8\nnameserver 8.8.4.4\n'],
    [
      [host, { ...none, dns: ['1.1.1.1'] }, 'plain'],
      'nameserver 1.1.1.1\nsearch lan home\noptions edns0 trust-ad\n',
    ],
    [
      [host, { dns: ['1.1.1.1'], dnsSearch: ['.'], dnsOptions: ['ndots:2'] }, 'plain'],
      'nameserver 1.1.1.1\noptions ndots:2\n',
    ],
    [[host, none, 'host'], host],
    [
      [host, { ...none, dnsSearch: ['x'] }, 'host'],
      'nameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch x\noptions edns0 trust-ad\n',
    ],
  ];
  for (const [args, expected] of table) assert.equal(formatResolvConf(...args), expected);
});

test('with our resolver the file names it, and ndots:0 unless somebody else set ndots', () => {
  const host = 'nameserver 9.9.9.9\nsearch lan\noptions edns0\n';
  const table: readonly [Parameters<typeof formatResolvConf>, string][] = [
    [[host, none, 'resolver'], 'nameserver 127.0.0.11\nsearch lan\noptions edns0 ndots:0\n'],
    [['', none, 'resolver'], 'nameserver 127.0.0.11\noptions ndots:0\n'],
    [
      [host, { dns: ['1.1.1.1'], dnsSearch: ['a', 'b'], dnsOptions: ['ndots:3', 'rotate'] }, 'resolver'],
      'nameserver 127.0.0.11\nsearch a b\noptions ndots:3 rotate\n',
    ],
    [['options ndots:2\n', none, 'resolver'], 'nameserver 127.0.0.11\noptions ndots:2\n'],
  ];
  for (const [args, expected] of table) assert.equal(formatResolvConf(...args), expected);
  assert.deepEqual(
    [ndotsOf('options ndots:2\n', none), ndotsOf(host, none), ndotsOf('options ndots:x\n', none)],
    [2, 0, 0],
  );
});

test('the daemon\u2019s settings hold one by one where the container has none', () => {
  const defaults = { dns: ['1.1.1.1'], dnsSearch: ['d'], dnsOptions: ['rotate'] };
  assert.deepEqual(withDefaults({ ...none, dnsSearch: ['own'] }, defaults), {
    ...defaults,
    dnsSearch: ['own'],
  });
});

test('a resolv.conf is written anew until the user changes it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-etc-'));
  try {
    const path = join(folder, 'resolv.conf');
    writeResolvConf(path, 'one\n');
    rewriteResolvConf(path, 'two\n');
    assert.equal(readText(path), 'two\n');
    writeFileSync(path, 'mine\n');
    rewriteResolvConf(path, 'three\n');
    assert.equal(readText(path), 'mine\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
