/*
 * What an encrypted network costs where the kernel encrypts, beside a bare tunnel of the same kernel and beside VXLAN in
 * ESP as Docker sets it up (transport mode, rfc4106(gcm(aes)) with 128 bits and a 64-bit check value), all with the same
 * MTU inside. Prints JSON. For a kernel that has WireGuard and ESP, in a lane there: bench/report.ts runs it in the vm
 * lane's machine, whose processor is emulated, so that its ratios tell of the ways' length more than of the ciphers.
 *
 *   ours     [c1]──bridge, vxlan0──[w1: WireGuard]── h1 ── h2 ──[w2: WireGuard]──vxlan0, bridge──[c2]
 *   Docker   [c3]──bridge, vxlan───[     ESP     ]── h3 ── h4 ──[     ESP     ]──vxlan, bridge───[c4]
 *   bare                           [w5: WireGuard]── h5 ── h6 ──[w6: WireGuard]
 */
import { systemClock } from '../src/base/clock.ts';
import { silentLogger } from '../src/base/logger.ts';
import { openSeam } from '../src/base/seam.ts';
import { createPlainCarrier } from '../src/drivers/overlay/carrier.ts';
import { createOverlayDriver } from '../src/drivers/overlay/overlay.ts';
import { createTunnelGuard } from '../src/firewall/tunnelGuard.ts';
import { run } from '../tests/kernel/bridgeWorld.ts';
import {
  ip,
  joinUnderlay,
  makeNetwork,
  openKernelIn,
  type OverlayHost,
  runContainer,
  tellAll,
} from '../tests/kernel/overlayWorld.ts';
import { joinAll, openTunnelHost, type TunnelHost } from '../tests/kernel/tunnelWorld.ts';
import { makeFolder, removeFolder } from './engines.ts';
import { buildPathLoad } from './pathLoad.ts';
import { measureWays, type Way } from './ways.ts';

/** Ethernet less 80 for WireGuard and 50 for VXLAN. */
const insideBytes = 1370;
const port = 4789;
const pathOf = (namespace: string): string => `/run/netns/${namespace}`;

async function openPair(first: number, mtuBytes: number): Promise<readonly TunnelHost[]> {
  const hosts: TunnelHost[] = [];
  for (const number of [first, first + 1]) {
    joinUnderlay(number, `192.0.2.${number}`, `2001:db8::${number}`);
    const host = await openTunnelHost(number, 'kernel');
    await host.kernel.createNamespace(host.spec.namespace);
    hosts.push({ ...host, spec: { ...host.spec, mtuBytes } });
  }
  await joinAll(hosts);
  return hosts;
}

/** A host whose overlay driver carries encrypted networks through its tunnel. */
async function openOurs({ name, number, seam, kernel, inside }: TunnelHost): Promise<OverlayHost> {
  const namespace = pathOf(inside);
  const guard = createTunnelGuard({
    ...{ kernel: await openKernelIn(namespace, openSeam()), clock: systemClock, logger: silentLogger },
    port: () => port,
  });
  const vtep = ip(`10.99.0.${number}`);
  const carrier = {
    ...createPlainCarrier(guard, () => ({ address: vtep, mtuBytes: insideBytes + 50, port })),
    namespace,
  };
  const namespaceFolder = `/run/overlays-${name}`;
  const driver = createOverlayDriver({
    ...{ kernel, logger: silentLogger, carriers: { plain: carrier, encrypted: carrier } },
    ...{ daemonId: name, namespaceFolder },
  });
  return {
    ...{ name, kernel, seam, driver, vtep, holders: new Set() },
    pathOf: ({ id }) => `${namespaceFolder}/${id}`,
    inside: ({ id }, ...words) => run('host', 'nsenter', `--net=${namespaceFolder}/${id}`, '--', ...words),
  };
}

async function makeOurs(): Promise<Way> {
  const [one, other] = await Promise.all((await openPair(1, insideBytes + 50)).map(openOurs));
  if (one === undefined || other === undefined) throw new TypeError('two hosts');
  const network = makeNetwork('4097', ['10.0.1.0/24'], { encrypted: '' });
  const c1 = await runContainer(one, network, 'c1', ['10.0.1.2']);
  const c2 = await runContainer(other, network, 'c2', ['10.0.1.3']);
  await tellAll(network, [c1, c2]);
  return ['linkspan', pathOf('c1'), pathOf('c2'), '10.0.1.3'];
}

async function makeBare(): Promise<Way> {
  await openPair(5, insideBytes);
  return ['bare WireGuard', pathOf('w5'), pathOf('w6'), '10.99.0.6'];
}

/** A key for each way; the order of commands is that of ip-xfrm(8). */
function encryptBetween(
  host: string,
  own: string,
  other: string,
  spis: readonly [out: number, in_: number],
): void {
  const cipher = ['aead', 'rfc4106(gcm(aes))', `0x${'5a'.repeat(20)}`, '64'];
  const xfrm = (...words: readonly string[]): string => run(host, 'ip', 'xfrm', ...words);
  const between = (from: string, to: string): readonly string[] => ['src', from, 'dst', to];
  for (const [from, to, spi] of [
    [own, other, spis[0]],
    [other, own, spis[1]],
  ] as const) {
    const mode = ['proto', 'esp', 'spi', String(spi), 'mode', 'transport'];
    xfrm('state', 'add', ...between(from, to), ...mode, ...cipher);
  }
  const only = ['proto', 'udp', 'dport', String(port), 'dir', 'out'];
  const template = [
    'tmpl',
    ...between(own, other),
    'proto',
    'esp',
    'spi',
    String(spis[0]),
    'mode',
    'transport',
  ];
  xfrm('policy', 'add', ...between(own, other), ...only, ...template);
}

/** Without Docker's mark and its rules for what is in clear, which would slow it. */
function makeEsp(): Way {
  for (const [number, other, spis] of [
    [3, 4, [0x1001, 0x1002]],
    [4, 3, [0x1002, 0x1001]],
  ] as const) {
    const [host, sandbox, container] = [`h${number}`, `s${number}`, `c${number}`];
    const [from, to] = [`192.0.2.${number}`, `192.0.2.${other}`];
    joinUnderlay(number, from, `2001:db8::${number}`);
    for (const name of [sandbox, container]) run('host', 'ip', 'netns', 'add', name);
    encryptBetween(host, from, to, spis);
    const ends = ['id', '4098', 'local', from, 'remote', to, 'dstport', String(port), 'nolearning'];
    run(host, 'ip', 'link', 'add', 'vx0', 'type', 'vxlan', ...ends);
    run(host, 'ip', 'link', 'set', 'vx0', 'netns', sandbox);
    run(sandbox, 'ip', 'link', 'add', 'br0', 'type', 'bridge');
    const peer = ['peer', 'name', 'eth0', 'mtu', String(insideBytes), 'netns', container];
    run(sandbox, 'ip', 'link', 'add', 'v0', 'mtu', String(insideBytes), 'type', 'veth', ...peer);
    for (const port of ['vx0', 'v0']) run(sandbox, 'ip', 'link', 'set', port, 'master', 'br0', 'up');
    run(sandbox, 'ip', 'link', 'set', 'br0', 'up');
    run(container, 'ip', 'address', 'add', `10.0.2.${number}/24`, 'dev', 'eth0');
    run(container, 'ip', 'link', 'set', 'eth0', 'up');
  }
  return ['VXLAN in ESP', pathOf('c3'), pathOf('c4'), '10.0.2.4'];
}

const folder = makeFolder();
run('host', 'ip', 'link', 'add', 'underlay', 'type', 'bridge');
run('host', 'ip', 'link', 'set', 'underlay', 'up');
const ways = [await makeBare(), await makeOurs(), makeEsp()];
const rows = await measureWays(buildPathLoad(folder), ways);
removeFolder(folder);
process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`);
// The lane and its namespaces go with it.
process.exit(0);
