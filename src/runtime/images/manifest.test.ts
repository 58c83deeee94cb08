import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chainIds,
  documentMaxBytes,
  parseConfig,
  parseIndex,
  parseManifest,
  parsePlatform,
  parseSaved,
  selectPlatform,
  fitsPlatform,
} from './manifest.ts';

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const digest = (c: string): string => `sha256:${c.repeat(64)}`;
const blob = (c: string): object => ({ mediaType: 'm', digest: digest(c), size: 1 });

test('parseManifest reads a manifest and tells an index apart', () => {
  const bytes = json({ schemaVersion: 2, config: blob('a'), layers: [blob('b')] });
  assert.equal(parseManifest(bytes)?.layers[0]?.digest, digest('b'));
  assert.equal(parseManifest(json({ schemaVersion: 2, manifests: [] })), undefined);
});

test('documents from outside are refused with a sentence', () => {
  const table: readonly (readonly [() => unknown, RegExp])[] = [
    [() => parseManifest(Buffer.from('{')), /the manifest is not valid JSON/],
    [() => parseManifest(Buffer.from([0xff, 0xfe])), /the manifest is not valid JSON/],
    [() => parseManifest(Buffer.alloc(documentMaxBytes + 1, 32)), /the manifest is larger than/],
    [() => parseManifest(json([])), /the manifest is not an object/],
    [() => parseManifest(json({ schemaVersion: 1 })), /not of schema version 2/],
    [() => parseManifest(json({ schemaVersion: 2, layers: {} })), /layers of the manifest is not a list/],
    [
      () => parseManifest(json({ schemaVersion: 2, config: { digest: 'md5:1', size: 1 }, layers: [] })),
      /the digest of the config is not sha256/,
    ],
    [
      () => parseManifest(json({ schemaVersion: 2, config: { digest: digest('a'), size: -1 }, layers: [] })),
      /the size of the config/,
    ],
    [
      () => parseManifest(json({ schemaVersion: 2, config: blob('a'), layers: Array(126).fill(blob('b')) })),
      /more than 125 layers/,
    ],
    [() => parseSaved(json({})), /manifest.json is not a list/],
    [() => parseSaved(json([{ Layers: [] }])), /names no config/],
    [() => parseSaved(json([{ Config: 'c', Layers: [1] }])), /Layers of manifest.json is not text/],
    [() => parseConfig(json({})), /rootfs of the image config is not an object/],
    [() => parseConfig(json({ rootfs: { diff_ids: ['x'] } })), /a diff id is not sha256/],
    [() => parseConfig(json({ os: 'windows', rootfs: { diff_ids: [] } })), /the image is for windows/],
    [() => parseConfig(json({ rootfs: {}, config: { Env: 'A=1' } })), /Env is not a list/],
    [() => parsePlatform('linux/arm/v7/x'), /unknown operating system or architecture/],
    [() => parsePlatform('windows/amd64'), /unknown operating system or architecture/],
  ];
  for (const [work, message] of table) assert.throws(work, message);
});

test('selectPlatform takes the wanted architecture and variant', () => {
  const entry = (architecture: string, variant?: string): object => ({
    ...blob('a'),
    mediaType: `${architecture}${variant ?? ''}`,
    platform: { os: 'linux', architecture, variant },
  });
  const entries = parseIndex(
    json({ manifests: [entry('amd64'), entry('arm', 'v6'), entry('arm', 'v7'), entry('unknown')] }),
  );
  assert.equal(selectPlatform(entries, parsePlatform('linux/amd64'))?.mediaType, 'amd64');
  assert.equal(selectPlatform(entries, parsePlatform('linux/arm/v7'))?.mediaType, 'armv7');
  assert.equal(selectPlatform(entries, parsePlatform('x86_64'))?.mediaType, 'amd64');
  assert.equal(selectPlatform(entries, parsePlatform('linux/s390x')), undefined);
});

test('the variant that all of an architecture have is the same as none', () => {
  for (const [given, architecture, variant, isFitting] of [
    ['linux/arm64/v8', 'arm64', undefined, true],
    ['linux/arm64/8', 'arm64', 'v8', true],
    ['linux/aarch64', 'arm64', 'v8', true],
    ['linux/arm64/v9', 'arm64', 'v8', false],
    ['linux/amd64/v1', 'amd64', undefined, true],
    ['linux/amd64/v2', 'amd64', undefined, false],
    ['linux/arm/v7', 'arm', undefined, false],
    ['linux/arm', 'arm', 'v7', true],
    ['linux/arm/v8', 'arm64', 'v8', false],
  ] as const) {
    const actual = { os: 'linux', architecture, ...(variant !== undefined && { variant }) };
    assert.equal(fitsPlatform(actual, parsePlatform(given)), isFitting, given);
    const entries = parseIndex(json({ manifests: [{ ...blob('a'), platform: actual }] }));
    assert.equal(selectPlatform(entries, parsePlatform(given)) !== undefined, isFitting, given);
  }
});

test('chainIds follows the OCI rule', () => {
  assert.deepEqual(chainIds([]), []);
  const [first, second] = chainIds([digest('a'), digest('b')]);
  assert.equal(first, digest('a'));
  // printf 'sha256:aaa… sha256:bbb…' | sha256sum
  assert.match(second ?? '', /^sha256:[0-9a-f]{64}$/);
});
