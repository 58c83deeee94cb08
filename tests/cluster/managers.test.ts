/*
 * A swarm of several managers: they come by token and by promotion, share a store of their own, and go on when some of
 * them die. Docker's texts where it has them.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { addressOf, type Cluster, commandLines, type Host, type HostName, openCluster } from './hosts.ts';

const [commandLine] = commandLines.filter(([name]) => name === 'docker CLI');

describe('several managers', () => {
  let cluster: Cluster;
  let [a, b, c] = [] as unknown as [Host, Host, Host];

  const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
    (await host.cli(args)).stdout;
  const join = async (host: Host, role: 'worker' | 'manager', from: HostName = 'A'): Promise<void> => {
    const token = await say(cluster.hosts[from], 'swarm', 'join-token', '-q', role);
    await host.cli(['swarm', 'join', '--token', token, `${addressOf(from)}:2377`], {
      stdout: `This node joined a swarm as a ${role}.`,
    });
  };
  /** Host names with what `node ls` says of them, sorted. */
  const managers = async (at: Host): Promise<readonly string[]> => {
    const { stdout } = await at.cli(
      ['node', 'ls', '--format', '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'],
      {
        exitCode: undefined,
      },
    );
    return stdout
      .split('\n')
      .map((row) => row.trim().replace(/^host-/, ''))
      .sort();
  };
  const becomes = async (at: Host, ...expected: readonly string[]): Promise<void> => {
    const isSo = await eventually(async () => {
      const rows = await managers(at);
      // Who leads is theirs to say.
      return String(rows.map((row) => row.replace(/Leader$/, 'Reachable'))) === String(expected);
    }, 60_000);
    const logs = [a, b, c].map((host) => `${host.name}: ${host.tail()}`).join('\n');
    assert.ok(isSo, `${String(await managers(at))} is not ${String(expected)}\n${logs}`);
  };
  const leader = async (at: Host): Promise<HostName> => {
    const row = (await managers(at)).find((one) => one.endsWith('Leader'));
    assert.ok(row, 'somebody leads');
    return row[0] as HostName;
  };
  const works = (host: Host, ...args: readonly string[]): Promise<boolean> =>
    eventually(async () => (await host.cli(args, { exitCode: undefined })).exitCode === 0, 30_000);

  before(async () => {
    cluster = await openCluster(commandLine?.[1] ?? 'docker', true);
    ({ A: a, B: b, C: c } = cluster.hosts);
    await a.cli(['swarm', 'init', '--advertise-addr', addressOf('A')]);
    await a.cli(['network', 'create', '-d', 'overlay', '--attachable', 'net']);
    await a.cli([
      'run',
      '-d',
      '--name',
      'web',
      '--network',
      'net',
      'busybox',
      'httpd',
      '-f',
      '-p',
      '80',
      '-h',
      '/',
    ]);
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  test('a second manager joins by its token while networks are made: all of them are there', async () => {
    const made: string[] = [];
    const joining = new AbortController();
    const making = (async () => {
      for (let i = 0; !joining.signal.aborted && i < 200; i += 1) {
        await a.cli(['network', 'create', '-d', 'overlay', `load${i}`]);
        made.push(`load${i}`);
      }
    })();
    await join(b, 'manager');
    joining.abort();
    await making;
    await becomes(a, 'A Ready Reachable', 'B Ready Reachable');
    await becomes(b, 'A Ready Reachable', 'B Ready Reachable');
    assert.equal(await leader(a), await leader(b));
    const names = (await say(b, 'network', 'ls', '--format', '{{.Name}}')).split('\n');
    assert.ok(made.length > 0);
    assert.deepEqual(
      made.filter((name) => !names.includes(name)),
      [],
    );
    for (const name of made) await b.cli(['network', 'rm', name]);
    assert.match(await say(a, 'info'), /Managers: 2\n/);
  });

  test('networks made at one manager are used at the other, by name', async () => {
    await b.cli(['network', 'create', '-d', 'overlay', '--attachable', 'other']);
    await a.cli(['run', '-d', '--name', 'here', '--network', 'other', 'busybox', 'sleep', '600']);
    await b.cli(['run', '--rm', '--network', 'other', 'busybox', 'ping', '-c', '1', '-W', '2', 'here']);
    await b.cli(['run', '--rm', '--network', 'net', 'busybox', 'wget', '-qO-', 'http://web/etc/passwd'], {
      stdout: /root/,
    });
    await b.cli(['network', 'create', '-d', 'overlay', 'net'], {
      exitCode: 1,
      stderr: /network with name net already exists/,
    });
    await a.cli(['rm', '-f', 'here']);
    await a.cli(['network', 'rm', 'other']);
    assert.ok(await eventually(async () => !(await say(b, 'network', 'ls')).includes('other'), 5000));
  });

  test('a worker joins at either, is promoted, demoted and promoted again; its container goes on', async () => {
    await join(c, 'worker', 'B');
    await c.cli(['run', '-d', '--name', 'kept', '--network', 'net', 'busybox', 'sleep', '600']);
    await a.cli(['node', 'promote', 'host-C'], {
      stdout: /Node host-C promoted to a manager in the swarm\./,
    });
    await becomes(c, 'A Ready Reachable', 'B Ready Reachable', 'C Ready Reachable');
    await c.cli(['node', 'demote', 'host-C'], { stdout: /Manager host-C demoted in the swarm\./ });
    await becomes(a, 'A Ready Reachable', 'B Ready Reachable', 'C Ready');
    assert.ok(
      await eventually(
        async () => /not a swarm manager/.test((await c.cli(['node', 'ls'], { exitCode: undefined })).stderr),
        20_000,
      ),
    );
    await c.cli(['exec', 'kept', 'ping', '-c', '1', '-W', '2', 'web']);
    await b.cli(['node', 'update', '--role', 'manager', 'host-C']);
    await becomes(a, 'A Ready Reachable', 'B Ready Reachable', 'C Ready Reachable');
    await c.cli(['exec', 'kept', 'ping', '-c', '1', '-W', '2', 'web']);
    // Who asks it for a manager takes it for one.
    const script = `const s = require('tls').connect({ host: '${addressOf('C')}', port: 2377, rejectUnauthorized: false }, () => {
      console.log(s.getPeerCertificate().subjectaltname); s.end(); });`;
    const names = (): string => a.run(process.execPath, '-e', script);
    assert.ok(await eventually(() => Promise.resolve(/swarm-manager/.test(names())), 10_000), names());
    await a.cli(['node', 'rm', 'host-C'], {
      exitCode: 1,
      stderr: /It must be demoted to worker before removal/,
    });
  });

  test('the leader is killed under load: writes go on within seconds, nobody gets an address twice', async () => {
    const victim = await leader(a);
    const [first, second] = (['A', 'B', 'C'] as const)
      .filter((name) => name !== victim)
      .map((name) => cluster.hosts[name]) as [Host, Host];
    const names: string[] = [];
    const over = new AbortController();
    const load = async (host: Host): Promise<void> => {
      for (let i = 0; !over.signal.aborted && i < 60; i += 1) {
        const name = `l-${host.name}-${i}`;
        const words = ['run', '-d', '--name', name, '--network', 'net', 'busybox', 'sleep', '600'];
        if ((await host.cli(words, { exitCode: undefined })).exitCode === 0) names.push(name);
      }
    };
    const loads = [load(first), load(second)];
    await eventually(() => Promise.resolve(names.length >= 4), 30_000);
    await cluster.hosts[victim].killAll();
    const atKill = names.length;
    assert.ok(await works(first, 'network', 'create', '-d', 'overlay', 'after'), 'a network is made');
    assert.ok(await works(second, 'network', 'rm', 'after'));
    assert.ok(await eventually(() => Promise.resolve(names.length >= atKill + 4), 30_000));
    over.abort();
    await Promise.all(loads);
    const addresses: string[] = [];
    for (const host of [first, second])
      for (const name of names.filter((one) => one.startsWith(`l-${host.name}-`)))
        addresses.push(await say(host, 'inspect', '-f', '{{.NetworkSettings.Networks.net.IPAddress}}', name));
    assert.equal(new Set(addresses).size, names.length, String(addresses));
    for (const host of [first, second]) {
      const own = names.filter((one) => one.startsWith(`l-${host.name}-`));
      if (own.length > 0) await host.cli(['rm', '-f', ...own]);
    }
    await cluster.hosts[victim].start();
    await becomes(first, 'A Ready Reachable', 'B Ready Reachable', 'C Ready Reachable');
  });

  test('without a majority nothing is written, what there is can be read, and containers go on', async () => {
    await b.killAll();
    await c.killAll();
    assert.ok(
      await eventually(
        async () =>
          /does not have a leader|does not answer/.test(
            (await a.cli(['network', 'create', '-d', 'overlay', 'never'], { exitCode: undefined })).stderr,
          ),
        30_000,
      ),
    );
    await a.cli(['network', 'inspect', '-f', '{{.Scope}}', 'net'], { stdout: 'swarm' });
    await a.cli(['node', 'ls', '-q'], { stdout: /^[0-9a-z]{25}/ });
    await a.cli(['exec', 'web', 'wget', '-qO-', 'http://web/etc/passwd'], { stdout: /root/ });
    await b.start();
    assert.ok(await works(a, 'network', 'create', '-d', 'overlay', 'again'));
    await a.cli(['network', 'rm', 'again']);
    await c.start();
    await becomes(a, 'A Ready Reachable', 'B Ready Reachable', 'C Ready Reachable');
  });

  test('managers leave one after the other; the last takes the swarm with it', async () => {
    await c.cli(['rm', '-f', 'kept']);
    await c.cli(['swarm', 'leave'], {
      exitCode: 1,
      stderr: /You are attempting to leave the swarm on a node that is participating as a manager\./,
    });
    await c.cli(['swarm', 'leave', '--force']);
    assert.ok(
      await eventually(async () => (await managers(a)).some((row) => /^C Down ?$/.test(row)), 60_000),
      String(await managers(a)),
    );
    await a.cli(['node', 'rm', 'host-C']);
    await a.cli(['node', 'demote', 'host-B']);
    await becomes(a, 'A Ready Reachable', 'B Ready');
    await a.cli(['node', 'demote', 'host-A'], {
      exitCode: 1,
      stderr: /attempting to demote the last manager of the swarm/,
    });
    assert.ok(await works(a, 'network', 'create', '-d', 'overlay', 'alone'));
    await b.cli(['swarm', 'leave']);
    await a.cli(['swarm', 'leave', '--force']);
    assert.match(await say(a, 'info'), /Swarm: inactive/);
  });
});
