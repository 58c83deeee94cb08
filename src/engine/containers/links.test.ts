import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode } from '../../errors/linkspanError.ts';
import type { Container } from '../model.ts';
import { openStand, plain } from './containerStand.ts';
import { readText } from './etcFiles.ts';
import { linkEnvironment, linkHosts, parseLink } from './links.ts';

test('links are read in every form that Docker writes', () => {
  const table: readonly (readonly [string, string, string])[] = [
    ['db', 'db', 'db'],
    ['db:store', 'db', 'store'],
    ['db:', 'db', 'db'],
    ['/db:/web/store', 'db', 'store'],
  ];
  for (const [text, target, alias] of table) assert.deepEqual(parseLink(text), { target, alias });
  assert.throws(() => parseLink(''), /empty string specified for links/);
  assert.throws(() => parseLink('a:b:c'), /bad format for links: a:b:c/);
});

const container = {
  id: 'abcdef0123456789',
  name: 'db',
  spec: {},
  process: { exposedPorts: ['6000/udp', '5432/tcp', '5432/udp'], env: ['PATH=/bin', 'HOME=/', 'A=b=c'] },
} as unknown as Container;

test('a linked container is a line of hosts and a set of variables', () => {
  const linked = { alias: 'my-db', container, address: '172.17.0.2' };
  assert.equal(linkHosts(linked), '172.17.0.2\tmy-db abcdef012345 db\n');
  assert.equal(linkHosts({ ...linked, alias: 'db' }), '172.17.0.2\tdb abcdef012345\n');
  assert.deepEqual(linkEnvironment('web', linked), [
    'MY_DB_PORT=tcp://172.17.0.2:5432',
    ...['tcp', 'udp'].flatMap((protocol) => {
      const name = `MY_DB_PORT_5432_${protocol.toUpperCase()}`;
      return [
        `${name}=${protocol}://172.17.0.2:5432`,
        `${name}_ADDR=172.17.0.2`,
        `${name}_PORT=5432`,
        `${name}_PROTO=${protocol}`,
      ];
    }),
    'MY_DB_PORT_6000_UDP=udp://172.17.0.2:6000',
    'MY_DB_PORT_6000_UDP_ADDR=172.17.0.2',
    'MY_DB_PORT_6000_UDP_PORT=6000',
    'MY_DB_PORT_6000_UDP_PROTO=udp',
    'MY_DB_NAME=/web/my-db',
    'MY_DB_ENV_A=b=c',
  ]);
});

function linking(link: string): Partial<typeof plain> {
  const request = { network: 'bridge', aliases: [], links: [link], driverOptions: {}, gatewayPriority: 0 };
  return { attachments: [request] };
}

test('what a link names must exist at create and run at start', async () => {
  await using stand = await openStand();
  stand.runtime.scripts.set('stays', { stdout: '' });
  await assert.rejects(stand.create('true', 'web', linking('nope')), {
    code: 'containerConfigInvalid',
    message: 'could not get container for nope: No such container: nope',
  });
  const db = await stand.create('stays', 'db');
  const web = await stand.create('stays', 'web', linking('db:store'));
  await assert.rejects(
    stand.containers.start(web),
    (error) =>
      hasCode(error, 'containerStartFailed') &&
      error.message === 'Cannot link to a non running container: /db AS /web/store',
  );
  await stand.containers.start(db);
  await stand.containers.rename(db, 'database');
  await stand.containers.start(web);
  assert.match(readText(stand.containers.get(web).hostsPath), /\tstore [0-9a-f]{12} database\n/);
});
