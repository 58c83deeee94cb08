/*
 * Events in their order, the filters of `network ls`, and prune.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';

const utc = (): string => new Date().toISOString();

for (const engine of engines()) {
  describe(`events and filters: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    test('27: network events come in order, with names and containers', async () => {
      const since = utc();
      await daemon.cli(['network', 'create', 'n1']);
      await daemon.cli(['run', '--rm', '--name', 'w1', '--network', 'n1', 'busybox', 'true']);
      await daemon.cli(['network', 'rm', 'n1']);
      const { stdout } = await daemon.cli([
        ...['events', '--since', since, '--until', utc(), '--filter', 'type=network'],
        ...['--format', '{{.Action}} {{index .Actor.Attributes "name"}} {{index .Actor.Attributes "type"}}'],
      ]);
      assert.deepEqual(stdout.split('\n'), [
        'create n1 bridge',
        'connect n1 bridge',
        'disconnect n1 bridge',
        'destroy n1 bridge',
      ]);
      const { stdout: containers } = await daemon.cli([
        ...[
          'events',
          '--since',
          since,
          '--until',
          utc(),
          '--filter',
          'type=container',
          '--format',
          '{{.Action}}',
        ],
      ]);
      const actions = containers.split('\n').filter((action) => !action.startsWith('exec'));
      assert.deepEqual(
        actions.filter((action) => ['create', 'start', 'die', 'destroy'].includes(action)),
        ['create', 'start', 'die', 'destroy'],
      );
    });

    test('28: filters of network ls', async () => {
      const { stdout: id } = await daemon.cli(['network', 'create', '--label', 'tier=db', 'left']);
      await daemon.cli(['network', 'create', 'right']);
      await daemon.cli(['run', '-d', '--name', 'w1', '--network', 'right', 'busybox', 'sleep', '99']);
      for (const [filter, names] of [
        ['driver=host', 'host'],
        ['name=igh', 'right'],
        [`id=${id.slice(0, 10)}`, 'left'],
        ['label=tier', 'left'],
        ['label=tier=db', 'left'],
        ['label=tier=web', ''],
        ['type=custom', 'left\nright'],
        ['type=builtin', 'bridge\nhost\nnone'],
        ['scope=local', 'bridge\nhost\nleft\nnone\nright'],
        ['scope=swarm', ''],
        // 20.10 does not look at containers here.
        ['dangling=true', daemon.isReference ? 'left\nright' : 'left'],
      ] as const) {
        const args = ['network', 'ls', '--filter', filter, '--format', '{{.Name}}'];
        await daemon.cli(args, { stdout: names });
      }
      for (const filter of ['foo=bar', 'type=x', 'dangling=maybe'])
        await daemon.cli(['network', 'ls', '--filter', filter], {
          exitCode: 1,
          stderr: /invalid filter|invalid value/i,
        });
      await daemon.cli(['network', 'list', '-q', '--no-trunc', '--filter', 'name=left'], { stdout: id });
    });

    test('28: prune removes what is unused, and says which', async () => {
      await daemon.cli(['network', 'prune', '-f'], { stdout: /^Deleted Networks:\nleft$/ });
      await daemon.cli(['network', 'ls', '--format', '{{.Name}}'], { stdout: 'bridge\nhost\nnone\nright' });
      await daemon.cli(['rm', '-f', 'w1']);
      await daemon.cli(['network', 'prune', '-f'], { stdout: /^Deleted Networks:\nright$/ });
      await daemon.cli(['network', 'prune', '-f'], { stdout: '' });
    });
  });
}
