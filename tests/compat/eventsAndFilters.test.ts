/*
 * Events in their order, the filters of `network ls`, and prune.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { notAsked } from '../arch/skips.ts';
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

    test('28: prune by label, and by age', async () => {
      await daemon.cli(['network', 'create', '--label', 'tier=db', 'old']);
      await daemon.cli(['network', 'create', '--label', 'tier=web', 'new']);
      const prune = async (stdout: RegExp | string, ...filters: readonly string[]): Promise<void> => {
        await daemon.cli(['network', 'prune', '-f', ...filters.flatMap((text) => ['--filter', text])], {
          stdout,
        });
      };
      await prune('', 'until=1h');
      await prune('', 'label=tier=x');
      await prune(/^Deleted Networks:\nnew$/, 'label=tier', 'label!=tier=db');
      await prune(/^Deleted Networks:\nold$/, 'until=0s', 'label=tier=db');
      await daemon.cli(['network', 'prune', '-f', '--filter', 'name=x'], {
        exitCode: 1,
        stderr: /[Ii]nvalid filter 'name'/,
      });
    });

    test('27: connect and disconnect of a running container, and prune, are told with the container', async () => {
      await daemon.cli(['network', 'create', 'n1']);
      const { stdout: id } = await daemon.cli(['run', '-d', '--name', 'w1', 'busybox', 'sleep', '99']);
      const since = utc();
      await daemon.cli(['network', 'connect', 'n1', 'w1']);
      await daemon.cli(['network', 'disconnect', 'n1', 'w1']);
      await daemon.cli(['network', 'prune', '-f']);
      const { stdout } = await daemon.cli([
        ...[
          'events',
          '--since',
          since,
          '--until',
          utc(),
          '--filter',
          'type=network',
          '--format',
          '{{json .}}',
        ],
      ]);
      interface Told {
        readonly Action: string;
        readonly scope: string;
        readonly Actor: { readonly Attributes: Readonly<Record<string, string>> };
      }
      const told = stdout.split('\n').map((line) => JSON.parse(line) as Told);
      const common = { name: 'n1', type: 'bridge' };
      assert.deepEqual(
        told.map(({ Action, Actor: { Attributes } }) => [Action, Attributes]),
        [
          ['connect', { container: id, ...common }],
          ['disconnect', { container: id, ...common }],
          // 20.10 tells of it twice, which was a defect.
          ...(daemon.isReference ? [['disconnect', { container: id, ...common }]] : []),
          ['destroy', common],
          ['prune', { reclaimed: '0' }],
        ],
      );
      assert.ok(told.every(({ scope }) => scope === 'local'));
      await daemon.cli(['rm', '-f', 'w1']);
    });

    test('34: a network from a configuration, which cannot be removed while it is used', async () => {
      const subnet = ['--subnet', '10.88.0.0/24', '--gateway', '10.88.0.9'];
      await daemon.cli(['network', 'create', '--config-only', ...subnet, '--label', 'a=b', 'c5']);
      await daemon.cli(['network', 'create', '--config-from', 'c5', 'n5']);
      const inspect = async (name: string, format: string, stdout: string): Promise<void> => {
        await daemon.cli(['network', 'inspect', '-f', format, name], { stdout });
      };
      await inspect('c5', '{{.ConfigOnly}} {{.Driver}} {{.Scope}}', 'true null local');
      const config = '{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}';
      await inspect('c5', config, '10.88.0.0/24 10.88.0.9');
      await inspect(
        'n5',
        `{{.ConfigOnly}} {{.ConfigFrom.Network}} {{.Labels.a}} ${config}`,
        'false c5 b 10.88.0.0/24 10.88.0.9',
      );
      await daemon.cli(['run', '--rm', '--network', 'n5', 'busybox', 'ip', 'route'], {
        stdout: /default via 10\.88\.0\.9/,
      });
      const refused = async (stderr: RegExp, ...args: readonly string[]): Promise<void> => {
        await daemon.cli(args, { exitCode: args[0] === 'run' ? 125 : 1, stderr });
      };
      await refused(/configuration network "c5" is in use/, 'network', 'rm', 'c5');
      await refused(
        /user.specified configurations are not supported if the network depends on a configuration network/,
        ...['network', 'create', '--config-from', 'c5', '--subnet', '10.89.0.0/24', 'bad'],
      );
      await refused(/can only contain network/, 'network', 'create', '--config-only', '--internal', 'bad');
      await refused(/configuration network/, 'network', 'create', '--config-from', 'nope', 'bad');
      await refused(/configuration-only network/, 'run', '--rm', '--network', 'c5', 'busybox', 'true');
      await daemon.cli(['network', 'prune', '-f'], { stdout: /^Deleted Networks:\nn5$/ });
      await daemon.cli(['network', 'rm', 'c5'], { stdout: 'c5' });
    });

    test('network inspect --verbose tells how full the pools are', async (context) => {
      if (daemon.isReference) return context.skip(notAsked('needs API 1.52'));
      await daemon.cli(['network', 'create', '--subnet', '10.90.0.0/29', 'full']);
      const { stdout } = await daemon.cli(['network', 'inspect', '--verbose', 'full']);
      const [shown] = JSON.parse(stdout) as { Status: unknown }[];
      assert.deepEqual(shown?.Status, {
        IPAM: { Subnets: { '10.90.0.0/29': { IPsInUse: 3, DynamicIPsAvailable: 5 } } },
      });
      await daemon.cli(['network', 'rm', 'full']);
    });
  });
}
