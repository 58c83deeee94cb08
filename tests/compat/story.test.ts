/*
 * One user's day: the commands of the README, in order, typed as in a terminal.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { eventually } from './command.ts';
import { busyboxImage, type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { clientAddress } from './hosts.ts';

const root = join(import.meta.dirname, '../..');

for (const engine of engines()) {
  describe(`a user's day: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    test('networks are listed and made', async () => {
      await daemon.cli(['network', 'ls'], {
        stdout: /^NETWORK ID +NAME +DRIVER +SCOPE\n.* bridge +bridge +local/,
      });
      await daemon.cli(['network', 'create', 'mynet'], { stdout: /^[0-9a-f]{64}$/ });
      await daemon.cli(['network', 'ls', '--filter', 'driver=bridge'], { stdout: /mynet/ });
    });

    test('a web server on a network is reached by address', async () => {
      await daemon.cli([
        ...['run', '-d', '--name', 'web', '--network=mynet', 'busybox'],
        ...['httpd', '-f', '-p', '80', '-h', '/'],
      ]);
      const fetch = ['busybox', 'wget', '-qO-', 'http://172.18.0.2/etc/passwd'];
      await daemon.cli(['run', '--rm', '--network=mynet', ...fetch], { stdout: /^root:/ });
      // Unpublished, so not reachable from outside the host.
      const outside = ['busybox', 'wget', '-T', '1', '-qO-', 'http://172.18.0.2/etc/passwd'];
      await daemon.client(outside, { exitCode: undefined, stdout: '' });
    });

    test('a shell with a terminal runs on the default network and reaches outside', async () => {
      const script = `ping -c1 -W2 ${clientAddress} && tty`;
      const command = `docker run --rm -it busybox sh -c '${script}'`;
      // script(1) gives the client a terminal.
      const words = command.replace('docker', `${engine.cli} -H unix://${daemon.socketPath}`);
      const { stdout } = await daemon.host(['script', '-qec', words, '/dev/null']);
      assert.match(stdout, /1 packets received/);
      assert.match(stdout, /\/dev\/(pts\/0|console)/);
    });

    test('networks are inspected by name, id and id prefix', async () => {
      const { stdout: id } = await daemon.cli(['network', 'inspect', '-f', '{{.Id}}', 'mynet']);
      for (const ref of ['mynet', id, id.slice(0, 6)])
        await daemon.cli(['network', 'inspect', '--format', '{{.Name}} {{.Driver}}', ref], {
          stdout: 'mynet bridge',
        });
    });

    test('a container’s life', async () => {
      const { cli } = daemon;
      await cli(['ps'], { stdout: /^CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES\n.*web$/ });
      await cli(['exec', '-i', 'web', 'sh', '-c', 'read x; echo got $x; exit 3'], {
        input: 'it\n',
        exitCode: 3,
        stdout: 'got it',
      });
      await cli(['run', '-d', '--name', 'talk', 'busybox', 'sh', '-c', 'echo one; echo two >&2; sleep 99']);
      assert.ok(await eventually(async () => (await cli(['logs', 'talk'])).stderr === 'two'));
      await cli(['logs', 'talk'], { stdout: 'one', stderr: 'two' });
      await cli(['logs', '--tail', '1', '-t', 'talk'], { exitCode: 0 });
      await cli(['stop', '-t', '0', 'talk'], { stdout: 'talk' });
      await cli(['ps', '-a', '--filter', 'name=talk', '--format', '{{.Names}} {{.Status}}'], {
        stdout: /^talk Exited \(137\)/,
      });
      await cli(['start', 'talk'], { stdout: 'talk' });
      await cli(['restart', '-t', '0', 'talk'], { stdout: 'talk' });
      await cli(['rename', 'talk', 'talker'], { stdout: '' });
      await cli(['inspect', '-f', '{{.Name}} {{.State.Running}}', 'talker'], { stdout: '/talker true' });
      const [waited] = await Promise.all([
        cli(['wait', 'talker'], { stdout: '137' }),
        new Promise((resolve) => setTimeout(resolve, 200)).then(() =>
          cli(['kill', 'talker'], { stdout: 'talker' }),
        ),
      ]);
      assert.equal(waited.stderr, '');
      await cli(['rm', '-f', 'talker'], { stdout: 'talker' });
    });

    test('stdin reaches a container that runs attached, and its exit code comes back', async () => {
      await daemon.cli(['run', '--rm', '-i', 'busybox', 'sh', '-c', 'cat; exit 7'], {
        input: 'x'.repeat(100_000),
        exitCode: 7,
        stdout: 'x'.repeat(100_000),
      });
    });

    test('logs -f follows until the end', async () => {
      await daemon.cli([
        'run',
        '-d',
        '--name',
        'count',
        'busybox',
        'sh',
        '-c',
        'for i in 1 2 3; do echo $i; usleep 100000; done',
      ]);
      await daemon.cli(['logs', '-f', 'count'], { stdout: '1\n2\n3' });
      await daemon.cli(['rm', 'count']);
    });

    test('images are loaded, imported, tagged and removed', async () => {
      const { cli } = daemon;
      const rootfs = '/run/compat/rootfs.tar';
      execFileSync(join(root, 'scripts/node'), [
        join(root, 'src/frontends/lab/busyboxImage.ts'),
        '--rootfs',
        rootfs,
      ]);
      await cli(['images'], { stdout: /^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE\nbusybox +latest/ });
      await cli(['import', '-c', 'CMD ["echo","imported"]', rootfs, 'mine:1'], {
        stdout: /^sha256:[0-9a-f]{64}$/,
      });
      await cli(['run', '--rm', 'mine:1'], { stdout: 'imported' });
      await cli(['tag', 'mine:1', 'mine:2']);
      await cli(['images', '--format', '{{.Repository}}:{{.Tag}}', 'mine'], {
        stdout: /mine:[12]\nmine:[12]/,
      });
      await cli(['rmi', 'mine:1'], { stdout: /^Untagged: mine:1$/ });
      await cli(['rmi', 'mine:2'], { stdout: /^Untagged: mine:2\nDeleted: sha256:/ });
      await cli(['load', '-i', busyboxImage()], { stdout: 'Loaded image: busybox:latest' });
    });

    test('the engine describes itself', async () => {
      await daemon.cli(['info', '--format', '{{.ContainersRunning}}'], { stdout: '1' });
      await daemon.cli(['version', '--format', '{{.Server.APIVersion}}'], { stdout: /^1\.\d+$/ });
    });

    if (engine.cli !== 'docker') {
      test('the tutorial’s one-dash form works', async () => {
        await daemon.cli(['run', '--rm', '-net', 'mynet', 'busybox', 'ip', '-4', 'addr', 'show', 'eth0'], {
          stdout: /inet 172\.18\.0\.\d+\/16/,
        });
      });
    }

    test('the network is removed after its container', async () => {
      await daemon.cli(['rm', '-f', 'web'], { stdout: 'web' });
      await daemon.cli(['network', 'remove', 'mynet'], { stdout: 'mynet' });
      await daemon.cli(['network', 'list', '--format', '{{.Name}}'], { stdout: 'bridge\nhost\nnone' });
    });
  });
}
