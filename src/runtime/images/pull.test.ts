import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../base/logger.ts';
import { startLoopbackRegistry } from '../registry/registryStand.ts';
import { listTagsOfAny } from './pull.ts';

test('tags of Docker Hub come from the first mirror that has them, which sees no credentials', async () => {
  const seen: (string | undefined)[] = [];
  await using empty = await startLoopbackRegistry((_, response) => void response.writeHead(404).end());
  await using full = await startLoopbackRegistry((request, response) => {
    seen.push(request.url, request.headers.authorization);
    response.end('{"tags":["1","2"]}');
  });
  const tags = await listTagsOfAny({
    ...full.options,
    reference: { domain: 'docker.io', path: 'library/x' },
    credentials: { username: 'ann', password: 'secret' },
    mirrors: [empty, full].map(({ domain }) => `http://${domain}`),
    logger: silentLogger,
  });
  assert.deepEqual(tags, ['1', '2']);
  assert.deepEqual(seen, ['/v2/library/x/tags/list', undefined]);
});
