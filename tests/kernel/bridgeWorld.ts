/*
 * A host with containers and neighbours, for tests of firewall and bridge driver with real traffic. Runs inside
 * scripts/lane, whose namespace is the host. Containers are namespaces attached by the driver.
 *
 *   [w1] [w2]        [v1]
 *     \   /            |
 *      br n1          br n2       host 192.0.2.1 (up0) ───── (eth0) 192.0.2.2 client C
 *                                 host 198.51.100.1 (other0) (eth0) 198.51.100.2 client D
 * C and D have no default route; `addRoute` gives C one to a network's subnet, as a neighbour with a crafted route has.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { newId } from '../../src/base/ids.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam } from '../../src/base/seam.ts';
import { createBridgeDriver } from '../../src/drivers/bridge/bridge.ts';
import type { Driver, DriverEndpoint, DriverNetwork } from '../../src/drivers/interface.ts';
import { createFirewall, type Firewall, type FirewallOptions } from '../../src/firewall/firewall.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { openKernel } from '../../src/kernel/openKernel.ts';
import { parseIp } from '../../src/net/ip.ts';
import { randomMac } from '../../src/net/mac.ts';
import { parsePrefix } from '../../src/net/prefix.ts';
import { poll } from '../compat/command.ts';

export const hostAddress = '192.0.2.1';
export const clientAddress = '192.0.2.2';
/** Port of the server that answers with the caller's address. */
export const whoamiPort = 8099;

export interface Container {
  readonly name: string;
  readonly path: string;
  readonly network: DriverNetwork;
  readonly endpoint: DriverEndpoint;
  readonly address: string;
}

export interface World extends AsyncDisposable {
  readonly kernel: Kernel;
  readonly firewall: Firewall;
  readonly driver: Driver;
  /** Those that `runContainer` made. */
  readonly containers: readonly Container[];
  /** `subnet` `172.18.0.0/16`; its first address is the gateway. */
  createNetwork(
    subnet: string,
    options?: Readonly<Record<string, string>>,
    isInternal?: boolean,
  ): Promise<DriverNetwork>;
  /** The next free address of the network, with a default route unless the network is internal. */
  runContainer(name: string, network: DriverNetwork): Promise<Container>;
}

function ip(...args: readonly string[]): void {
  execFileSync('ip', [...args], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Program and arguments that run a command in a namespace; `host` is this one. */
function inside(
  where: string,
  words: readonly string[],
): readonly [program: string, args: readonly string[]] {
  const [program = '', ...args] = words;
  return where === 'host' ? [program, args] : ['nsenter', [`--net=/run/netns/${where}`, '--', ...words]];
}

/** Standard output; throws with both outputs if it fails. */
export function run(where: string, ...words: readonly string[]): string {
  const [program, args] = inside(where, words);
  const { status, stdout, stderr } = spawnSync(program, [...args], { encoding: 'utf8' });
  assert.equal(status, 0, `${where}: ${words.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

/** True if one of two pings is answered within a second. */
export async function reaches(from: string, to: string): Promise<boolean> {
  const [program, args] = inside(from, ['busybox', 'ping', '-c', '2', '-i', '0.2', '-W', '1', to]);
  const child = spawn(program, [...args], { stdio: 'ignore' });
  const [exitCode] = (await once(child, 'exit')) as [number | null];
  return exitCode === 0;
}

type Path = readonly [from: string, to: string, note?: string];

/** Fails unless each path answers pings. All at once: a silent path takes a second. */
export async function expectOpen(...paths: readonly Path[]): Promise<void> {
  await expectAll(true, paths);
}

/** Fails unless each path is silent. */
export async function expectClosed(...paths: readonly Path[]): Promise<void> {
  await expectAll(false, paths);
}

async function expectAll(isOpen: boolean, paths: readonly Path[]): Promise<void> {
  const answers = await Promise.all(paths.map(([from, to]) => reaches(from, to)));
  const wrong = paths.filter((_, i) => answers[i] !== isOpen);
  assert.deepEqual(wrong, [], `should ${isOpen ? '' : 'not '}reach`);
}

/** The address that a server at `to` sees us by; undefined if it cannot be reached. */
export function addressSeenBy(from: string, to: string, port: number = whoamiPort): string | undefined {
  const [program, args] = inside(from, ['busybox', 'nc', '-w', '2', to, String(port)]);
  const { status, stdout } = spawnSync(program, [...args], { input: '', encoding: 'utf8', timeout: 3000 });
  return status === 0 && stdout !== '' ? stdout.trim() : undefined;
}

/** What a server at `to` says within two seconds, without holding this process up: what is under test runs in it. */
async function answerOf(from: string, to: string, port: number): Promise<string> {
  const [program, args] = inside(from, ['busybox', 'nc', '-w', '2', to, String(port)]);
  const child = spawn(program, [...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [, text] = await Promise.all([once(child, 'close'), child.stdout.setEncoding('utf8').toArray()]);
  return text.join('').trim();
}

/** True if a server at `to` sees us by `address`. As `addressSeenBy`, for what may take long. */
export async function isSeenAs(address: string, from: string, to: string, port: number): Promise<boolean> {
  return (await answerOf(from, to, port)) === address;
}

/** Fails unless none of these gets an answer within two seconds. All at once: silence takes its time. */
export async function expectUnseen(
  ...paths: readonly (readonly [from: string, to: string, port: number, note?: string])[]
): Promise<void> {
  const answers = await Promise.all(paths.map(([from, to, port]) => answerOf(from, to, port)));
  assert.deepEqual(
    paths.filter((_, i) => answers[i] !== ''),
    [],
    'should not be reached',
  );
}

const whoami = `require('node:net').createServer((s) => { s.on('error', () => {}); s.end(s.remoteAddress + '\\n'); }).listen(${whoamiPort}, '0.0.0.0', () => console.log('ready'))`;

/** Starts a server that answers with the caller's address. */
async function startWhoami(where: string): Promise<ChildProcess> {
  const [program, args] = inside(where, [process.execPath, '-e', whoami]);
  const child = spawn(program, [...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  // A test that fails half-way must not wait for it; the lane ends it.
  child.unref();
  child.stdout.destroy();
  return child;
}

/** Waits until `check` holds; fails with `what` after 30 s, which nothing takes but on a machine that does other things too. */
export async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  if (await poll(check, 30_000)) return;
  assert.fail(`not within 30 s: ${what}`);
}

/** Sets net.bridge.bridge-nf-call-iptables of the host: whether frames inside a bridge meet the IP rules. */
export function setBridgeFiltering(isOn: boolean): void {
  run('host', 'sh', '-c', `echo ${isOn ? 1 : 0} > /proc/sys/net/bridge/bridge-nf-call-iptables`);
}

/** True if the firewall does not translate what the host sends to ::1. */
export function leavesLoopback6(): boolean {
  return run('host', 'nft', 'list', 'chain', 'inet', 'linkspan', 'output').includes('ip6 daddr ::1 return');
}

function addNeighbour(name: string, device: string, own: string, theirs: string): void {
  ip('netns', 'add', name);
  ip('link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  ip('address', 'add', `${own}/24`, 'dev', device);
  ip('link', 'set', device, 'up');
  ip('-n', name, 'address', 'add', `${theirs}/24`, 'dev', 'eth0');
  ip('-n', name, 'link', 'set', 'eth0', 'up');
  ip('-n', name, 'link', 'set', 'lo', 'up');
}

/** Makes the world; disposing it removes everything that it made. `options` go to the firewall. */
export async function openWorld(options: FirewallOptions = {}): Promise<World> {
  assert.equal(process.env['LINKSPAN_LANE'], '1', 'run this inside scripts/lane');
  const kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
  const firewall = createFirewall({ kernel, logger: silentLogger, options });
  const driver = createBridgeDriver({ kernel, firewall, logger: silentLogger, daemonId: 'test' });
  addNeighbour('C', 'up0', hostAddress, clientAddress);
  addNeighbour('D', 'other0', '198.51.100.1', '198.51.100.2');
  const servers = [await startWhoami('C')];
  await firewall.start();
  await driver.sweep({ links: [], addresses: [] }, { networks: [], endpoints: [] });
  const networks: DriverNetwork[] = [];
  const containers: Container[] = [];

  async function createNetwork(
    text: string,
    labels: Readonly<Record<string, string>> = {},
    isInternal = false,
  ): Promise<DriverNetwork> {
    const subnet = parsePrefix(text);
    assert.ok(subnet);
    const id = newId();
    const network: DriverNetwork = {
      id,
      name: id,
      isInternal,
      isPredefined: false,
      hasIpv4: true,
      hasIpv6: false,
      pools: [{ subnet, gateway: { family: 4, bits: subnet.base.bits + 1n } }],
      options: labels,
    };
    driver.plan(network);
    driver.checkConflict(network, networks);
    await driver.ensureNetwork(network);
    networks.push(network);
    return network;
  }

  async function runContainer(name: string, network: DriverNetwork): Promise<Container> {
    const path = `/run/netns/${name}`;
    await kernel.createNamespace(path);
    const [pool] = network.pools;
    assert.ok(pool);
    const used = containers.filter((one) => one.network.id === network.id).length;
    const address = { family: 4 as const, bits: pool.subnet.base.bits + BigInt(used) + 2n };
    const endpoint: DriverEndpoint = {
      id: newId(),
      networkId: network.id,
      containerId: name,
      interfaceName: `${driver.plan(network).interfacePrefix}0`,
      hostInterfaceName: `veth${randomBytes(4).toString('hex').slice(0, 7)}`,
      mac: randomMac(),
      addresses: [{ ip: address, length: pool.subnet.length }],
      gateways: pool.gateway === undefined ? [] : [pool.gateway],
      sysctls: [],
    };
    await driver.attach(network, endpoint, path);
    const text = [24n, 16n, 8n, 0n].map((shift) => (address.bits >> shift) & 255n).join('.');
    assert.ok(parseIp(text));
    const container = { name, path, network, endpoint, address: text };
    containers.push(container);
    return container;
  }

  return {
    kernel,
    firewall,
    driver,
    containers,
    createNetwork,
    runContainer,
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) server.kill('SIGKILL');
      for (const { network, endpoint, path } of containers) {
        await driver.detach(network, endpoint, undefined);
        await kernel.removeNamespace(path);
      }
      for (const network of networks) await driver.removeNetwork(network, []);
      await firewall.stop();
      for (const family of ['inet', 'bridge'])
        run('host', 'nft', 'delete', 'table', family, options.table ?? 'linkspan');
      // The pair's other end would go only when the kernel cleans the namespace up.
      for (const device of ['up0', 'other0']) ip('link', 'del', device);
      for (const name of ['C', 'D']) ip('netns', 'del', name);
      await kernel[Symbol.asyncDispose]();
    },
  };
}

/** Gives a neighbour a route to a subnet through the host, as an attacker on the same segment would. */
export function addRoute(from: 'C' | 'D', subnet: string): void {
  ip('-n', from, 'route', 'replace', subnet, 'via', from === 'C' ? hostAddress : '198.51.100.1');
}
