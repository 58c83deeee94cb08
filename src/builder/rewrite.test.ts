/* What a solve becomes on its way to a BuildKit, against protobufjs's own reading of the bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openWire } from '../codec/protobuf/wire.ts';
import { planPolicy } from './localImages.ts';
import { rewriteSolve } from './rewrite.ts';
import { buildkitSchema, type SolveRequest } from './schema.ts';

const wire = await openWire(buildkitSchema);
/** The same message, in which somebody of a later version knows fields that we do not. */
const later = await openWire({
  ...buildkitSchema,
  messages: {
    ...buildkitSchema.messages,
    SolveRequest: {
      ...buildkitSchema.messages['SolveRequest'],
      ...{
        definition: 'bytes 2',
        flag: 'bool 11',
        fixed: 'fixed64 40',
        small: 'fixed32 41',
        text: 'string 2000',
      },
    },
  },
});
const unknown = {
  definition: Buffer.alloc(300, 7),
  flag: true,
  fixed: '12345678901234',
  small: 9,
  text: 'kept',
};

function rewrite(request: object): SolveRequest & Record<string, unknown> {
  const { bytes } = rewriteSolve(wire, later.message('SolveRequest').serialize(request));
  return later.message('SolveRequest').deserialize(bytes) as SolveRequest & Record<string, unknown>;
}

test('rewriteSolve: moby becomes docker, without what is about a store, and unknown fields stay', () => {
  const attrs = {
    name: 'a:1,b:2',
    'dangling-name-prefix': 'moby-dangling',
    unpack: 'true',
    'annotation.x': 'y',
  };
  const moby = { type: 'moby', attrs };
  const local = { type: 'local', attrs: { dest: 'out' } };
  const request = {
    ...unknown,
    ref: 'r',
    session: 's',
    exporter: 'moby',
    exporter_attrs: attrs,
    exporters: [moby, local],
  };
  const changed = rewrite(request);
  const docker = { type: 'docker', attrs: { name: 'a:1,b:2', 'annotation.x': 'y' } };
  assert.deepEqual(changed.exporters, [docker, local]);
  assert.deepEqual([changed.exporter, changed.exporter_attrs], [docker.type, docker.attrs]);
  assert.deepEqual([changed.ref, changed.session], ['r', 's']);
  const { definition, flag, fixed, small, text } = changed;
  assert.deepEqual({ definition, flag, fixed, small, text }, unknown);
  assert.deepEqual(rewriteSolve(wire, later.message('SolveRequest').serialize(request)).imported, [0]);
});

test('rewriteSolve: the single exporter of old clients, and a push', () => {
  const changed = rewrite({
    session: 's',
    exporter: 'moby',
    exporter_attrs: { name: 'h:5000/a', push: 'true' },
  });
  assert.deepEqual(changed.exporters, [
    { type: 'docker', attrs: { name: 'h:5000/a' } },
    { type: 'image', attrs: { name: 'h:5000/a', push: 'true', store: 'false' } },
  ]);
});

test('rewriteSolve: what is not for the store passes byte by byte', () => {
  for (const request of [
    { ...unknown, ref: 'r' },
    { exporter: 'docker' },
    { exporters: [{ type: 'local' }] },
  ]) {
    const bytes = later.message('SolveRequest').serialize(request);
    assert.deepEqual(rewriteSolve(wire, bytes), { bytes, sessionId: '', imported: [] });
  }
});

test('rewriteSolve: rules for local images come behind those of the client', () => {
  assert.equal(planPolicy([]), undefined);
  const rule = (name: string, target: string): object => ({
    action: 2,
    selector: { identifier: `docker-image://${name}` },
    updates: { identifier: target, attrs: { 'oci.store': 'linkspan-images' } },
  });
  const own = { action: 1, selector: { identifier: 'docker-image://x' }, updates: null };
  const [reference, digest] = ['docker.io/library/a:1', 'sha256:00'];
  const policy = planPolicy([{ reference, digest }]);
  for (const exporter of ['moby', 'local']) {
    const request = { exporter, source_policy: { version: '1', rules: [own] } };
    const { bytes } = rewriteSolve(wire, wire.message('SolveRequest').serialize(request), policy);
    const target = `oci-layout://${reference}@${digest}`;
    assert.deepEqual(
      (wire.message('SolveRequest').deserialize(bytes) as Record<string, unknown>)['source_policy'],
      {
        version: '1',
        rules: [own, rule(reference, target), rule(`${reference}@${digest}`, target)],
      },
    );
  }
});

test('rewriteSolve: a message that is cut off is refused', () => {
  const bytes = wire.message('SolveRequest').serialize({ exporter: 'moby', session: 'session' });
  for (let length = 1; length < bytes.length; length++) {
    // Cut between two fields it is a message.
    try {
      rewriteSolve(wire, bytes.subarray(0, length));
    } catch (error) {
      assert.ok(error instanceof RangeError);
    }
  }
  assert.throws(() => rewriteSolve(wire, bytes.subarray(0, -1)), RangeError);
});
