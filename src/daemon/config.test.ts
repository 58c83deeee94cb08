import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isUsageEnd, readConfig } from './config.ts';
import { flagRows } from './flags.ts';

function fileWith(text: string): { path: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-config-'));
  const path = join(folder, 'daemon.json');
  writeFileSync(path, text);
  return { path, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

test('without flags the defaults hold', () => {
  const config = readConfig([], 'linkspand');
  assert.deepEqual(config.listen, [{ type: 'unix', path: '/run/linkspan/linkspan.sock' }]);
  assert.equal(config.dataRoot, '/var/lib/linkspan');
  assert.equal(config.allowsIcc, true);
  assert.equal(config.checksSources, true);
  assert.equal(config.poolSources.length, 7);
  assert.deepEqual(config.ignored, []);
});

test('every path follows --exec-root', () => {
  const config = readConfig(['--exec-root', '/tmp/x'], 'linkspand');
  assert.equal(config.pidfile, '/tmp/x/linkspand.pid');
  assert.deepEqual(config.listen, [{ type: 'unix', path: '/tmp/x/linkspan.sock' }]);
});

test('dockerd’s command line of a tool that starts engines is taken', () => {
  using file = fileWith('{}');
  const config = readConfig(
    [
      '--config-file',
      file.path,
      '--data-root',
      '/d',
      '--exec-root',
      '/e',
      '--pidfile',
      '/p',
      '--userland-proxy=false',
      '--containerd-namespace',
      'x',
      '--containerd-plugins-namespace',
      'y',
      '--host',
      'unix:///d/docker.sock',
      '--debug',
      '--storage-driver',
      'overlay2',
      '--default-address-pool',
      'base=10.10.0.0/16,size=24',
      '--live-restore',
      '--iptables=false',
      '--icc=false',
      '--anti-spoof=false',
      '--dns',
      '192.0.2.53',
      '--init=false',
      '--ipv6=false',
      '--default-network-opt=bridge=com.docker.network.driver.mtu=1400',
    ],
    'dockerd',
  );
  assert.equal(config.logLevel, 'debug');
  assert.equal(config.allowsIcc, false);
  assert.equal(config.checksSources, false);
  assert.equal(config.ignored.length, 6);
  assert.deepEqual(config.networkOptions, { bridge: { 'com.docker.network.driver.mtu': '1400' } });
});

test('the file says what flags say, and not the same thing twice', () => {
  using file = fileWith(
    JSON.stringify({
      hosts: ['unix:///x.sock'],
      'default-address-pools': [{ base: '10.0.0.0/8', size: 24 }],
      'default-network-opts': { bridge: { a: 'b' } },
      mtu: 1400,
    }),
  );
  const config = readConfig(['--config-file', file.path], 'linkspand');
  assert.equal(config.mtuBytes, 1400);
  assert.deepEqual(config.networkOptions, { bridge: { a: 'b' } });
  assert.throws(
    () => readConfig(['--config-file', file.path, '--mtu', '1500'], 'linkspand'),
    /both as a flag and in the configuration file: mtu/,
  );
});

for (const [args, expected] of [
  [['--bip6', 'fd00::1/64'], /--bip6 needs --ipv6/],
  [['--ipv6', '--bip6', '10.0.0.1/24'], /invalid --bip6: 10\.0\.0\.1\/24/],
  [['--ipv6', '--fixed-cidr-v6', 'fd00::1/64'], /invalid --fixed-cidr-v6/],
  [['--bip', 'fd00::1/64'], /invalid --bip: fd00::1\/64/],
  [['--userns-remap', 'default'], /--userns-remap is refused/],
  [['-H', 'tcp://0.0.0.0:2375'], /loopback only/],
  [['-H', 'fd://'], /cannot listen on fd/],
  [['--bip', '172.17.0.1'], /invalid --bip/],
  [['--bip', '172.17.0.1/16', '-b', 'br9'], /mutually exclusive/],
  [['--default-address-pool', 'base=10.0.0.1/8,size=24'], /invalid default address pool/],
  [['--log-level', 'loud'], /invalid logging level/],
  [['--icc=maybe'], /not true or false/],
  [['--config-file', '/nowhere/daemon.json'], /unable to configure the daemon/],
] as const) {
  test(`readConfig refuses ${args.join(' ')}`, () =>
    assert.throws(() => readConfig(args, 'linkspand'), expected));
}

for (const [text, expected] of [
  ['{', /invalid JSON/],
  ['[]', /not a JSON object/],
  ['{"nope": 1}', /don't match any configuration option: nope/],
  ['{"mtu": "1500"}', /wrong type/],
] as const) {
  test(`readConfig refuses a file with ${text}`, () => {
    using file = fileWith(text);
    assert.throws(() => readConfig(['--config-file', file.path], 'linkspand'), expected);
  });
}

test('every flag is honoured, without effect for a reason, or refused', () => {
  for (const row of flagRows) assert.ok(row.about || row.ignored || row.refused, row.flag);
  assert.equal(new Set(flagRows.map(({ flag }) => flag)).size, flagRows.length);
});

test('an unknown flag ends as wrong usage', () => {
  const write = process.stderr.write.bind(process.stderr);
  process.stderr.write = () => true;
  try {
    assert.throws(() => readConfig(['--nope'], 'linkspand'), isUsageEnd);
  } finally {
    process.stderr.write = write;
  }
});

test('--store names members of etcd, and its files are nothing without it', () => {
  const store = (...args: readonly string[]) => readConfig(args, 'linkspand').store;
  assert.equal(store(), undefined);
  assert.deepEqual(store('--store', 'etcd://192.0.2.1:2379'), { endpoints: ['192.0.2.1:2379'] });
  assert.deepEqual(
    store(
      '--store=etcd://a.example:2379,[2001:db8::1]:1',
      '--store-ca=/ca',
      '--store-cert=/c',
      '--store-key=/k',
    ),
    { endpoints: ['a.example:2379', '[2001:db8::1]:1'], ca: '/ca', certificate: '/c', key: '/k' },
  );
  for (const url of [
    ...['etcd://', 'etcd://a', 'etcd://a:0', 'etcd://a:65536', 'etcd://a:2379,', 'http://a:2379', 'a:2379'],
    ...['etcd://[a]:1', 'etcd://a:1/x', 'etcd://u@a:1', 'sqlite://x'],
  ])
    assert.throws(() => store('--store', url), /invalid --store: .*: give etcd:\/\//, url);
  assert.throws(() => store('--store-ca', '/ca'), /need --store/);
  assert.throws(() => store('--store', 'etcd://a:1', '--store-cert', '/c'), /come together/);
});

test('--log-driver and --log-opt are those of containers that name none, and checked', () => {
  const log = (...args: readonly string[]) => readConfig(args, 'linkspand').containerLog;
  assert.deepEqual(log(), { driver: 'json-file', options: {} });
  const given = { driver: 'local', options: { 'max-size': '1m' } };
  assert.deepEqual(log('--log-driver', 'local', '--log-opt', 'max-size=1m'), given);
  using file = fileWith(JSON.stringify({ 'log-driver': 'local', 'log-opts': { 'max-size': '1m' } }));
  assert.deepEqual(log('--config-file', file.path), given);
  assert.throws(() => log('--log-opt', 'max-size'), /--log-opt takes KEY=VALUE, not max-size/);
  assert.throws(
    () => log('--log-opt', 'x=1'),
    /failed to set log opts: unknown log opt 'x' for json-file log driver/,
  );
  assert.throws(() => log('--log-driver', 'x'), /failed to set log opts: error looking up logging plugin x/);
});
