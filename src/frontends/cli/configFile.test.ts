import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig, proxyVariables, withPruneFilters } from './configFile.ts';
import type { Io } from './io.ts';

test('filters of the file hold beside those of the command line, unless these say the opposite', () => {
  const config = { pruneFilters: ['label=keep', 'label!=old', 'until=10h', 'nothing'] };
  for (const [given, expected] of [
    [[], ['label=keep', 'label!=old', 'until=10h']],
    [
      ['label!=keep', 'until=1h'],
      ['label!=keep', 'until=1h', 'label!=old', 'until=10h'],
    ],
    [['label=old'], ['label=old', 'label=keep', 'until=10h']],
  ] as const)
    assert.deepEqual(withPruneFilters(given, config), expected);
});

test('proxies are those of the daemon that is asked, and give way to variables that are set', () => {
  const config = { proxies: { default: { httpProxy: 'p', noProxy: '' }, 'unix:///a': { ftpProxy: 'f' } } };
  assert.deepEqual(proxyVariables(config, 'unix:///b', []), ['HTTP_PROXY=p', 'http_proxy=p']);
  assert.deepEqual(proxyVariables(config, 'unix:///b', ['http_proxy']), ['HTTP_PROXY=p']);
  assert.deepEqual(proxyVariables(config, 'unix:///a', []), ['FTP_PROXY=f', 'ftp_proxy=f']);
});

test('a file that is none is a warning', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  let said = '';
  const io = { env: { DOCKER_CONFIG: folder }, err: (text: string) => void (said += text) } as unknown as Io;
  assert.deepEqual(loadConfig(io), {});
  assert.equal(said, '');
  writeFileSync(join(folder, 'config.json'), '{');
  assert.deepEqual(loadConfig(io), {});
  assert.equal(said, `WARNING: Error loading config file: ${folder}/config.json: invalid JSON\n`);
});
