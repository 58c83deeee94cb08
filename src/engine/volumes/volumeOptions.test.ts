import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkVolumeOptions, hostMountOf, mountFailure, serverOf, withAddress } from './volumeOptions.ts';

for (const [options, message] of [
  [{ foo: 'bar' }, 'create x: invalid option: "foo"'],
  [{ constructor: 'x' }, 'create x: invalid option: "constructor"'],
  [{ type: 'tmpfs' }, 'create x: missing required option: "device"'],
  [{ device: 'tmpfs' }, 'create x: missing required option: "type"'],
  [{ o: 'size=1m' }, 'create x: missing required option: "device"'],
  [{ size: '10m' }, 'create x: quota size requested but no quota support'],
] as const) {
  test(`a volume cannot have the options ${JSON.stringify(options)}`, () => {
    assert.throws(() => checkVolumeOptions('x', options), {
      code: 'volumeInvalid',
      message,
    });
  });
}

test('a volume with a device is mounted as its options say', () => {
  const options = { type: 'nfs', device: ':/x', o: 'addr=server,ro,' };
  checkVolumeOptions('x', options);
  const mount = hostMountOf(options);
  assert.deepEqual(mount, { type: 'nfs', source: ':/x', options: ['addr=server', 'ro'] });
  assert.equal(serverOf(mount), 'server');
  assert.equal(serverOf({ ...mount, type: 'tmpfs' }), undefined);
  assert.equal(hostMountOf({}), undefined);
});

for (const [o, expected] of [
  ['bind', 'bind,rslave'],
  ['ro,rbind', 'ro,rbind,rslave'],
  ['bind,rshared', 'bind,rshared'],
  ['bind,private', 'bind,private'],
  ['size=1m', 'size=1m'],
] as const)
  test(`a volume with o=${o} is no peer of what it is made of, unless asked for`, () => {
    assert.equal(hostMountOf({ type: 'none', device: '/x', o })?.options.join(','), expected);
  });

for (const [type, device, o, server, expected] of [
  ['nfs', ':/x', 'ro,addr=box,soft', 'box', 'ro,addr=192.0.2.1,soft'],
  ['nfs', 'box:/x', 'ro', undefined, undefined],
  ['cifs', '//box/share/a', 'username=u', 'box', 'username=u,addr=192.0.2.1'],
  ['cifs', '//box/share', 'addr=other', 'other', 'addr=192.0.2.1'],
  ['cifs', '//box/share', 'ip=192.0.2.7', undefined, undefined],
  ['cifs', '//192.0.2.7/share', '', undefined, undefined],
  ['none', '//box/share', 'bind', undefined, undefined],
] as const)
  test(`the server of ${type} at ${device} with ${o} is ${server}`, () => {
    const mount = hostMountOf({ type, device, o });
    assert.ok(mount);
    assert.equal(serverOf(mount), server);
    if (expected === undefined) return;
    assert.deepEqual(withAddress(mount, '192.0.2.1'), { ...mount, options: expected.split(',') });
  });

test('what is told of a mount that fails has no password', () => {
  const what = { type: 'cifs', source: '//h/x', options: ['username=u', 'password=hush', 'pass=hush', 'ro'] };
  assert.equal(
    mountFailure('/v', what, 'mount: password=hush: unexpected'),
    "error while mounting volume '/v': failed to mount local volume: mount //h/x:/v, " +
      'data: username=u,password=********,pass=********: mount: password=********',
  );
});

test('a mount that fails is told in Docker’s words', () => {
  const what = { type: 'none', source: '/no', options: ['bind', 'uid=1'] };
  const begin = "error while mounting volume '/v': failed to mount local volume: mount /no:/v, data: uid=1: ";
  assert.equal(
    mountFailure('/v', what, 'mount: /v: special device /no does not exist.'),
    `${begin}no such file or directory`,
  );
  assert.equal(mountFailure('/v', what, 'connection timed out'), `${begin}connection timed out`);
});
