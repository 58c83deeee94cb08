/*
 * Anti-spoofing as a user meets it: a container that may change its network and takes another's address is not heard,
 * whatever becomes of the daemon; a network with the option off lets it. Docker has nothing of the kind.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Daemon, startDaemon } from './daemonFixture.ts';
import { readHostState } from './hostState.ts';
import { ownEngines, testOnce } from './reference.ts';

/** How many links the table guards. */
const portsIn = (table: string): number =>
  /set ports \{[^}]*elements = \{([^}]*)\}/.exec(table)?.[1]?.split(',').length ?? 0;

for (const engine of ownEngines('a container may send as anybody there')) {
  const once = testOnce(engine);
  describe(`anti-spoofing: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    const exec = (name: string, command: string): Promise<unknown> =>
      daemon.cli(['exec', name, 'sh', '-c', command]);
    const addressOf = async (name: string): Promise<string> => {
      const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
      return (await daemon.cli(['inspect', '-f', format, name])).stdout;
    };
    const guard = async (): Promise<string> =>
      (await daemon.host(['nft', 'list', 'table', 'bridge', 'linkspan'])).stdout;

    test('the option is a yes or no', async () => {
      await daemon.cli(['network', 'create', '-o', 'linkspan.anti-spoof=maybe', 'n0'], {
        exitCode: 1,
        stderr: /failed to parse linkspan\.anti-spoof value: maybe/,
      });
    });

    once(
      'an impostor is not heard, also while and after the daemon is dead; with the option off it is',
      async () => {
        const fresh = await guard();
        const state = await readHostState(daemon);
        for (const [network, ...options] of [['n1'], ['n2', '-o', 'linkspan.anti-spoof=false']] as const) {
          await daemon.cli(['network', 'create', ...options, network]);
          for (const name of ['victim', 'bad'])
            await daemon.cli([
              ...[
                'run',
                '-d',
                '--name',
                `${name}-${network}`,
                '--network',
                network,
                '--cap-add',
                'NET_ADMIN',
              ],
              ...['busybox', 'sleep', '999'],
            ]);
        }
        for (const network of ['n1', 'n2']) {
          const [own, gone] = [await addressOf(`bad-${network}`), await addressOf(`victim-${network}`)];
          await exec(`bad-${network}`, `ping -c1 -W2 victim-${network}`);
          await daemon.cli(['stop', '-t', '0', `victim-${network}`]);
          // The address of a stopped container is free to take, if one may.
          await exec(`bad-${network}`, `ip addr del ${own}/16 dev eth0 && ip addr add ${gone}/16 dev eth0`);
        }
        const toGateway = async (network: string, isHeard: boolean): Promise<void> => {
          const format = '{{(index .IPAM.Config 0).Gateway}}';
          const { stdout: gateway } = await daemon.cli(['network', 'inspect', '-f', format, network]);
          await daemon.cli(['exec', `bad-${network}`, 'ping', '-c1', '-W1', gateway], {
            exitCode: isHeard ? 0 : 1,
            stdout: new RegExp(`1 packets transmitted, ${isHeard ? 1 : 0} packets received`),
          });
        };
        await toGateway('n1', false);
        await toGateway('n2', true);
        await daemon.host(['nft', 'flush', 'ruleset']);
        for (let i = 0; i < 50 && !(await guard().catch(() => '')).includes('veth'); i++);
        await toGateway('n1', false);
        const guarded = await guard();
        await daemon.kill('SIGKILL');
        assert.equal(await guard(), guarded);
        await daemon.start();
        assert.equal(await guard(), guarded, 'adopted');
        await toGateway('n1', false);
        await daemon.cli(['network', 'connect', 'n1', 'bad-n2']);
        assert.equal(portsIn(await guard()), 2);
        await daemon.cli(['network', 'disconnect', 'n1', 'bad-n2']);
        for (const network of ['n1', 'n2']) {
          await daemon.cli(['rm', '-f', `victim-${network}`, `bad-${network}`]);
          await daemon.cli(['network', 'rm', network]);
        }
        assert.equal(await guard(), fresh);
        assert.deepEqual(await readHostState(daemon), state);
      },
    );
  });

  test(`--anti-spoof=false leaves containers of the default network alone, and those of others not: ${engine.name}`, async () => {
    await using daemon = await startDaemon(engine, ['--anti-spoof=false']);
    await daemon.cli(['network', 'create', 'n1']);
    for (const network of ['bridge', 'n1'])
      await daemon.cli(['run', '-d', '--name', network, '--network', network, 'busybox', 'sleep', '999']);
    const { stdout } = await daemon.host(['nft', 'list', 'table', 'bridge', 'linkspan']);
    assert.equal(portsIn(stdout), 1, stdout);
    await daemon.cli(['rm', '-f', 'bridge', 'n1']);
  });
}
