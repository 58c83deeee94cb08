/*
 * The bridge driver on the real kernel: what devices look like under each option, what is left after removal, sweeping,
 * and a failure at every kernel call.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '../../src/base/ids.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { createBridgeDriver } from '../../src/drivers/bridge/bridge.ts';
import { bridgeLabels as label } from '../../src/drivers/bridge/options.ts';
import { formatOwnerMark } from '../../src/drivers/ownerMark.ts';
import type { DriverNetwork } from '../../src/drivers/interface.ts';
import { LinkspanError } from '../../src/errors/linkspanError.ts';
import { createFirewall } from '../../src/firewall/firewall.ts';
import { type Kernel, KernelError } from '../../src/kernel/kernel.ts';
import { randomMac } from '../../src/net/mac.ts';
import { parsePrefix } from '../../src/net/prefix.ts';
import { expectOpen, openWorld, reaches, run, until } from './bridgeWorld.ts';

interface ShownLink {
  readonly ifname: string;
  readonly mtu: number;
  readonly address: string;
  readonly operstate: string;
  readonly addr_info: readonly {
    readonly family: string;
    readonly local: string;
    readonly prefixlen: number;
  }[];
}

function showLink(name: string, where = 'host'): ShownLink | undefined {
  const links = JSON.parse(run(where, 'ip', '-j', 'address', 'show')) as readonly ShownLink[];
  return links.find(({ ifname }) => ifname === name);
}

/** The owner mark (ip's JSON leaves it out); empty without one or without the link. */
function aliasOf(name: string): string {
  const lines = run('host', 'ip', '-o', 'link', 'show').split('\n');
  return /alias (\S+)/.exec(lines.find((line) => line.includes(`: ${name}:`)) ?? '')?.[1] ?? '';
}

const ipv4Of = (link: ShownLink | undefined): readonly string[] =>
  (link?.addr_info ?? [])
    .filter(({ family }) => family === 'inet')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);

/** Links and elements as an operator sees them, without what counts or varies. */
function snapshot(): string {
  const links = (JSON.parse(run('host', 'ip', '-j', 'address', 'show')) as readonly ShownLink[]).map(
    (link) => [link.ifname, aliasOf(link.ifname), ipv4Of(link)],
  );
  return `${JSON.stringify(links)}\n${run('host', 'nft', '-s', 'list', 'ruleset')}`;
}

test('name, MTU and interface prefix are as the options say; the bridge carries our mark', async () => {
  await using world = await openWorld();
  const network = await world.createNetwork('172.18.0.0/16', {
    [label.name]: 'brx1',
    [label.mtu]: '1400',
    [label.interfacePrefix]: 'net',
  });
  await world.runContainer('w1', network);
  const bridge = showLink('brx1');
  assert.equal(bridge?.mtu, 1400);
  assert.equal(aliasOf('brx1'), formatOwnerMark({ daemonId: 'test', objectId: network.id }));
  assert.equal(Number.parseInt(bridge.address.slice(0, 2), 16) & 3, 2, 'a local unicast MAC');
  assert.deepEqual(ipv4Of(bridge), ['172.18.0.1/16']);
  assert.equal(showLink('net0', 'w1')?.mtu, 1400);
  assert.equal(run('host', 'cat', '/proc/sys/net/ipv6/conf/brx1/accept_ra').trim(), '0');
  await expectOpen(['w1', '172.18.0.1']);
});

test('without options the bridge is br-<12 digits>, and a second ensure changes nothing', async () => {
  await using world = await openWorld();
  const network = await world.createNetwork('172.18.0.0/16');
  const before = snapshot();
  assert.match(before, new RegExp(`br-${network.id.slice(0, 12)}`));
  await world.driver.ensureNetwork(network);
  assert.equal(snapshot(), before);
});

test('inhibited and isolated bridges have no address, and peers still reach each other', async () => {
  await using world = await openWorld();
  const inhibited = await world.createNetwork('172.18.0.0/16', {
    [label.name]: 'br-in',
    [label.inhibit4]: 'true',
  });
  await world.createNetwork(
    '172.19.0.0/16',
    { [label.name]: 'br-iso', [label.gatewayMode4]: 'isolated' },
    true,
  );
  assert.deepEqual(ipv4Of(showLink('br-in')), []);
  assert.deepEqual(ipv4Of(showLink('br-iso')), []);
  await world.runContainer('w1', inhibited);
  const w2 = await world.runContainer('w2', inhibited);
  await expectOpen(['w1', w2.address]);
});

test('a bridge that is there already is used and not deleted; another kind of link is refused', async () => {
  await using world = await openWorld();
  run('host', 'ip', 'link', 'add', 'mybr', 'type', 'bridge');
  const network = await world.createNetwork('172.18.0.0/16', { [label.name]: 'mybr' });
  assert.deepEqual(ipv4Of(showLink('mybr')), ['172.18.0.1/16']);
  assert.equal(aliasOf('mybr'), '');
  await world.runContainer('w1', network);
  await expectOpen(['w1', '172.18.0.1']);
  await world.driver.removeNetwork(network, []);
  assert.ok(showLink('mybr'));
  run('host', 'ip', 'link', 'del', 'mybr');
  await assert.rejects(
    world.createNetwork('172.19.0.0/16', { [label.name]: 'up0' }),
    /existing interface up0 is not a bridge/,
  );
});

test('a bridge that somebody deleted, or gave another address, is made right at the next start', async () => {
  await using world = await openWorld();
  const network = await world.createNetwork('172.18.0.0/16', { [label.name]: 'brx' });
  const before = showLink('brx');
  run('host', 'ip', 'link', 'del', 'brx');
  await world.driver.ensureNetwork(network);
  assert.equal(showLink('brx')?.address, before?.address, 'with the same MAC');
  run('host', 'ip', 'address', 'replace', '10.7.7.7/24', 'dev', 'brx');
  await world.driver.ensureNetwork(network);
  assert.deepEqual(ipv4Of(showLink('brx')), ['172.18.0.1/16']);
});

test('on a network without IPv6 a container has it on lo alone', async () => {
  await using world = await openWorld();
  await world.runContainer('w1', await world.createNetwork('172.18.0.0/16'));
  const disabled = (name: string): string =>
    run('w1', 'cat', `/proc/sys/net/ipv6/conf/${name}/disable_ipv6`).trim();
  assert.deepEqual(['eth0', 'lo', 'all', 'default'].map(disabled), ['1', '0', '0', '0']);
  const addressesOf = (name: string): readonly string[] =>
    (showLink(name, 'w1')?.addr_info ?? []).map(({ local }) => local);
  assert.deepEqual(addressesOf('eth0'), ['172.18.0.2']);
  assert.deepEqual(addressesOf('lo'), ['127.0.0.1', '::1']);
});

test('peers that remember another MAC for an address learn the new one within a second or two', async () => {
  await using world = await openWorld();
  const network = await world.createNetwork('172.18.0.0/16');
  await world.runContainer('w1', network);
  const w2 = await world.runContainer('w2', network);
  await expectOpen(['w1', w2.address], ['host', w2.address]);
  await world.driver.detach(network, w2.endpoint, undefined);
  await world.driver.attach(network, { ...w2.endpoint, mac: randomMac() }, w2.path);
  await until('host and peer reach the address again', async () =>
    (await Promise.all([reaches('w1', w2.address), reaches('host', w2.address)])).every(Boolean),
  );
});

test('a bridge with 1023 ports takes no more: the error says so and nothing is left; one less and it does', async () => {
  await using world = await openWorld();
  const network = await world.createNetwork('172.18.0.0/16', { [label.name]: 'brx' });
  // 512 pairs with both ends in the bridge, but for the last.
  const script =
    'i=0; while [ $i -lt 512 ]; do echo "link add fa$i master brx type veth peer name fb$i";' +
    '[ $i = 511 ] || echo "link set fb$i master brx"; i=$((i + 1)); done | ip -batch -';
  run('host', 'sh', '-c', script);
  const before = run('host', 'ip', '-o', 'link');
  await assert.rejects(
    world.runContainer('w1', network),
    (error) =>
      error instanceof LinkspanError &&
      error.code === 'networkFull' &&
      /bridge brx has the 1023 ports/.test(error.message),
  );
  await world.kernel.removeNamespace('/run/netns/w1');
  assert.equal(run('host', 'ip', '-o', 'link'), before);
  run('host', 'ip', 'link', 'set', 'fa0', 'nomaster');
  await world.runContainer('w1', network);
  await expectOpen(['w1', '172.18.0.1']);
  // All at once: each deletion alone waits for an rcu_barrier.
  run(
    'host',
    'sh',
    '-c',
    'i=0; while [ $i -lt 512 ]; do echo "link set fa$i group 77"; i=$((i + 1)); done | ip -batch -; ip link del group 77',
  );
});

test('removal leaves nothing, and is success when everything is gone already', async () => {
  await using world = await openWorld();
  const before = snapshot();
  const network = await world.createNetwork('172.18.0.0/16');
  assert.notEqual(snapshot(), before);
  await world.driver.removeNetwork(network, []);
  assert.equal(snapshot(), before);
  await world.driver.removeNetwork(network, []);
});

test('sweep deletes what carries this daemon’s mark and belongs to nothing', async () => {
  await using world = await openWorld();
  const kept = await world.createNetwork('172.18.0.0/16');
  const stray = await world.createNetwork('172.19.0.0/16', { [label.name]: 'br-stray' });
  const w1 = await world.runContainer('w1', kept);
  await world.runContainer('w2', kept);
  for (const [name, alias] of [
    ['br-theirs', formatOwnerMark({ daemonId: 'other', objectId: 'x' })],
    ['br-nobody', ''],
  ] as const) {
    run('host', 'ip', 'link', 'add', name, 'type', 'bridge');
    run('host', 'ip', 'link', 'set', name, 'alias', alias);
  }
  const names = async (): Promise<readonly string[]> => (await world.kernel.links()).map(({ name }) => name);
  const actual = { links: await world.kernel.links(), addresses: await world.kernel.addresses() };
  await world.driver.sweep(actual, { networks: [kept], endpoints: [w1.endpoint] });
  const left = await names();
  assert.ok(!left.includes('br-stray'));
  assert.equal(left.filter((name) => name.startsWith('veth')).length, 1);
  assert.ok(left.includes('br-theirs') && left.includes('br-nobody'));
  assert.doesNotMatch(run('host', 'nft', 'list', 'table', 'inet', 'linkspan'), /br-stray|172\.19/);
  for (const name of ['br-theirs', 'br-nobody']) run('host', 'ip', 'link', 'del', name);
  await world.driver.removeNetwork(stray, []);
});

interface FailingKernel {
  readonly kernel: Kernel;
  /** Calls until now. */
  readonly count: () => number;
  /** From now on nothing fails. */
  readonly heal: () => void;
}

/** The kernel with its n-th call made to fail. */
function failingAt(kernel: Kernel, n: number): FailingKernel {
  let calls = 0;
  let isHealed = false;
  const proxy = new Proxy(kernel, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== 'function' || typeof key === 'symbol') return value;
      return (...args: readonly unknown[]): unknown => {
        calls++;
        if (calls === n && !isHealed) return Promise.reject(new KernelError(key, 'ENOMEM', 'made to fail'));
        return Reflect.apply(value, target, args);
      };
    },
  });
  return {
    kernel: proxy,
    count: () => calls,
    heal: () => {
      isHealed = true;
    },
  };
}

test('whichever kernel call fails while a network is made, nothing is left of it', async () => {
  await using world = await openWorld();
  const before = snapshot();
  let failures = 0;
  for (let n = 1; ; n++) {
    const failing = failingAt(world.kernel, n);
    const firewall = createFirewall({ kernel: failing.kernel, logger: silentLogger });
    const driver = createBridgeDriver({
      kernel: failing.kernel,
      firewall,
      logger: silentLogger,
      daemonId: 'test',
    });
    const subnet = parsePrefix('172.30.0.0/16');
    assert.ok(subnet);
    const network: DriverNetwork = {
      id: newId(),
      name: 'n',
      isInternal: false,
      isPredefined: false,
      hasIpv4: true,
      hasIpv6: false,
      pools: [{ subnet, gateway: { family: 4, bits: subnet.base.bits + 1n } }],
      options: {},
    };
    let hasFailed = false;
    try {
      await driver.ensureNetwork(network);
    } catch {
      hasFailed = true;
    }
    failing.heal();
    const count = failing.count();
    if (!hasFailed) await driver.removeNetwork(network, []);
    assert.equal(snapshot(), before, `after call ${n}${hasFailed ? ' failed' : ''}`);
    if (hasFailed) failures++;
    if (count < n) break;
  }
  assert.ok(failures >= 3, `only ${failures} calls could fail`);
});

test('an attach that was cut short is swept, and a half-made bridge is made anew', async () => {
  await using world = await openWorld();
  const network = await world.createNetwork('172.18.0.0/16', { [label.name]: 'brx' });
  await world.runContainer('w1', network);
  for (const [name, master] of [
    ['veth0000001', 'brx'],
    ['veth0000002', ''],
  ] as const) {
    run('host', 'ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', `p${name.slice(-1)}`);
    if (master !== '') run('host', 'ip', 'link', 'set', name, 'master', master);
  }
  const actual = { links: await world.kernel.links(), addresses: await world.kernel.addresses() };
  await world.driver.sweep(actual, {
    networks: [network],
    endpoints: world.containers.map(({ endpoint }) => endpoint),
  });
  assert.equal(showLink('veth0000001'), undefined);
  assert.ok(showLink('veth0000002'), 'somebody else’s, on no bridge of ours');
  run('host', 'ip', 'link', 'del', 'veth0000002');
  run('host', 'ip', 'link', 'set', 'brx', 'alias', '');
  await world.driver.ensureNetwork(network);
  assert.equal(aliasOf('brx'), formatOwnerMark({ daemonId: 'test', objectId: network.id }));
});
