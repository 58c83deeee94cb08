/*
 * Frames between containers of one network where br_netfilter shows them to the IP rules: not tracked, until somebody's
 * rules may ask for the state of a connection; what is for the host or published is tracked in any case.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '../../src/base/ids.ts';
import type { DriverEndpoint } from '../../src/drivers/interface.ts';
import { parseIp } from '../../src/net/ip.ts';
import { randomMac } from '../../src/net/mac.ts';
import {
  type Container,
  addressSeenBy,
  clientAddress,
  hostAddress,
  openWorld,
  run,
  setBridgeFiltering,
  until,
} from './bridgeWorld.ts';
import { binding, publish, serve, udpAddressSeenBy } from './portWorld.ts';

const isTracked = (from: string, port: number): boolean =>
  run('host', 'cat', '/proc/net/nf_conntrack')
    .split('\n')
    .some((line) => line.includes(`src=${from} `) && line.includes(`dport=${port} `));
const address = (text: string): NonNullable<ReturnType<typeof parseIp>> => {
  const parsed = parseIp(text);
  assert.ok(parsed);
  return parsed;
};
const skips = (): boolean => run('host', 'nft', 'list', 'table', 'bridge', 'linkspan').includes('notrack');
const nft = (...words: readonly string[]): void => void run('host', 'nft', ...words);

test('a connection between neighbours is tracked for those who may ask for its state, and for nobody else', async () => {
  await using world = await openWorld();
  setBridgeFiltering(true);
  const network = await world.createNetwork('172.18.0.0/16');
  const w1 = await world.runContainer('w1', network);
  const w2 = await world.runContainer('w2', network);
  await using _server = await serve('w1', [80, 81, 82, 83, 84]);
  await publish(world, w1, binding(w1, 8080, 80));
  assert.ok(skips());
  assert.equal(addressSeenBy('w2', w1.address, 80), w2.address);
  assert.ok(!isTracked(w2.address, 80), 'a neighbour');
  assert.equal(addressSeenBy('w2', hostAddress, 8080), '172.18.0.1', 'a published port of a neighbour');
  assert.ok(isTracked(w2.address, 8080), 'a published port');
  assert.equal(addressSeenBy('w2', clientAddress), hostAddress, 'outward');
  assert.ok(isTracked(w2.address, 8099), 'outward');

  nft('add', 'rule', 'inet', 'linkspan', 'operator', 'ct state new tcp dport 81 drop');
  await until('the operator has a rule', () => !skips());
  assert.equal(addressSeenBy('w2', w1.address, 81), undefined, 'dropped by its state');
  assert.equal(addressSeenBy('w2', w1.address, 82), w2.address);
  assert.ok(isTracked(w2.address, 82));
  nft('flush', 'chain', 'inet', 'linkspan', 'operator');
  await until('it has none', skips);
  assert.equal(addressSeenBy('w2', w1.address, 81), w2.address);
  assert.ok(!isTracked(w2.address, 81));

  // Stateful, and closed but for one port: it lives of what tracking says of the answers.
  nft('add', 'table', 'inet', 'mine');
  nft('add', 'chain', 'inet', 'mine', 'forward', '{ type filter hook forward priority 0; policy drop; }');
  nft('add', 'rule', 'inet', 'mine', 'forward', 'ct state established accept');
  nft('add', 'rule', 'inet', 'mine', 'forward', 'tcp dport 83 accept');
  await until('another table looks', () => !skips());
  assert.equal(addressSeenBy('w2', w1.address, 83), w2.address);
  assert.equal(addressSeenBy('w2', w1.address, 84), undefined);
  nft('delete', 'table', 'inet', 'mine');
  await until('it is gone', skips);
  assert.deepEqual(await world.firewall.check(), []);
  await world.firewall.stop();
  assert.ok(!skips(), 'while nobody looks, everything is tracked');
});

test('IPv6 between neighbours is not tracked until somebody may ask', async () => {
  await using world = await openWorld();
  run('host', 'sh', '-c', 'echo 1 > /proc/sys/net/bridge/bridge-nf-call-ip6tables');
  const network = await world.createNetwork('172.18.0.0/16');
  const [w1, w2] = [await world.runContainer('w1', network), await world.runContainer('w2', network)];
  const give = async ({ name, endpoint }: Container, text: string): Promise<void> => {
    const { hostInterfaceName: link, mac, addresses } = endpoint;
    const own = [...addresses.map(({ ip }) => ip), address(text)];
    await world.firewall.guardEndpoint({ link, owner: name, mac, addresses: own, isChecked: true });
    run(name, 'sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6');
    run(name, 'ip', 'address', 'add', `${text}/64`, 'dev', 'eth0', 'nodad');
  };
  await give(w1, 'fd00:18::2');
  await give(w2, 'fd00:18::3');
  await using _server = await serve('w1', [80, 81], [], '::');
  assert.equal(addressSeenBy('w2', 'fd00:18::2', 80), 'fd00:18::3');
  assert.ok(!isTracked('fd00:0018:0000:0000:0000:0000:0000:0003', 80));
  nft('add', 'rule', 'inet', 'linkspan', 'operator', 'ct state invalid drop');
  await until('the operator has a rule', () => !skips());
  assert.equal(addressSeenBy('w2', 'fd00:18::2', 81), 'fd00:18::3');
  assert.ok(isTracked('fd00:0018:0000:0000:0000:0000:0000:0003', 81), 'the check above can fail');
});

test('an answer that a container of two networks sends by the other one is still translated back', async () => {
  await using world = await openWorld();
  setBridgeFiltering(true);
  const [near, far] = [
    await world.createNetwork('172.18.0.0/16'),
    await world.createNetwork('172.19.0.0/16'),
  ];
  const client = await world.runContainer('w1', near);
  const server = await world.runContainer('w2', far);
  await using defer = new AsyncDisposableStack();
  const second: DriverEndpoint = {
    ...server.endpoint,
    id: newId(),
    networkId: near.id,
    interfaceName: 'eth1',
    hostInterfaceName: 'vethsecond',
    mac: randomMac(),
    addresses: [{ ip: address('172.18.0.3'), length: 16 }],
    gateways: [],
  };
  await world.driver.attach(near, second, server.path);
  defer.defer(() => world.driver.detach(near, second, undefined));
  await using _server = await serve('w2', [80], [53]);
  await publish(world, server, binding(server, 8080, 80), binding(server, 8053, 53, { proto: 'udp' }));
  assert.ok(skips());
  assert.equal(addressSeenBy('w1', '172.18.0.3', 80), client.address, 'as neighbours');
  assert.ok(!isTracked(client.address, 80));
  assert.match(
    run('w2', 'ip', 'route', 'get', client.address),
    /dev eth1/,
    'the answer leaves by the other one',
  );
  assert.equal(addressSeenBy('w1', hostAddress, 8080), client.address);
  assert.equal(udpAddressSeenBy('w1', hostAddress, 8053), client.address);
});
