import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkVolumeOptions, hostMountOf, mountFailure, serverOf } from './volumeOptions.ts';

for (const [options, message] of [
  [{ foo: 'bar' }, 'create x: invalid option: "foo"'],
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

test('a mount that fails is told in Docker’s words', () => {
  const what = { type: 'none', source: '/no', options: ['bind', 'uid=1'] };
  const begin = "error while mounting volume '/v': failed to mount local volume: mount /no:/v, data: uid=1: ";
  assert.equal(
    mountFailure('/v', what, 'mount: /v: special device /no does not exist.'),
    `${begin}no such file or directory`,
  );
  assert.equal(mountFailure('/v', what, 'connection timed out'), `${begin}connection timed out`);
});
