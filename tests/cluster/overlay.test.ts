/*
 * Overlay networks as their users know them, on three machines: made on a manager, seen everywhere, containers that reach
 * each other by name and address across machines, move, restart, and outlive daemons, managers and partitions; and what
 * is refused. Texts are Docker's where it has one.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../compat/command.ts';
import { testOnce } from '../compat/reference.ts';
import {
  type Cluster,
  commandLines,
  cutOff,
  formSwarm,
  type Host,
  onUnderlay,
  openCluster,
} from './hosts.ts';

/** Counts packets of VXLAN between machines from now on: of this VNI, of another, and of anything else on UDP. */
function countVxlan(vni: number): () => { readonly ours: number; readonly others: number } {
  const rules = [
    'add table bridge count',
    'delete table bridge count',
    'add table bridge count',
    'add chain bridge count forward { type filter hook forward priority 0; }',
    `add rule bridge count forward udp dport 4789 @th,96,24 ${vni} counter accept comment "ours"`,
    'add rule bridge count forward udp dport 4789 counter accept comment "others"',
  ];
  onUnderlay('nft', rules.join('\n'));
  return () => {
    const text = onUnderlay('nft', 'list', 'table', 'bridge', 'count');
    const of = (name: string): number =>
      Number(new RegExp(`counter packets (\\d+) bytes \\d+ accept comment "${name}"`).exec(text)?.[1]);
    const counts = { ours: of('ours'), others: of('others') };
    onUnderlay('nft', 'delete', 'table', 'bridge', 'count');
    return counts;
  };
}

for (const [name, program] of commandLines) {
  const isDocker = program === 'docker';

  const once = testOnce({ name });

  describe(`overlay: ${name}`, () => {
    let cluster: Cluster;
    let [a, b, c] = [] as unknown as [Host, Host, Host];

    const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
      (await host.cli(args)).stdout;
    const inspect = (host: Host, network: string, format: string): Promise<string> =>
      say(host, 'network', 'inspect', '-f', format, network);
    const run = (
      host: Host,
      container: string,
      network: string,
      ...more: readonly string[]
    ): Promise<string> =>
      say(host, 'run', '-d', '--name', container, '--network', network, ...more, 'busybox', 'sleep', '600');
    const addressIn = (host: Host, container: string, network: string): Promise<string> =>
      say(host, 'inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, container);
    const ping = async (host: Host, container: string, target: string): Promise<boolean> => {
      const words = ['exec', container, 'ping', '-c', '1', '-W', '1', target];
      return (await host.cli(words, { exitCode: undefined })).exitCode === 0;
    };
    const reaches = (host: Host, container: string, target: string, withinMs = 2000): Promise<boolean> =>
      eventually(() => ping(host, container, target), withinMs);
    const remove = (host: Host, ...containers: readonly string[]): Promise<unknown> =>
      host.cli(['rm', '-f', ...containers]);

    before(async () => {
      cluster = await openCluster(program, true);
      a = cluster.hosts.A;
      b = cluster.hosts.B;
      c = cluster.hosts.C;
      await formSwarm(a, b, c);
    });
    after(async () => {
      await cluster[Symbol.asyncDispose]();
    });

    test('a network is made on a manager, gets the first VNI and subnet, and is known to every machine', async () => {
      assert.match(await say(a, 'network', 'create', '-d', 'overlay', 'mynet'), /^[0-9a-z]{25}$/);
      const vni = '{{index .Options "com.docker.network.driver.overlay.vxlanid_list"}}';
      const shown = `{{.Scope}} {{.Driver}} {{(index .IPAM.Config 0).Subnet}} ${vni}`;
      for (const host of [a, b, c]) {
        const known = await eventually(async () => {
          const names = await say(
            host,
            'network',
            'ls',
            '--filter',
            'driver=overlay',
            '--format',
            '{{.Name}}',
          );
          return names === 'ingress\nmynet';
        }, 2000);
        assert.ok(known, `${host.name} does not list it`);
        assert.equal(await inspect(host, 'mynet', shown), 'swarm overlay 10.0.1.0/24 4097');
        assert.equal(
          await inspect(host, 'ingress', `${shown} {{.Ingress}}`),
          'swarm overlay 10.0.0.0/24 4096 true',
        );
      }
      await b.cli(['network', 'create', '-d', 'overlay', 'other'], {
        exitCode: 1,
        stderr:
          /Cannot create a multi-host network from a worker node\. Please create the network from a manager node/,
      });
      for (const [words, stderr] of [
        [['mynet'], /network with name mynet already exists/],
        [['--subnet', '10.0.1.128/25', 'x'], /Pool overlaps with other one on this address space/],
        [['--opt', 'com.docker.network.driver.overlay.vxlanid_list=4097', 'x'], /VNI 4097/],
        [['--opt', 'nonsense=1', 'x'], /unknown option "nonsense"/],
      ] as const)
        await a.cli(['network', 'create', '-d', 'overlay', ...words], { exitCode: 1, stderr });
      assert.equal(
        await say(a, 'network', 'ls', '--filter', 'driver=overlay', '--format', '{{.Name}}'),
        'ingress\nmynet',
      );
    });

    test('a container is reached by its name and aliases from another machine, in the tunnel of the network', async () => {
      await say(
        a,
        ...['run', '-d', '--name', 'web', '--network', 'mynet', '--network-alias', 'www'],
        ...['busybox', 'httpd', '-f', '-p', '80', '-h', '/'],
      );
      const passwd = ['run', '--rm', '--network', 'mynet', 'busybox', 'wget', '-qO-'];
      await b.cli([...passwd, 'http://web/etc/passwd'], { stdout: /^root:/ });
      await c.cli([...passwd, 'http://www.mynet/etc/passwd'], { stdout: /^root:/ });
      await run(b, 'two', 'mynet');
      const counted = countVxlan(4097);
      await b.cli(['exec', 'two', 'ping', '-c', '3', '-i', '0.2', 'web'], { stdout: /3 packets received/ });
      const { ours, others } = counted();
      assert.ok(ours >= 6, `${ours} packets`);
      assert.equal(others, 0);
      assert.ok(await reaches(a, 'web', 'two'));
      await b.cli(['exec', 'two', 'cat', '/sys/class/net/eth0/mtu'], { stdout: '1450' });
      await b.cli(['exec', 'two', 'nslookup', await addressIn(a, 'web', 'mynet')], {
        stdout: /name = web\.mynet/,
      });
      for (const host of [a, b, c]) {
        const peers = await inspect(host, 'mynet', '{{range .Peers}}{{.Name}} {{.IP}};{{end}}');
        assert.equal(peers, 'host-A 192.0.2.11;host-B 192.0.2.12;', `on ${host.name}`);
      }
      assert.equal(await inspect(b, 'mynet', '{{range .Containers}}{{.Name}} {{end}}'), 'two');
    });

    test('verbose, each machine shows the containers of all of them; the MTU is what theirs have', async () => {
      const [web, two] = [await addressIn(a, 'web', 'mynet'), await addressIn(b, 'two', 'mynet')];
      for (const host of [a, b, c]) {
        const [network] = JSON.parse(await say(host, 'network', 'inspect', '-v', 'mynet')) as readonly [
          { readonly MTU: number; readonly Status: unknown },
        ];
        const tasks = await say(
          host,
          ...['network', 'inspect', '-v', '-f'],
          '{{range .Services}}{{range .Tasks}}{{.Name}} {{.EndpointIP}} {{index .Info "Host IP"}};{{end}}{{end}}',
          'mynet',
        );
        assert.equal(tasks, `two ${two} 192.0.2.12;web ${web} 192.0.2.11;`, `on ${host.name}`);
        assert.equal(network.MTU, 1450);
        // Network, broadcast, gateway, and two.
        assert.deepEqual(network.Status, {
          IPAM: { Subnets: { '10.0.1.0/24': { IPsInUse: 5, DynamicIPsAvailable: 251 } } },
        });
      }
      assert.equal(await inspect(a, 'mynet', '{{range .Services}}some{{end}}'), '');
    });

    once('addresses: the one asked for, never one twice, and none where the pool is full', async () => {
      await run(b, 'fixed', 'mynet', '--ip', '10.0.1.77');
      assert.equal(await addressIn(b, 'fixed', 'mynet'), '10.0.1.77');
      for (const [ip, stderr] of [
        ['10.0.1.77', /Address already in use/],
        ['10.0.9.1', /no configured subnet contains IP address 10\.0\.9\.1/],
      ] as const)
        await c
          .cli(['run', '--name', 'late', '--network', 'mynet', '--ip', ip, 'busybox', 'true'], {
            exitCode: 125,
            stderr,
          })
          .then(() => c.cli(['rm', '-f', 'late'], { exitCode: undefined }));
      await remove(b, 'fixed');
      await run(c, 'fixed', 'mynet', '--ip', '10.0.1.77');
      await remove(c, 'fixed');

      await say(a, 'network', 'create', '-d', 'overlay', '--subnet', '10.5.0.0/29', 'small');
      await Promise.all([run(a, 's1', 'small'), run(b, 's2', 'small'), run(c, 's3', 'small')]);
      await Promise.all([run(a, 's4', 'small'), run(b, 's5', 'small')]);
      await c.cli(['run', '--name', 's6', '--network', 'small', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /no available IPv4 addresses on this network's address pools: small/,
      });
      const taken = await Promise.all(
        (
          [
            [a, 's1'],
            [b, 's2'],
            [c, 's3'],
            [a, 's4'],
            [b, 's5'],
          ] as const
        ).map(([host, one]) => addressIn(host, one, 'small')),
      );
      assert.deepEqual(
        taken.toSorted(),
        [2, 3, 4, 5, 6].map((last) => `10.5.0.${last}`),
      );
      await a.cli(['network', 'rm', 'small'], { exitCode: 1, stderr: /is in use/ });
      await Promise.all([remove(a, 's1', 's4'), remove(b, 's2', 's5'), remove(c, 's3', 's6')]);
      await a.cli(['network', 'rm', 'small']);
      for (const host of [b, c])
        assert.ok(
          await eventually(
            async () => !(await say(host, 'network', 'ls', '--format', '{{.Name}}')).includes('small'),
            2000,
          ),
        );
      assert.deepEqual(c.overlays(), [], 'nothing of it is left where no container is');
    });

    once('a network that only stopped containers are on can be removed; they do not start then', async () => {
      await say(a, 'network', 'create', '-d', 'overlay', 'gone');
      await run(a, 'idle', 'gone');
      await run(b, 'busy', 'gone');
      await a.cli(['stop', '-t', '0', 'idle']);
      await a.cli(['network', 'rm', 'gone'], { exitCode: 1, stderr: /is in use by task/ });
      await b.cli(['stop', '-t', '0', 'busy']);
      await a.cli(['network', 'rm', 'gone']);
      const isGone = async (): Promise<boolean> =>
        !(await say(b, 'network', 'ls', '--format', '{{.Name}}')).includes('gone');
      assert.ok(await eventually(isGone, 2000));
      for (const [host, one] of [
        [a, 'idle'],
        [b, 'busy'],
      ] as const) {
        await host.cli(['start', one], { exitCode: 1, stderr: /network gone not found/ });
        assert.deepEqual(host.overlays().length, 1, 'that of mynet');
        await host.cli(['rm', one]);
      }
    });

    if (isDocker) {
      test('one that refuses containers does so with Docker’s text', async () => {
        await say(a, 'network', 'create', '-d', 'overlay', '-o', 'linkspan.attachable=false', 'closed');
        await a.cli(['run', '--rm', '--network', 'closed', 'busybox', 'true'], {
          exitCode: 125,
          stderr:
            /Could not attach to network closed: rpc error: code = PermissionDenied desc = network closed not manually attachable/,
        });
        await a.cli(['network', 'rm', 'closed']);
      });

      test('connect and disconnect work on running containers', async () => {
        await say(a, 'network', 'create', '-d', 'overlay', 'late');
        await a.cli(['network', 'connect', '--alias', 'site', 'late', 'web']);
        await run(c, 'three', 'late');
        assert.ok(await reaches(c, 'three', 'site'));
        await a.cli(['network', 'disconnect', 'late', 'web']);
        assert.equal(await ping(c, 'three', 'site'), false);
        await remove(c, 'three');
        await a.cli(['network', 'rm', 'late']);
      });

      once(
        'a container that is made again elsewhere with its name and address is found by those who knew it',
        async () => {
          await run(b, 'mover', 'mynet', '--ip', '10.0.1.50');
          await run(c, 'watch', 'mynet');
          assert.ok(await reaches(c, 'watch', 'mover'));
          for (const [from, to] of [
            [b, a],
            [a, b],
          ] as const) {
            await remove(from, 'mover');
            await run(to, 'mover', 'mynet', '--ip', '10.0.1.50');
            assert.ok(await reaches(c, 'watch', 'mover'), 'from a third machine');
            assert.ok(await reaches(from, from === a ? 'web' : 'two', '10.0.1.50'), 'from the one it left');
          }
          await remove(b, 'mover');
          await remove(c, 'watch');
        },
      );

      once('a daemon that is killed takes nothing along, and comes back with everything', async () => {
        const flow = a.cli(['exec', 'web', 'ping', '-i', '0.1', '-c', '80', 'two'], { timeoutMs: 60_000 });
        await sleep(500);
        await b.kill('SIGKILL');
        await sleep(2000);
        await run(c, 'new', 'mynet');
        await b.start();
        assert.match((await flow).stdout, / 0% packet loss/);
        assert.ok(await reaches(b, 'two', 'new', 5000), 'what came meanwhile');
        assert.ok(await reaches(b, 'two', 'web', 5000));
        await remove(c, 'new');
      });

      once(
        'without a manager what runs goes on, a daemon starts from what it knows, and new containers are refused',
        async () => {
          await a.kill('SIGKILL');
          await b.kill('SIGKILL');
          await b.start();
          assert.ok(await reaches(b, 'two', 'web'), 'by name');
          await b.cli(['run', '--name', 'orphan', '--network', 'mynet', 'busybox', 'true'], {
            exitCode: 125,
            stderr: /manager/,
          });
          await b.cli(['rm', '-f', 'orphan'], { exitCode: undefined });
          await b.cli(['stop', '-t', '0', 'two']);
          await a.start();
          const isBack = (): Promise<boolean> =>
            eventually(
              async () =>
                (await say(a, 'node', 'ls', '--format', '{{.Hostname}} {{.Status}}')).includes(
                  'host-B Ready',
                ),
              15_000,
            );
          assert.ok(await isBack());
          assert.ok(
            await eventually(async () => !(await ping(a, 'web', 'two')), 5000),
            'its stop was told later',
          );
          await b.cli(['start', 'two']);
          assert.ok(await reaches(a, 'web', 'two', 5000));
        },
      );

      once(
        'a machine that is cut off is down, its names lead nowhere, and all is as before when it is back',
        async () => {
          await a.cli(['swarm', 'update', '--dispatcher-heartbeat', '1s']);
          assert.ok(await reaches(a, 'web', 'two'));
          await cutOff('B', true);
          const status = (text: string): Promise<boolean> =>
            eventually(
              async () =>
                (await say(a, 'node', 'ls', '--format', '{{.Hostname}} {{.Status}}')).includes(text),
              30_000,
            );
          assert.ok(await status('host-B Down'));
          await a.cli(['exec', 'web', 'nslookup', 'two'], { exitCode: 1 });
          await c.cli(
            [
              'run',
              '--name',
              'thief',
              '--network',
              'mynet',
              '--ip',
              await addressIn(b, 'two', 'mynet'),
              'busybox',
              'true',
            ],
            {
              exitCode: 125,
              stderr: /Address already in use/,
            },
          );
          await c.cli(['rm', '-f', 'thief'], { exitCode: undefined });
          await cutOff('B', false);
          assert.ok(await status('host-B Ready'));
          assert.ok(await status('host-A Ready'), 'a manager hears no heartbeats of its own');
          assert.ok(await reaches(a, 'web', 'two', 5000));
          assert.ok(await reaches(b, 'two', 'web', 5000));
        },
      );

      once(
        'a machine that leaves takes its containers off the swarm’s networks, and its addresses are free',
        async () => {
          const ip = await addressIn(b, 'two', 'mynet');
          await b.cli(['swarm', 'leave']);
          assert.equal(await say(b, 'network', 'ls', '--filter', 'driver=overlay', '-q'), '');
          assert.equal(await say(b, 'inspect', '-f', '{{.State.Running}}', 'two'), 'true');
          assert.deepEqual(b.overlays(), []);
          assert.ok(
            await eventually(
              async () =>
                (await say(a, 'node', 'ls', '--format', '{{.Hostname}} {{.Status}}')).includes('host-B Down'),
              5000,
            ),
          );
          await a.cli(['node', 'rm', 'host-B']);
          await run(c, 'heir', 'mynet', '--ip', ip);
          assert.ok(await reaches(a, 'web', 'heir'));
          await remove(c, 'heir');
          await remove(b, 'two');
        },
      );
    }

    once('the last network and the swarm go, and nothing of them is left', async () => {
      await remove(a, 'web');
      if (!isDocker) await remove(b, 'two');
      await a.cli(['network', 'rm', 'mynet']);
      for (const host of isDocker ? [c] : [b, c]) await host.cli(['swarm', 'leave']);
      await a.cli(['swarm', 'leave', '--force']);
      for (const host of [a, c]) {
        assert.equal(await say(host, 'network', 'ls', '--filter', 'driver=overlay', '-q'), '');
        assert.deepEqual(host.overlays(), []);
      }
      for (const host of [a, b, c])
        assert.doesNotMatch(host.run('nft', 'list', 'ruleset'), /linkspan-tunnels/, host.name);
    });
  });
}
