/*
 * Managers that are locked when their daemon begins (autolock): what they refuse and what goes on, keys that are wrong and
 * changed, and that no secret of the swarm is on the disk. Texts are Docker's.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { addressOf, type Cluster, commandLines, type Host, openCluster, runSleeper } from './hosts.ts';

const locked =
  /Swarm is encrypted and needs to be unlocked before it can be used\. Please use "docker swarm unlock" to unlock it\./;
const keyForm = /SWMKEY-1-[A-Za-z0-9+/]{43}/;

for (const [name, program] of commandLines) {
  describe(`autolock: ${name}`, () => {
    let cluster: Cluster;
    let [a, b] = [] as unknown as [Host, Host];
    before(async () => {
      cluster = await openCluster(program, true);
      a = cluster.hosts.A;
      b = cluster.hosts.B;
    });
    after(async () => {
      await cluster[Symbol.asyncDispose]();
    });

    const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
      (await host.cli(args)).stdout;
    const key = (): Promise<string> => say(a, 'swarm', 'unlock-key', '-q');
    const init = (...flags: readonly string[]): Promise<string> =>
      say(a, 'swarm', 'init', '--advertise-addr', addressOf('A'), '--dispatcher-heartbeat', '1s', ...flags);
    const state = (host: Host): Promise<string> => say(host, 'info', '-f', '{{.Swarm.LocalNodeState}}');
    const unlock = (text: string, expected: Parameters<Host['cli']>[1] = {}): Promise<unknown> =>
      a.cli(['swarm', 'unlock'], { input: `${text}\n`, ...expected });
    const restart = async (): Promise<void> => {
      await a.kill('SIGKILL');
      await a.start();
    };
    const pings = (from: Host, to: string): Promise<string> =>
      say(from, 'exec', 'web', 'ping', '-c', '3', '-i', '0.2', '-W', '1', to);
    /** How many private keys are in the manager's database. */
    const keysOnDisk = (): number => {
      const folder = '/run/cluster/host-A/data';
      const texts = readdirSync(folder).filter((file) => file.startsWith('state.db'));
      return texts
        .map((file) => readFileSync(joinPath(folder, file), 'latin1').split('PRIVATE KEY').length - 1)
        .reduce((sum, count) => sum + count, 0);
    };

    test('init prints the key, which unlock-key prints again; no private key is on the disk', async () => {
      await a.cli(['swarm', 'unlock'], { exitCode: 1, stderr: /This node is not part of a swarm/ });
      const said = await init('--autolock');
      const [printed = ''] = keyForm.exec(said) ?? [];
      assert.equal(await key(), printed);
      assert.match(said, /To unlock a swarm manager after it restarts, run the/);
      assert.match(await say(a, 'info'), /Autolock Managers: true/);
      assert.equal(keysOnDisk(), 0);
      await a.cli(['swarm', 'unlock'], { exitCode: 1, stderr: /swarm is not locked/ });
      const token = await say(a, 'swarm', 'join-token', '-q', 'worker');
      await b.cli(['swarm', 'join', '--token', token, `${addressOf('A')}:2377`]);
      await a.cli(['network', 'create', '-d', 'overlay', '--attachable', '--subnet', '10.91.0.0/24', 'o']);
      await runSleeper(a, 'web', 'o', '10.91.0.10');
      await runSleeper(b, 'web', 'o', '10.91.0.11');
    });

    test('after kill -9 it is locked: commands say so, containers go on, workers are not', async () => {
      const unlockKey = await key();
      const token = await say(a, 'swarm', 'join-token', '-q', 'worker');
      await restart();
      assert.equal(await state(a), 'locked');
      assert.match(await say(a, 'info'), /Swarm: locked/);
      for (const words of [
        ['node', 'ls'],
        ['swarm', 'join-token', 'worker'],
        ['swarm', 'unlock-key'],
        ['swarm', 'update', '--autolock=false'],
        ['network', 'create', '-d', 'overlay', 'p'],
      ])
        await a.cli(words, { exitCode: 1, stderr: locked });
      await a.cli(['swarm', 'init'], { exitCode: 1, stderr: /already part of a swarm/ });
      await a.cli(['swarm', 'leave'], {
        exitCode: 1,
        stderr: /Swarm is encrypted and locked\. Please unlock it first/,
      });
      assert.match(await pings(a, '10.91.0.11'), /3 packets received/);
      assert.match(await pings(b, '10.91.0.10'), /3 packets received/);
      await b.kill('SIGKILL');
      await b.start();
      assert.equal(await state(b), 'active');
      await unlock(`SWMKEY-1-${'A'.repeat(43)}`, {
        exitCode: 1,
        stderr: /swarm could not be unlocked: invalid key provided/,
      });
      await unlock('secret', { exitCode: 1, stderr: /invalid key string/ });
      assert.equal(await state(a), 'locked');
      await unlock(unlockKey);
      assert.equal(await state(a), 'active');
      const rows = (): Promise<string> => say(a, 'node', 'ls', '--format', '{{.Hostname}} {{.Status}}');
      assert.equal(await eventually(async () => /host-B Ready/.test(await rows()), 20_000), true);
      assert.equal(await say(a, 'swarm', 'join-token', '-q', 'worker'), token);
      await a.cli(['run', '--rm', '--network', 'o', 'busybox', 'ping', '-c', '1', '-W', '2', '10.91.0.11']);
      assert.equal(keysOnDisk(), 0);
    });

    test('a key that was changed opens no more, the new one does; the root is changed under a lock, too', async () => {
      const old = await key();
      await a.cli(['swarm', 'unlock-key', '--rotate'], {
        stdout: /Successfully rotated manager unlock key\./,
      });
      const now = await key();
      assert.notEqual(now, old);
      await a.cli(['swarm', 'ca', '--rotate'], { stdout: /BEGIN CERTIFICATE/ });
      await restart();
      await unlock(old, { exitCode: 1, stderr: /invalid key provided/ });
      await unlock(now);
      assert.equal(await key(), now);
      assert.equal(keysOnDisk(), 0);
    });

    // The commands are those of above.
    if (name !== 'docker CLI') return;

    test('autolock is turned off and on again', async () => {
      await a.cli(['swarm', 'update', '--autolock=false'], { stdout: 'Swarm updated.' });
      await a.cli(['swarm', 'unlock-key'], { exitCode: 1, stderr: /no unlock key is set/ });
      await a.cli(['swarm', 'unlock-key', '--rotate'], { exitCode: 1, stderr: /autolock is not turned on/ });
      await restart();
      assert.equal(await state(a), 'active');
      const { stdout } = await a.cli(['swarm', 'update', '--autolock=true'], { stdout: keyForm });
      await restart();
      assert.equal(await state(a), 'locked');
      await unlock(keyForm.exec(stdout)?.[0] ?? '');
      assert.equal(await state(a), 'active');
    });

    test('who has lost the key leaves by force, and leaves nothing', async () => {
      await restart();
      await a.cli(['swarm', 'leave', '--force'], { stdout: 'Node left the swarm.' });
      assert.equal(await state(a), 'inactive');
      await restart();
      assert.equal(await state(a), 'inactive');
      await init();
      assert.equal(await state(a), 'active');
    });
  });
}

describe('autolock of two managers', () => {
  let cluster: Cluster;
  let [a, b] = [] as unknown as [Host, Host];
  const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
    (await host.cli(args)).stdout;
  const state = (host: Host): Promise<string> => say(host, 'info', '-f', '{{.Swarm.LocalNodeState}}');
  const restartBoth = async (): Promise<void> => {
    await Promise.all([a.killAll(), b.killAll()]);
    await Promise.all([a.start(), b.start()]);
    assert.deepEqual(await Promise.all([state(a), state(b)]), ['locked', 'locked']);
  };
  const unlock = (host: Host, text: string): Promise<boolean> =>
    eventually(async () => {
      // Alone it has no majority, and says so; it is not locked any more.
      await host.cli(['swarm', 'unlock'], { input: `${text}\n`, exitCode: undefined });
      return (await state(host)) !== 'locked';
    }, 30_000);
  const bothWork = async (): Promise<void> => {
    for (const host of [a, b])
      assert.ok(
        await eventually(async () => {
          const { stdout } = await host.cli(['node', 'ls', '--format', '{{.Status}} {{.ManagerStatus}}'], {
            exitCode: undefined,
          });
          return stdout.split('\n').filter((row) => /^Ready (Leader|Reachable)$/.test(row)).length === 2;
        }, 40_000),
        host.tail(),
      );
  };

  before(async () => {
    cluster = await openCluster('docker');
    ({ A: a, B: b } = cluster.hosts);
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  test('both are locked after a kill; each is unlocked by the one key; a new key reaches the other', async () => {
    const init = ['swarm', 'init', '--autolock', '--advertise-addr', addressOf('A')];
    const [old = ''] = keyForm.exec(await say(a, ...init, '--dispatcher-heartbeat', '1s')) ?? [];
    const token = await say(a, 'swarm', 'join-token', '-q', 'manager');
    await b.cli(['swarm', 'join', '--token', token, `${addressOf('A')}:2377`]);
    await restartBoth();
    assert.ok(await unlock(a, old));
    assert.equal(await state(b), 'locked');
    assert.ok(await unlock(b, old));
    await bothWork();
    await a.cli(['swarm', 'unlock-key', '--rotate']);
    const now = await say(a, 'swarm', 'unlock-key', '-q');
    assert.notEqual(now, old);
    assert.ok(await eventually(async () => (await say(b, 'swarm', 'unlock-key', '-q')) === now));
    await restartBoth();
    await b.cli(['swarm', 'unlock'], { input: `${old}\n`, exitCode: 1, stderr: /invalid key provided/ });
    assert.ok(await unlock(b, now));
    assert.ok(await unlock(a, now));
    await bothWork();
  });
});
