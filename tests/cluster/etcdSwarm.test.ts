/*
 * A swarm whose records are in the user's own etcd (--store): made, lost sight of, found again by a daemon that was
 * killed, and gone when its last manager leaves.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { type Daemon, engines, startDaemon } from '../compat/daemonFixture.ts';
import { hostAddress, inHost } from '../compat/hosts.ts';
import { Etcd } from './etcd.ts';

const port = 22_379;

for (const engine of engines('docker').filter(({ kind }) => kind === 'linkspand')) {
  describe(`store in etcd: ${engine.name}`, () => {
    let daemon: Daemon;
    let etcd: Etcd;

    const say = async (...args: readonly string[]): Promise<string> => (await daemon.cli(args)).stdout;
    const state = (): Promise<string> => say('info', '-f', '{{.Swarm.LocalNodeState}} {{.Swarm.Error}}');
    /** Keys of ours in etcd. */
    const keys = async (): Promise<number> => {
      const [key, range_end] = ['/linkspan/', '/linkspan0'].map((text) =>
        Buffer.from(text).toString('base64'),
      );
      const body = JSON.stringify({ key, range_end, count_only: true });
      const url = `http://127.0.0.1:${port}/v3/kv/range`;
      const { stdout } = await daemon.host(['busybox', 'wget', '-qO-', '--post-data', body, url]);
      return Number((JSON.parse(stdout) as { readonly count?: string }).count ?? 0);
    };
    const pings = async (target: string): Promise<boolean> => {
      const words = ['run', '--rm', '--network', 'o', 'busybox', 'ping', '-c', '1', '-W', '1', target];
      return (await daemon.cli(words, { exitCode: undefined })).exitCode === 0;
    };

    before(async () => {
      // The daemon comes up whether or not etcd is there.
      daemon = await startDaemon(engine, ['--store', `etcd://127.0.0.1:${port}`]);
      etcd = await Etcd.start({ firstPort: port, prefix: inHost('A') });
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
      await etcd[Symbol.asyncDispose]();
    });

    test('its networks and endpoints are there, and are changed no more while etcd is away', async () => {
      await daemon.cli(['swarm', 'init', '--advertise-addr', hostAddress]);
      await daemon.cli(['network', 'create', '-d', 'overlay', '--attachable', 'o']);
      const before = await keys();
      await daemon.cli(['run', '-d', '--name', 'web', '--network', 'o', 'busybox', 'sleep', '600']);
      assert.ok((await keys()) >= before + 2, 'an endpoint and its address');
      await etcd.kill(0);
      await daemon.cli(['network', 'create', '-d', 'overlay', 'p'], {
        exitCode: 1,
        stderr: /the swarm's store does not answer \(etcd at 127\.0\.0\.1:22379\).*ECONNREFUSED/,
      });
      await daemon.cli(['network', 'inspect', '-f', '{{.Scope}}', 'o'], { stdout: 'swarm' });
      await daemon.cli(['node', 'ls', '-q'], { stdout: /^[0-9a-z]{25}$/ });
    });

    test('a daemon that was killed says what it waits for, and takes all up again once etcd answers', async () => {
      const address = await say('inspect', '-f', '{{.NetworkSettings.Networks.o.IPAddress}}', 'web');
      await daemon.kill('SIGKILL');
      await daemon.start();
      assert.match(await state(), /^error the swarm's store does not answer/);
      await daemon.cli(['exec', 'web', 'ip', '-4', 'addr', 'show', 'eth0'], { stdout: new RegExp(address) });
      etcd.spawn(0);
      assert.ok(await eventually(async () => (await state()).startsWith('active'), 10_000), await state());
      await daemon.cli(['network', 'ls', '--filter', 'driver=overlay', '--format', '{{.Name}}'], {
        stdout: /^ingress\no$/,
      });
      await daemon.cli(
        ['inspect', '-f', '{{.State.Running}} {{.NetworkSettings.Networks.o.IPAddress}}', 'web'],
        {
          stdout: `true ${address}`,
        },
      );
      assert.ok(await eventually(() => pings('web'), 5000));
    });

    test('the last manager takes the records with it', async () => {
      await daemon.cli(['swarm', 'leave', '--force']);
      assert.equal(await keys(), 0);
      assert.match(await state(), /^inactive/);
    });
  });
}
