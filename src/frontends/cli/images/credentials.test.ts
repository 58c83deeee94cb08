import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Io } from '../io.ts';
import { findCredentials, registryAuth, registryConfig } from './credentials.ts';

/** With a folder of its own for config.json and helpers; `said` is what it writes to stderr. */
function openIo(
  t: TestContext,
  config: string,
): { readonly io: Io; readonly said: string[]; folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-credentials-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'config.json'), config);
  const said: string[] = [];
  const env = { DOCKER_CONFIG: folder, PATH: `${folder}:/usr/bin:/bin` };
  const io = { env, err: (text: string) => void said.push(text) } as unknown as Io;
  return { io, said, folder };
}

function decode(header: string | undefined): unknown {
  return JSON.parse(Buffer.from(header ?? '', 'base64url').toString());
}

function addHelper(folder: string, name: string, script: string): void {
  const path = join(folder, `docker-credential-${name}`);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

for (const [what, script, why] of [
  ['is missing', undefined, /exec: "docker-credential-bad": .*ENOENT/],
  ['fails', 'cat >/dev/null; echo locked; exit 1', /exit status 1, out: `locked`/],
  ['answers nonsense', 'cat >/dev/null; echo secret', /docker-credential-bad answers what is no JSON/],
] as const)
  test(`a credential helper that ${what} ends a login, and is a warning to what may need none`, (t) => {
    const { io, said, folder } = openIo(
      t,
      '{"credsStore":"bad","auths":{"a.example":{},"b.example":{}},"credHelpers":{"c.example":"good"}}',
    );
    if (script !== undefined) addHelper(folder, 'bad', script);
    addHelper(folder, 'good', `cat >/dev/null; echo '{"Username":"ann","Secret":"s"}'`);
    assert.throws(() => findCredentials(io, 'a.example'), why);
    assert.deepEqual(decode(registryAuth(io, 'a.example/x:1')['X-Registry-Auth']), {});
    assert.equal(said.length, 1);
    assert.match(said[0] ?? '', why);
    assert.match(said[0] ?? '', /^WARNING: error getting credentials - err: [^\n]*\n$/);
    said.length = 0;
    assert.deepEqual(decode(registryConfig(io)['X-Registry-Config']), {
      'c.example': { username: 'ann', password: 's' },
    });
    assert.equal(said.length, 1);
  });

test('a config.json that is no JSON ends a login, and nothing else', (t) => {
  const { io, said } = openIo(t, '{');
  assert.throws(() => findCredentials(io, 'a.example'), /invalid JSON/);
  assert.deepEqual(decode(registryAuth(io, 'a.example/x:1')['X-Registry-Auth']), {});
  assert.deepEqual(decode(registryConfig(io)['X-Registry-Config']), {});
  // The program has said so before.
  assert.deepEqual(said, []);
});
