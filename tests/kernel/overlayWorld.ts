/*
 * Hosts on an underlay, each with a kernel and an overlay driver of its own, for tests of overlay networks with real
 * traffic. Runs inside scripts/lane, whose namespace is the underlay's switch.
 *
 *   [c1]      [c2]      [c3]        containers, attached by the drivers
 *     |         |         |
 *    [h1]      [h2]      [h3]       hosts: namespaces; 192.0.2.1, .2, .3 and 2001:db8::1, …
 *      \________|________/
 *           underlay
 *
 * With `tunnels` each host has a namespace [t1], [t2], … with a link of 1420 bytes to the others', 100.64.0.1, .2, …, in
 * place of the encrypted tunnels'.
 */
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, readdirSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/ids.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam, type Seam } from '../../src/base/seam.ts';
import type { DriverEndpoint, DriverNetwork } from '../../src/drivers/interface.ts';
import { type Carrier, createPlainCarrier } from '../../src/drivers/overlay/carrier.ts';
import { createOverlayDriver, type OverlayDriver } from '../../src/drivers/overlay/overlay.ts';
import type { OverlayPeer } from '../../src/drivers/overlay/peerTable.ts';
import { createTunnelGuard } from '../../src/firewall/tunnelGuard.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { check, linux, loadLibc } from '../../src/kernel/libc.ts';
import { openKernel } from '../../src/kernel/openKernel.ts';
import { type Ip, ipToBytes, parseIp } from '../../src/net/ip.ts';
import { randomMac } from '../../src/net/mac.ts';
import { parsePrefix } from '../../src/net/prefix.ts';
import { run } from './bridgeWorld.ts';

export function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed, text);
  return parsed;
}

export interface OverlayHost {
  readonly name: string;
  readonly kernel: Kernel;
  readonly seam: Seam;
  readonly driver: OverlayDriver;
  readonly vtep: Ip;
  /** Networks that need the tunnels. */
  readonly holders: ReadonlySet<string>;
  /** Where the overlay of `network` is. */
  pathOf(network: DriverNetwork): string;
  /** Runs a command in the overlay's namespace; returns its output. */
  inside(network: DriverNetwork, ...words: readonly string[]): string;
}

export interface Attached {
  readonly name: string;
  readonly host: OverlayHost;
  readonly endpoint: DriverEndpoint;
  readonly peers: readonly OverlayPeer[];
}

export interface OverlayWorld extends AsyncDisposable {
  readonly hosts: readonly OverlayHost[];
}

/** Runs `work`, synchronous, in the namespace at `path`. */
export function inside<T>(path: string, work: () => T): T {
  const libc = loadLibc();
  const [home, there] = [openSync('/proc/thread-self/ns/net', 'r'), openSync(path, 'r')];
  try {
    check(libc, path, libc.setns(there, linux.CLONE_NEWNET));
    return work();
  } finally {
    check(libc, 'home', libc.setns(home, linux.CLONE_NEWNET));
    closeSync(home);
    closeSync(there);
  }
}

/** Sends an echo request that is an IPv4 packet of that size with DF, and is not to be cut up; whether it is answered. */
export async function passesWhole(from: string, to: string, bytes: number): Promise<boolean> {
  const [AF_INET, ICMP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, EMSGSIZE] = [2, 1, 10, 2, 90];
  const libc = loadLibc();
  const fd = inside(`/run/netns/${from}`, () => libc.socket(AF_INET, linux.SOCK_RAW, ICMP));
  try {
    const never = Buffer.from([IP_PMTUDISC_DO, 0, 0, 0]);
    check(libc, 'setsockopt', libc.setsockopt(fd, 0, IP_MTU_DISCOVER, never, 4));
    const address = Buffer.from([AF_INET, 0, 0, 0, ...ipToBytes(ip(to)), 0, 0, 0, 0, 0, 0, 0, 0]);
    check(libc, 'connect', libc.connect(fd, address, address.length));
    // Type 8; the rest is zero, so that the sum is 0xf7ff.
    const request = Buffer.alloc(bytes - 20);
    request.set([8, 0, 0xf7, 0xff]);
    if (libc.send(fd, request, request.length, 0) < 0) {
      assert.equal(libc.errno(), EMSGSIZE);
      return false;
    }
    const answer = Buffer.alloc(65536);
    for (const deadline = Date.now() + 2000; Date.now() < deadline; await sleep(10))
      if (libc.recv(fd, answer, answer.length, linux.MSG_DONTWAIT) === bytes) return answer[20] === 0;
    return false;
  } finally {
    closeSync(fd);
  }
}

/** A kernel whose threads live in the namespace at `path`: a thread has the network of the one that starts it. */
export async function openKernelIn(path: string, seam: Seam): Promise<Kernel> {
  const libc = loadLibc();
  // Threads of libuv's pool stay where they are started.
  await stat('/');
  const [home, there] = [openSync('/proc/thread-self/ns/net', 'r'), openSync(path, 'r')];
  try {
    check(libc, path, libc.setns(there, linux.CLONE_NEWNET));
    return await openKernel({ seam, logger: silentLogger });
  } finally {
    check(libc, 'home', libc.setns(home, linux.CLONE_NEWNET));
    closeSync(home);
    closeSync(there);
  }
}

/** At once: with its namespace the kernel would take the port away in its own time, and the next host needs the name. */
export function leaveUnderlay(number: number): void {
  run('host', 'ip', 'link', 'del', `under${number}`);
  run('host', 'ip', 'netns', 'del', `h${number}`);
}

export function joinUnderlay(number: number, address4: string, address6: string): void {
  const [name, port] = [`h${number}`, `under${number}`];
  run('host', 'ip', 'netns', 'add', name);
  run('host', 'ip', 'link', 'add', port, 'master', 'underlay', 'type', 'veth', 'peer', 'up0', 'netns', name);
  run('host', 'ip', 'link', 'set', port, 'up');
  run(name, 'ip', 'address', 'add', `${address4}/24`, 'dev', 'up0');
  run(name, 'ip', 'address', 'add', `${address6}/64`, 'dev', 'up0', 'nodad');
  for (const link of ['lo', 'up0']) run(name, 'ip', 'link', 'set', link, 'up');
}

function joinTunnels(number: number): void {
  const [name, port] = [`t${number}`, `in${number}`];
  const way = ['mtu', '1420', 'master', 'tunnels', 'type', 'veth'];
  run('host', 'ip', 'netns', 'add', name);
  run('host', 'ip', 'link', 'add', port, ...way, 'peer', 'wg0', 'mtu', '1420', 'netns', name);
  run('host', 'ip', 'link', 'set', port, 'up');
  run(name, 'ip', 'address', 'add', `100.64.0.${number}/10`, 'dev', 'wg0');
  for (const link of ['lo', 'wg0']) run(name, 'ip', 'link', 'set', link, 'up');
}

/** As the encrypted tunnels', which are there whether anybody holds them or not. */
function carrierOf(number: number, kernel: Kernel, holders: Set<string>): Carrier {
  const namespace = `/run/netns/t${number}`;
  const guard = createTunnelGuard({
    kernel: {
      events: kernel.events,
      nft: (commands, options = {}) => kernel.nft(commands, { ...options, namespace }),
    },
    ...{ clock: systemClock, logger: silentLogger },
    port: () => 4789,
  });
  return {
    ...{ guard, namespace },
    underlay: () => ({
      ...{ address: ip(`100.64.0.${number}`), mtuBytes: 1500, headerBytes: 80, port: 4789 },
    }),
    hold: (id) => Promise.resolve(void holders.add(id)),
    release: (id) => Promise.resolve(void holders.delete(id)),
    sweep: () => guard.sweep(),
  };
}

/** `isThere`: another daemon of a host that is open; to be closed before it. */
export async function openHost(
  number: number,
  family: 4 | 6,
  isThere = false,
  hasTunnels = false,
): Promise<OverlayHost> {
  const name = `h${number}`;
  const [address4, address6] = [`192.0.2.${number}`, `2001:db8::${number}`];
  if (!isThere) joinUnderlay(number, address4, address6);
  if (!isThere && hasTunnels) joinTunnels(number);
  const seam = openSeam();
  const kernel = await openKernelIn(`/run/netns/${name}`, seam);
  const vtep = ip(family === 4 ? address4 : address6);
  const namespaceFolder = `/run/overlays-${name}`;
  mkdirSync(namespaceFolder, { recursive: true });
  const guard = createTunnelGuard({
    ...{ kernel, clock: systemClock, logger: silentLogger },
    port: () => 4789,
  });
  const plain = createPlainCarrier(guard, () => ({ address: vtep, mtuBytes: 1500, port: 4789 }));
  const holders = new Set<string>();
  const encrypted = hasTunnels ? carrierOf(number, kernel, holders) : plain;
  const driver = createOverlayDriver({
    ...{ kernel, logger: silentLogger, carriers: { plain, encrypted } },
    ...{ daemonId: name, namespaceFolder },
  });
  const pathOf = ({ id }: DriverNetwork): string => `${namespaceFolder}/${id}`;
  const inside = (network: DriverNetwork, ...words: readonly string[]): string =>
    run('host', 'nsenter', `--net=${pathOf(network)}`, '--', ...words);
  return { name, kernel, seam, driver, vtep, holders, pathOf, inside };
}

/** Disposing it removes everything that it made. */
export async function openOverlayWorld(
  count: number,
  family: 4 | 6 = 4,
  hasTunnels = false,
): Promise<OverlayWorld> {
  assert.equal(process.env['LINKSPAN_LANE'], '1', 'run this inside scripts/lane');
  const switches = ['underlay', ...(hasTunnels ? ['tunnels'] : [])];
  for (const name of switches) {
    run('host', 'ip', 'link', 'add', name, 'type', 'bridge');
    run('host', 'ip', 'link', 'set', name, 'up');
  }
  const hosts: OverlayHost[] = [];
  for (let number = 1; number <= count; number++)
    hosts.push(await openHost(number, family, false, hasTunnels));
  return {
    hosts,
    [Symbol.asyncDispose]: async () => {
      for (const [i, { kernel, driver, name }] of hosts.entries()) {
        await driver.sweep({ links: [], addresses: [] }, { networks: [], endpoints: [] });
        assert.deepEqual(readdirSync(`/run/overlays-${name}`), []);
        await kernel[Symbol.asyncDispose]();
        leaveUnderlay(i + 1);
        if (hasTunnels) run('host', 'ip', 'netns', 'del', `t${i + 1}`);
      }
      for (const name of switches) run('host', 'ip', 'link', 'del', name);
    },
  };
}

/** `vnis` `4097,4098`: one a subnet. */
export function makeNetwork(
  vnis: string,
  subnets: readonly string[],
  options: Readonly<Record<string, string>> = {},
): DriverNetwork {
  const pools = subnets.map((text) => {
    const subnet = parsePrefix(text);
    assert.ok(subnet);
    return { subnet, gateway: { ...subnet.base, bits: subnet.base.bits + 1n } };
  });
  const has = (family: 4 | 6): boolean => pools.some(({ subnet }) => subnet.base.family === family);
  return {
    ...{ id: newId(), name: `net${vnis}`, isInternal: false, isPredefined: false },
    ...{ hasIpv4: has(4), hasIpv6: has(6), pools },
    options: { 'com.docker.network.driver.overlay.vxlanid_list': vnis, ...options },
  };
}

export function makeEndpoint(network: DriverNetwork, addresses: readonly string[]): DriverEndpoint {
  return {
    ...{ id: newId(), networkId: network.id, containerId: newId() },
    ...{ interfaceName: 'eth0', hostInterfaceName: '', mac: randomMac(), gateways: [], sysctls: [] },
    addresses: addresses.map((text) => ({ ip: ip(text), length: text.includes(':') ? 64 : 24 })),
  };
}

/** Sets the network up on the host, and a container on it in a namespace called `name`. */
export async function runContainer(
  host: OverlayHost,
  network: DriverNetwork,
  name: string,
  addresses: readonly string[],
  endpoint: DriverEndpoint = makeEndpoint(network, addresses),
): Promise<Attached> {
  const path = `/run/netns/${name}`;
  await host.kernel.createNamespace(path);
  await host.driver.ensureNetwork(network);
  await host.driver.attach(network, endpoint, path);
  const peers = endpoint.addresses.map((address) => ({
    ...{ endpointId: endpoint.id, ip: address.ip, mac: endpoint.mac, vtep: host.vtep },
  }));
  return { name, host, endpoint, peers };
}

/** Tells every host of those on the others. */
export async function tellAll(network: DriverNetwork, all: readonly Attached[]): Promise<void> {
  for (const host of new Set(all.map((one) => one.host)))
    await host.driver.setPeers(
      network,
      all.filter((one) => one.host !== host).flatMap(({ peers }) => peers),
    );
}
