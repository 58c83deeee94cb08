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
      await a.cli(['node', 'demote', 'host-A'], {
        exitCode: 1,
        stderr: /FailedPrecondition desc = attempting to demote the last manager of the swarm/,
      });
      await a.cli(['node', 'update', '--availability', 'active', 'host-B']);
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
