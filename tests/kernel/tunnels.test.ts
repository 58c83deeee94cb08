import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeKey } from '../../src/codec/wireguard/key.ts';
import { hasCode } from '../../src/errors/linkspanError.ts';
import { openSeam } from '../../src/base/seam.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { openKernel } from '../../src/kernel/openKernel.ts';
import { createTunnels } from '../../src/tunnels/createTunnels.ts';
import { type TunnelEngine, tunnelEngines } from '../../src/tunnels/tunnel.ts';
import { expectClosed, expectOpen, run } from './bridgeWorld.ts';
import { countLost, joinAll, openTunnelWorld, peerOf, stateOf } from './tunnelWorld.ts';

/** Why an engine cannot be tried here. */
async function findSkips(): Promise<Readonly<Record<TunnelEngine, string | false>>> {
  await using kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
  const skipOf = async (engine: TunnelEngine): Promise<string | false> => {
    const context = { kernel, seam: openSeam(), clock: systemClock, logger: silentLogger };
    using tunnels = createTunnels({ ...context, folder: '/run/tunnels', engines: [engine] });
    const choice = await tunnels.findEngine();
    return choice.engine === undefined ? choice.reason : false;
  };
  return { kernel: await skipOf('kernel'), 'wireguard-go': await skipOf('wireguard-go') };
}

const skips = await findSkips();

for (const engine of tunnelEngines) {
  const options = { skip: skips[engine] };

  test(
    `${engine}: packets of two hosts go through their tunnel, and nothing else is where the device is`,
    options,
    async () => {
      await using world = await openTunnelWorld(engine, 2);
      const [h1, h2] = world.hosts;
      assert.ok(h1 && h2);
      const before = stateOf(h1);
      const [t1, t2] = await joinAll(world.hosts);
      assert.ok(t1 && t2);
      assert.equal(t1.engine, engine);
      await expectOpen(['w1', '10.99.0.2'], ['w2', '10.99.0.1'], ['w1', 'fd99::2']);
      assert.deepEqual(
        (await h1.kernel.links(h1.spec.namespace)).map(({ name, isUp, mtuBytes, alias }) => [
          name,
          isUp,
          mtuBytes,
          alias,
        ]),
        [
          ['lo', true, 65536, undefined],
          [h1.spec.name, true, 1400, 'test h1'],
        ],
      );
      assert.doesNotMatch(run('h1', 'ip', '-o', 'link'), /lswg/);
      assert.match(run('h1', 'cat', '/proc/net/udp'), /00000000:CA6C /);
      assert.doesNotMatch(run('w1', 'cat', '/proc/net/udp'), /CA6C/);

      const [peer, ...others] = await t1.peers();
      assert.ok(peer);
      assert.deepEqual(others, []);
      const { lastHandshakeMs, receivedBytes, sentBytes, ...rest } = peer;
      assert.deepEqual(rest, { ...peerOf(h2), hasPresharedKey: false, keepaliveSeconds: 0 });
      assert.ok(Math.abs(Date.now() - (lastHandshakeMs ?? 0)) < 60_000);
      assert.ok(receivedBytes > 300 && sentBytes > 300);

      for (const tunnel of [t1, t2]) await tunnel.close();
      assert.equal(stateOf(h1), before);
      await assert.rejects(t1.peers(), (error) => hasCode(error, 'tunnelLost'));
    },
  );

  test(
    `${engine}: who is a peer no longer is cut off at once, and who stays notices nothing`,
    options,
    async () => {
      await using world = await openTunnelWorld(engine, 3);
      const [h1, h2, h3] = world.hosts;
      assert.ok(h1 && h2 && h3);
      const tunnels = await joinAll(world.hosts);
      const [t1, t2, t3] = tunnels;
      assert.ok(t1 && t2 && t3);
      await expectOpen(['w1', '10.99.0.2'], ['w1', '10.99.0.3'], ['w2', '10.99.0.3']);
      const lost = countLost('w1', '10.99.0.2', 100, 10);
      await t1.changePeers({ remove: [peerOf(h3).publicKey] });
      await expectClosed(['w1', '10.99.0.3'], ['w3', '10.99.0.1']);
      await t1.changePeers({ put: [peerOf(h3)] });
      await expectOpen(['w1', '10.99.0.3']);
      await t1.setPeers([peerOf(h2)]);
      await expectClosed(['w1', '10.99.0.3'], ['w3', '10.99.0.1']);
      assert.equal(await lost, 0);

      // An address of another's: neither sent to it nor taken from it.
      await t1.setPeers([peerOf(h2), peerOf(h3, { allowedIps: [] })]);
      await expectClosed(['w3', '10.99.0.1'], ['w1', '10.99.0.3']);
      // A preshared key that only one side has.
      const presharedKey = makeKey();
      await t1.setPeers([peerOf(h2), peerOf(h3, { presharedKey })]);
      await t3.setPeers([peerOf(h1)]);
      await expectClosed(['w3', '10.99.0.1']);
      assert.equal(
        (await t1.peers()).find(({ publicKey }) => publicKey === peerOf(h3).publicKey)?.hasPresharedKey,
        true,
      );
      await t3.setPeers([]);
      await t3.setPeers([peerOf(h1, { presharedKey })]);
      await t1.setPeers([peerOf(h2)]);
      await t1.setPeers([peerOf(h2), peerOf(h3, { presharedKey })]);
      await expectOpen(['w3', '10.99.0.1']);
      for (const tunnel of tunnels) await tunnel.close();
    },
  );
}

test('where no engine may be used, none is found, with the reason', async () => {
  await using kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
  const context = { kernel, seam: openSeam(), clock: systemClock, logger: silentLogger };
  using tunnels = createTunnels({ ...context, folder: '/run/tunnels', engines: [] });
  assert.deepEqual(await tunnels.findEngine(), { engine: undefined, reason: '' });
});
