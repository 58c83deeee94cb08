/*
 * Hosts on an underlay, each with a tunnel of a given engine to all others, for tests with real traffic. Runs inside
 * scripts/lane, whose namespace is the underlay's switch. wireguard-go is started in its host's namespace by nsenter,
 * since the hosts are this process's.
 *
 *   [w1] lswg-…      [w2] lswg-…       10.99.0.1, .2 and fd99::1, …: the devices, alone in their namespaces
 *     :                :
 *    [h1]             [h2]             hosts: 192.0.2.1, .2 and 2001:db8::1, …; the UDP sockets
 *      \______________/
 *          underlay
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam, type Seam } from '../../src/base/seam.ts';
import { makeKey, type PublicKey, publicKeyOf, type SecretKey } from '../../src/codec/wireguard/key.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { parsePrefix, type Prefix } from '../../src/net/prefix.ts';
import { createTunnels, tunnelNameOf } from '../../src/tunnels/createTunnels.ts';
import type { Tunnel, TunnelEngine, TunnelPeer, Tunnels, TunnelSpec } from '../../src/tunnels/tunnel.ts';
import { run, until } from './bridgeWorld.ts';
import { type EchoProbe, startEchoProbe } from './echoProbe.ts';
import { ip, joinUnderlay, leaveUnderlay, openKernelIn } from './overlayWorld.ts';

export interface TunnelHost {
  /** `h1` */
  readonly name: string;
  readonly number: number;
  /** Of the namespace that the device is in, `w1`. */
  readonly inside: string;
  readonly seam: Seam;
  readonly kernel: Kernel;
  readonly tunnels: Tunnels;
  readonly key: SecretKey;
  readonly spec: TunnelSpec;
}

export function prefixes(...texts: readonly string[]): readonly Prefix[] {
  return texts.map((one) => {
    const prefix = parsePrefix(one);
    assert.ok(prefix, one);
    return prefix;
  });
}

/** A daemon of host `number`, another one if there was one before: it has the same key. */
export async function openTunnelHost(
  number: number,
  engine: TunnelEngine,
  key: SecretKey = makeKey(),
): Promise<TunnelHost> {
  const [name, inside] = [`h${number}`, `w${number}`];
  const seam = openSeam();
  const kernel = await openKernelIn(`/run/netns/${name}`, seam);
  const tunnels = createTunnels({
    ...{ kernel, seam, clock: systemClock, logger: silentLogger, folder: `/run/tunnels-${name}` },
    ...{ engines: [engine], wireguardGo: ['nsenter', `--net=/run/netns/${name}`, '--', 'wireguard-go'] },
  });
  const spec: TunnelSpec = {
    ...{ name: tunnelNameOf(name), namespace: `/run/netns/${inside}`, alias: `test ${name}` },
    ...{ privateKey: key, port: 51_820, mtuBytes: 1400 },
    addresses: [
      { ip: ip(`10.99.0.${number}`), length: 24 },
      { ip: ip(`fd99::${number}`), length: 64 },
    ],
  };
  return { name, number, inside, seam, kernel, tunnels, key, spec };
}

/** Host `of` as the others know it. */
export function peerOf(
  of: Pick<TunnelHost, 'number' | 'key'>,
  more: Partial<TunnelPeer> = {},
): TunnelPeer & { readonly publicKey: PublicKey } {
  return {
    publicKey: publicKeyOf(of.key),
    endpoint: { ip: ip(`192.0.2.${of.number}`), port: 51_820 },
    allowedIps: prefixes(`10.99.0.${of.number}/32`, `fd99::${of.number}/128`),
    ...more,
  };
}

export interface TunnelWorld extends AsyncDisposable {
  /** A host whose kernel the test closes, it replaces. */
  readonly hosts: TunnelHost[];
}

/** Everything that a tunnel may leave behind, as an operator would look for it. */
export function stateOf({ name, inside }: Pick<TunnelHost, 'name' | 'inside'>): string {
  const folder = `/run/tunnels-${name}`;
  const files = (path: string): readonly string[] => {
    try {
      return readdirSync(path).sort();
    } catch {
      return [];
    }
  };
  return [
    ...[name, inside].flatMap((where) => [
      run(where, 'ip', '-o', 'link').replaceAll(/^\d+: /gm, ''),
      run(where, 'ip', '-o', 'address').replaceAll(/ *valid_lft.*|^.* inet6 fe80::.*$/gm, ''),
      run(where, 'sh', '-c', 'cat /proc/net/udp /proc/net/udp6').replaceAll(
        /^ *\d+:|\d+ \d+ \d+ [0-9a-f]+ 0 *$/gm,
        '',
      ),
    ]),
    ...files(folder),
    ...files('/run/wireguard'),
    processesOf(name).join(' '),
  ].join('\n');
}

/** Ids of the wireguard-go of a host. */
export function processesOf(name: string): readonly number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return words[0] === 'wireguard-go' && words[2] === tunnelNameOf(name);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Hosts without tunnels. Disposing it removes everything that it made, and fails if tunnels left anything. */
export async function openTunnelWorld(engine: TunnelEngine, count: number): Promise<TunnelWorld> {
  assert.equal(process.env['LINKSPAN_LANE'], '1', 'run this inside scripts/lane');
  run('host', 'ip', 'link', 'add', 'underlay', 'type', 'bridge');
  run('host', 'ip', 'link', 'set', 'underlay', 'up');
  const hosts: TunnelHost[] = [];
  for (let number = 1; number <= count; number++) {
    joinUnderlay(number, `192.0.2.${number}`, `2001:db8::${number}`);
    const host = await openTunnelHost(number, engine);
    await host.kernel.createNamespace(host.spec.namespace);
    hosts.push(host);
  }
  return {
    hosts,
    [Symbol.asyncDispose]: async () => {
      for (const [i, host] of hosts.entries()) {
        await host.tunnels.remove(host.spec.name, host.spec.namespace);
        host.tunnels[Symbol.dispose]();
        await host.kernel[Symbol.asyncDispose]();
        const left = processesOf(host.name);
        run('host', 'ip', 'netns', 'del', host.inside);
        leaveUnderlay(i + 1);
        assert.deepEqual(left, []);
      }
      run('host', 'ip', 'link', 'del', 'underlay');
    },
  };
}

/**
 * Opens the tunnels of all hosts and makes each a peer of all others, with a session: two that begin a handshake at the
 * same time may both have to try again, 5 s later.
 */
export async function joinAll(hosts: readonly TunnelHost[]): Promise<readonly Tunnel[]> {
  const tunnels = await Promise.all(hosts.map((host) => host.tunnels.open(host.spec)));
  await Promise.all(
    tunnels.map((tunnel, i) =>
      tunnel.setPeers(hosts.filter((_, j) => j !== i).map((other) => peerOf(other))),
    ),
  );
  for (const [i, tunnel] of tunnels.entries())
    for (const other of hosts.slice(i + 1)) {
      const { publicKey } = peerOf(other);
      await tunnel.wake([publicKey]);
      await until('there is a session', async () => {
        const peer = (await tunnel.peers()).find((one) => one.publicKey === publicKey);
        return peer?.lastHandshakeMs !== undefined;
      });
    }
  return tunnels;
}

/** Sends `count` packets at a rate from one device's namespace to that of another host; see startEchoProbe. */
export function startProbe(from: string, to: string, count: number, everyMs: number): Promise<EchoProbe> {
  const inside = (where: string): readonly string[] => ['nsenter', `--net=/run/netns/${where}`, '--'];
  return startEchoProbe({
    ...{ from: inside(from), to: inside(to), address: `10.99.0.${to.slice(1)}` },
    ...{ count, everyMs },
  });
}
