import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLogConfig, logAttributes, logBufferBytes, logFileRules, logTag } from './logOptions.ts';

for (const [driver, options, expected] of [
  ['foo', {}, /^error looking up logging plugin foo: plugin "foo" not found$/],
  ['syslog', {}, /^the log driver syslog is not supported yet$/],
  ['json-file', { foo: '1' }, /^unknown log opt 'foo' for json-file log driver$/],
  ['local', { tag: 'x' }, /^unknown log opt 'tag' for log driver local$/],
  ['json-file', { mode: 'foo' }, /^logger: logging mode not supported: foo$/],
  ['journald', { 'max-size': '1m' }, /^unknown log opt 'max-size' for journald log driver$/],
  [
    'local',
    { mode: 'non-blocking', 'max-buffer-size': 'x' },
    /^error parsing option max-buffer-size: invalid size: 'x'$/,
  ],
  [
    'json-file',
    { 'max-buffer-size': '1' },
    /^logger: max-buffer-size option is only supported with 'mode=non-blocking'$/,
  ],
  ['json-file', { 'max-size': 'x' }, /^failed to initialize logging driver: invalid size: 'x'$/],
  ['json-file', { 'max-size': '-1' }, /driver: invalid size: '-1'$/],
  ['json-file', { 'max-size': '0' }, /driver: max-size must be a positive number$/],
  ['json-file', { 'max-file': '0' }, /driver: max-file cannot be less than 1$/],
  ['json-file', { 'max-file': 'x' }, /driver: strconv.Atoi: parsing "x": invalid syntax$/],
  ['json-file', { compress: 'x' }, /driver: strconv.ParseBool: parsing "x": invalid syntax$/],
  [
    'json-file',
    { compress: 'true' },
    /driver: compress cannot be true when max-file is less than 2 or max-size is not set$/,
  ],
] as const) {
  test(`${driver} with ${JSON.stringify(options)} is refused`, () =>
    assert.throws(() => checkLogConfig({ driver, options }), { message: expected }));
}

test('what the options say of the files', () => {
  const plain = { maxFiles: 1, compresses: false, keepsBytes: false };
  const local = { maxBytes: 20 * 1024 * 1024, maxFiles: 5, compresses: true, keepsBytes: true };
  for (const [driver, options, expected] of [
    ['json-file', {}, plain],
    ['json-file', { 'max-size': '10m' }, { ...plain, maxBytes: 10_000_000 }],
    [
      'json-file',
      { 'max-size': '1.5 kB', 'max-file': '3', compress: 'true' },
      { maxBytes: 1500, maxFiles: 3, compresses: true, keepsBytes: false },
    ],
    ['local', {}, local],
    ['local', { 'max-file': '1' }, { ...local, maxFiles: 1, compresses: false }],
    ['none', { anything: '1' }, undefined],
    ['journald', {}, undefined],
  ] as const)
    assert.deepEqual(logFileRules({ driver, options }), expected);
});

test('what may wait for the log before lines are dropped: memory is counted in powers of 1024', () => {
  for (const [options, expected] of [
    [{}, undefined],
    [{ mode: 'blocking' }, undefined],
    [{ mode: 'non-blocking' }, 1_000_000],
    [{ mode: 'non-blocking', 'max-buffer-size': '4m' }, 4 * 1024 * 1024],
    [{ mode: 'non-blocking', 'max-buffer-size': '0' }, 0],
  ] as const)
    assert.equal(logBufferBytes({ driver: 'local', options }), expected);
});

test('labels, variables and a tag go with each line', () => {
  const subject = {
    ...{ id: 'a'.repeat(64), name: 'web', imageId: `sha256:${'b'.repeat(64)}`, imageName: 'busybox' },
    labels: { l: 'v', other: 'w' },
    env: ['A=1', 'BB=x=y', 'C=3'],
  };
  const of = (options: Readonly<Record<string, string>>) =>
    logAttributes({ driver: 'json-file', options }, subject);
  assert.deepEqual(of({}), {});
  assert.deepEqual(of({ labels: 'l,absent', env: 'A', 'env-regex': '^B' }), { l: 'v', A: '1', BB: 'x=y' });
  assert.deepEqual(of({ tag: '{{.Name}}/{{ .ID }}/{{.ImageID}}/{{.ImageName}}/{{.DaemonName}}' }), {
    tag: `web/${'a'.repeat(12)}/${'b'.repeat(12)}/busybox/docker`,
  });
  assert.equal(logTag({ driver: 'journald', options: {} }, subject, '{{.ID}}'), 'a'.repeat(12));
  for (const [options, expected] of [
    [{ tag: '{{.Foo}}' }, /template: log-tag: \{\{\.Foo}} is none of \{\{\.ID}} /],
    [{ tag: '{{' }, /template: log-tag:1: unclosed action/],
    [{ 'env-regex': '(' }, /error parsing regexp: /],
  ] as const)
    assert.throws(() => of(options), { message: expected });
});
