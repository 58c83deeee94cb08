import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpointOptionProblems, sysctlsOf, wantedInterfaceName } from './endpointOptions.ts';

const name = 'com.docker.network.endpoint.ifname';
const sysctls = 'com.docker.network.endpoint.sysctls';

test('sysctls get the interface’s name, in whichever case it was left out', () => {
  const driverOptions = {
    [sysctls]: 'net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.ifname.gc_stale_time=9',
  };
  assert.deepEqual(endpointOptionProblems({ driverOptions }), []);
  assert.deepEqual(sysctlsOf({ driverOptions }, 'eth0.5'), [
    { key: 'net/ipv4/conf/eth0.5/log_martians', value: '1' },
    { key: 'net/ipv6/neigh/eth0.5/gc_stale_time', value: '9' },
  ]);
});

test('without options there is no name and nothing to set', () => {
  assert.equal(wantedInterfaceName({ driverOptions: {} }), undefined);
  assert.deepEqual(sysctlsOf({ driverOptions: {} }, 'eth0'), []);
});

for (const text of [
  '',
  'net.ipv4.conf.eth0.forwarding=1',
  'net.ipv4.IFNAME=1',
  'net.core.conf.IFNAME.x=1',
  'net.ipv4.conf.IFNAME.forwarding',
  'net.ipv4.conf.IFNAME.../../x=1',
  'net.ipv4.conf.IFNAME.x/y=1',
  'kernel.ipv4.conf.IFNAME.x=1',
]) {
  test(`the sysctl ${JSON.stringify(text)} is refused`, () => {
    assert.deepEqual(endpointOptionProblems({ driverOptions: { [sysctls]: text } }), [
      `unrecognised network interface sysctl '${text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'`,
    ]);
  });
}

for (const bad of ['', 'a/b', 'a:b', 'a b', 'lo', '..', 'all', 'sixteen-letters-']) {
  test(`the interface name ${JSON.stringify(bad)} is refused`, () =>
    assert.deepEqual(endpointOptionProblems({ driverOptions: { [name]: bad } }), [
      `invalid interface name: ${bad}`,
    ]));
}

test('an option that nobody reads is refused', () =>
  assert.deepEqual(endpointOptionProblems({ driverOptions: { foo: 'bar' } }), [
    'unknown endpoint option "foo"',
  ]));
