/*
 * A swarm as its users make it: init, join, tokens that are refused, node ls, leave and remove, daemons that die and come
 * back. Texts are Docker's.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { addressOf, type Cluster, commandLines, type Host, openCluster } from './hosts.ts';

const noManager =
  /This node is not a swarm manager\. Worker nodes can't be used to view or modify cluster state\./;

for (const [name, program] of commandLines) {
  describe(`membership: ${name}`, () => {
    let cluster: Cluster;
    let [a, b, c] = [] as unknown as [Host, Host, Host];
    before(async () => {
      cluster = await openCluster(program);
      a = cluster.hosts.A;
      b = cluster.hosts.B;
      c = cluster.hosts.C;
    });
    after(async () => {
      await cluster[Symbol.asyncDispose]();
    });

    const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
      (await host.cli(args)).stdout;
    const token = (role: 'worker' | 'manager'): Promise<string> => say(a, 'swarm', 'join-token', '-q', role);
    const remote = `${addressOf('A')}:2377`;
    const join = (host: Host, text: string): Promise<unknown> =>
      host.cli(['swarm', 'join', '--token', text, remote], {
        stdout: 'This node joined a swarm as a worker.',
      });
    const refuses = async (host: Host, text: string, stderr: RegExp): Promise<void> => {
      await host.cli(['swarm', 'join', '--token', text, remote], { exitCode: 1, stderr });
      assert.match(await say(host, 'info'), /Swarm: inactive/);
    };
    const isNode = (hostname: string, status: string): Promise<boolean> =>
      eventually(async () => {
        const rows = await say(a, 'node', 'ls', '--format', '{{.Hostname}} {{.Status}}');
        return rows.split('\n').includes(`${hostname} ${status}`);
      }, 30_000);

    test('outside a swarm, commands say what to do', async () => {
      for (const words of [
        ['node', 'ls'],
        ['swarm', 'join-token', 'worker'],
      ])
        await a.cli(words, {
          exitCode: 1,
          stderr: /Use "docker swarm init" or "docker swarm join" to connect this node to swarm/,
        });
      await a.cli(['swarm', 'leave'], { exitCode: 1, stderr: /This node is not part of a swarm/ });
    });

    test('an init that asks for what cannot be starts nothing', async () => {
      for (const [words, stderr] of [
        [['--data-path-port', '80'], /Datapath port number is not in valid range \(1024-49151\) : 80/],
        [
          ['--default-addr-pool', '10.0.0.0/24', '--default-addr-pool-mask-length', '20'],
          /invalid CIDR: "10\.0\.0\.0\/24"\. Subnet size is too small for pool: 20/,
        ],
        [['--cert-expiry', '1m'], /minimum certificate expiry time is: 1h0m0s/],
        [['--external-ca', 'protocol=cfssl,url=https://ca.example'], /not supported yet/],
        [['--availability', 'off'], /invalid availability "off"/],
      ] as const)
        await a.cli(['swarm', 'init', '--advertise-addr', addressOf('A'), ...words], { exitCode: 1, stderr });
      assert.match(await say(a, 'info'), /Swarm: inactive/);
    });

    test('init prints the line to join with, once', async () => {
      const { stdout } = await a.cli(['swarm', 'init', '--advertise-addr', addressOf('A')]);
      assert.match(stdout, /^Swarm initialized: current node \([0-9a-z]{25}\) is now a manager\./);
      assert.match(
        stdout,
        /(?:docker|linkspan) swarm join --token SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25} 192\.0\.2\.11:2377/,
      );
      await a.cli(['swarm', 'init'], {
        exitCode: 1,
        stderr: /This node is already part of a swarm\. Use "docker swarm leave"/,
      });
      assert.match(await say(a, 'info'), /Swarm: active/);
    });

    test('tokens that are wrong, mistyped or rotated let nobody in', async () => {
      const old = await token('worker');
      await refuses(b, 'SWMTKN-1-wrong', /invalid join token/);
      const [, , digest = '', secret = ''] = old.split('-');
      const other = digest.startsWith('1') ? `2${digest.slice(1)}` : `1${digest.slice(1)}`;
      await refuses(
        b,
        `SWMTKN-1-${other}-${secret}`,
        /remote CA does not match fingerprint\. Expected: [0-9a-f]{64}/,
      );
      await refuses(
        b,
        `SWMTKN-1-${digest}-${secret.split('').toReversed().join('')}`,
        /A valid join token is necessary/,
      );
      await a.cli(['swarm', 'join-token', '--rotate', 'worker'], {
        stdout: /Successfully rotated worker join token\./,
      });
      await refuses(b, old, /A valid join token is necessary/);
      await b.cli(['swarm', 'join', '--token', await token('worker'), `${addressOf('C')}:2377`], {
        exitCode: 1,
      });
      assert.equal(await say(a, 'node', 'ls', '-q').then((text) => text.split('\n').length), 1);
    });

    test('two nodes join; managers list them, workers do not', async () => {
      await join(b, await token('worker'));
      await join(c, await token('worker'));
      const rows = await say(
        a,
        'node',
        'ls',
        '--format',
        '{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}',
      );
      assert.deepEqual(
        rows
          .split('\n')
          .map((row) => row.trim())
          .sort(),
        ['host-A Ready Active Leader', 'host-B Ready Active', 'host-C Ready Active'],
      );
      await b.cli(['node', 'ls'], { exitCode: 1, stderr: noManager });
      await b.cli(['swarm', 'unlock-key'], {
        exitCode: 1,
        stderr: /^could not fetch unlock key: Error response from daemon: This node is not a swarm manager/,
      });
      const manager = await say(a, 'info', '-f', '{{.Swarm.NodeID}}');
      const known = '{{range .Swarm.RemoteManagers}}{{.NodeID}} {{.Addr}}{{end}}';
      assert.equal(await say(b, 'info', '-f', known), `${manager} ${remote}`);
      await b.cli(['swarm', 'join', '--token', await token('worker'), remote], {
        exitCode: 1,
        stderr: /already part of a swarm/,
      });
      assert.match(await say(b, 'info'), /Swarm: active[\s\S]*Is Manager: false/);
    });

    test('labels and availability are kept; the last manager stays one', async () => {
      await a.cli(['node', 'update', '--label-add', 'zone=east', '--availability', 'drain', 'host-B']);
      assert.equal(
        await say(a, 'node', 'inspect', '-f', '{{.Spec.Labels.zone}} {{.Spec.Availability}}', 'host-B'),
        'east drain',
      );
      assert.equal(
        await say(a, 'node', 'ls', '-q', '--filter', 'node.label=zone=east').then(
          (text) => text.split('\n').length,
        ),
        1,
      );
      await a.cli(['node', 'inspect', '--pretty', 'host-B'], {
        stdout:
          /Plugins:\n {1,2}Log:\s+journald, json-file, local\n {1,2}Network:\s+bridge, host, .*overlay\n {1,2}Volume:\s+local\n/,
      });
      await a.cli(['node', 'demote', 'host-A'], {
        exitCode: 1,
        stderr: /FailedPrecondition desc = attempting to demote the last manager of the swarm/,
      });
      await a.cli(['node', 'update', '--availability', 'active', 'host-B']);
    });

    test('a manager tells of nodes and networks in its events, a worker of what is on itself', async () => {
      const since = new Date().toISOString();
      await a.cli(['node', 'update', '--availability', 'pause', 'host-B']);
      await a.cli(['node', 'update', '--availability', 'active', 'host-B']);
      const { stdout: id } = await a.cli(['network', 'create', '-d', 'overlay', 'seen']);
      const isSeenByB = async (): Promise<boolean> => (await say(b, 'network', 'ls')).includes('seen');
      assert.equal(await eventually(isSeenByB, 10_000), true);
      assert.equal(
        await say(b, 'network', 'inspect', '-f', '{{.Attachable}}', 'seen', 'ingress'),
        'true\nfalse',
      );
      await a.cli(['network', 'rm', 'seen']);
      assert.equal(await eventually(async () => !(await isSeenByB()), 10_000), true);
      const events = async (host: Host, ...filters: readonly string[]): Promise<readonly string[]> => {
        const text = await say(
          host,
          'events',
          '--since',
          since,
          '--until',
          new Date().toISOString(),
          ...filters,
        );
        return text.split('\n').map((line) => line.slice(line.indexOf(' ') + 1));
      };
      const nodeB = await say(a, 'node', 'inspect', '-f', '{{.ID}}', 'host-B');
      assert.deepEqual(await events(a, '--filter', 'scope=swarm'), [
        `node update ${nodeB} (availability.new=pause, availability.old=active, name=host-B)`,
        `node update ${nodeB} (availability.new=active, availability.old=pause, name=host-B)`,
        `network create ${id} (name=seen)`,
        // It is going, and nothing can be attached to it any more.
        `network update ${id} (name=seen)`,
        `network remove ${id} (name=seen)`,
      ]);
      const here = [
        `network create ${id} (name=seen, type=overlay)`,
        `network destroy ${id} (name=seen, type=overlay)`,
      ];
      assert.deepEqual(await events(a, '--filter', 'scope=local'), here);
      assert.deepEqual(await events(b), here);
      assert.deepEqual(await events(a, '--filter', 'type=node', '--filter', 'node=host-A'), ['']);
    });

    const once = name === 'docker CLI' ? test : undefined;
    // Half a minute in which nothing depends on the command line.
    void once?.('kill -9 of a worker, then of the manager: both come back as what they were', async () => {
      await b.kill('SIGKILL');
      assert.equal(await isNode('host-B', 'Down'), true);
      await b.start();
      assert.equal(await isNode('host-B', 'Ready'), true);
      const tokens = await token('worker');
      await a.kill('SIGKILL');
      await b.cli(['info'], { stdout: /Swarm: active/ });
      await a.start();
      for (const host of ['host-A', 'host-B', 'host-C'])
        assert.equal(await isNode(host, 'Ready'), true, host);
      assert.equal(await token('worker'), tokens);
    });

    test('a node that leaves is down and can be removed; one that is ready only by force, and then at once', async () => {
      const since = new Date().toISOString();
      await a.cli(['node', 'rm', 'host-B'], {
        exitCode: 1,
        stderr: /FailedPrecondition desc = node \w+ is not down and can't be removed/,
      });
      await b.cli(['swarm', 'leave'], { stdout: 'Node left the swarm.' });
      assert.equal(await isNode('host-B', 'Down'), true);
      await a.cli(['node', 'rm', 'host-B'], { stdout: 'host-B' });
      await a.cli(['node', 'rm', '--force', 'host-C'], { stdout: 'host-C' });
      assert.equal(await eventually(async () => /Swarm: error/.test(await say(c, 'info')), 5000), true);
      await c.cli(['swarm', 'leave'], { stdout: 'Node left the swarm.' });
      await join(c, await token('worker'));
      await c.cli(['swarm', 'leave']);
      const said = await say(
        a,
        ...['events', '--since', since, '--until', new Date().toISOString(), '--filter', 'type=node'],
        ...['--format', '{{.Action}} {{json .Actor.Attributes}}'],
      );
      const ofC = said
        .split('\n')
        .filter((line) => line.includes('host-C') && !line.endsWith('update {"name":"host-C"}'));
      const state = (before: string, after: string): string =>
        `update {"name":"host-C","state.new":"${after}","state.old":"${before}"}`;
      assert.deepEqual(ofC.slice(0, 3), [
        'remove {"name":"host-C"}',
        'create {"name":"host-C"}',
        state('down', 'ready'),
      ]);
      assert.equal(said.split('\n').includes(state('ready', 'down').replace('host-C', 'host-B')), true);
    });

    test('the last manager leaves only by force, and leaves nothing', async () => {
      await a.cli(['swarm', 'leave'], {
        exitCode: 1,
        stderr: /Removing the last manager erases all current state of the swarm/,
      });
      await a.cli(['swarm', 'leave', '--force'], { stdout: 'Node left the swarm.' });
      assert.match(await say(a, 'info'), /Swarm: inactive/);
      await a.cli(['swarm', 'init', '--advertise-addr', addressOf('A')]);
      await a.cli(['swarm', 'leave', '--force']);
    });
  });
}
