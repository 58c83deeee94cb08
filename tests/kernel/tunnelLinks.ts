/*
 * WireGuard of the kernel in place of the links between [t1], [t2], … of overlayWorld.ts, for the vm lane, whose kernel
 * has it; hosts reach each other at 192.0.2.1, .2, ….
 */
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { makeKey, publicKeyOf } from '../../src/codec/wireguard/key.ts';
import { createTunnels, tunnelNameOf } from '../../src/tunnels/createTunnels.ts';
import { reaches, run, until } from './bridgeWorld.ts';
import { ip, type OverlayHost } from './overlayWorld.ts';

const port = 51_820;

/** All hosts, from the first on. Code tunnelUnavailable where the kernel has no WireGuard; the devices go with their namespaces. */
export async function encryptLinks(hosts: readonly OverlayHost[]): Promise<void> {
  using open = new DisposableStack();
  const keys = hosts.map(makeKey);
  const peers = keys.map((key, i) => ({
    ...{ publicKey: publicKeyOf(key), endpoint: { ip: ip(`192.0.2.${i + 1}`), port } },
    allowedIps: [{ base: ip(`100.64.0.${i + 1}`), length: 32 }],
  }));
  for (const [i, privateKey] of keys.entries()) {
    const [host, inside] = [hosts[i], `t${i + 1}`];
    if (host === undefined) continue;
    const tunnels = open.use(
      createTunnels({
        ...{ kernel: host.kernel, seam: host.seam, clock: systemClock, logger: silentLogger },
        ...{ engines: ['kernel'], folder: `/run/tunnels-${host.name}` },
      }),
    );
    run(inside, 'ip', 'link', 'del', 'wg0');
    const tunnel = open.use(
      await tunnels.open({
        ...{ name: tunnelNameOf(inside), namespace: `/run/netns/${inside}`, alias: `test ${inside}` },
        ...{ privateKey, port, mtuBytes: 1420, addresses: [{ ip: ip(`100.64.0.${i + 1}`), length: 10 }] },
      }),
    );
    await tunnel.setPeers(peers.filter((_, other) => other !== i));
  }
  const ends = hosts.map((_, i) => ({ inside: `t${i + 1}`, address: `100.64.0.${i + 1}` }));
  for (const { inside } of ends)
    for (const { address } of ends)
      await until(`${inside} reaches ${address}`, () => reaches(inside, address));
}
