/*
 * The way out of containers on overlay networks, as users see it: a second interface on docker_gwbridge that no list of
 * the container's networks shows, NAT, published ports, and what becomes of it as networks, daemons and containers come
 * and go. Texts are Docker's.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { busyboxImage } from '../compat/daemonFixture.ts';
import { testOnce } from '../compat/reference.ts';
import { addressOf, type Cluster, commandLines, type Host, openCluster } from './hosts.ts';

for (const [name, program] of commandLines) {
  const once = testOnce({ name });

  describe(`gateway: ${name}`, () => {
    let cluster: Cluster;
    let [a, b] = [] as unknown as [Host, Host];

    const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
      (await host.cli(args)).stdout;
    const run = (host: Host, container: string, ...options: readonly string[]): Promise<string> =>
      say(
        host,
        ...['run', '-d', '--name', container, ...options],
        ...['busybox', 'httpd', '-f', '-p', '80', '-h', '/etc'],
      );
    const exec = (host: Host, container: string, ...words: readonly string[]): Promise<string> =>
      say(host, 'exec', container, ...words);
    /** Interfaces but for loopback, and what gives the default route. */
    const outlook = async (host: Host, container: string): Promise<string> => {
      const links = await exec(host, container, 'ls', '/sys/class/net');
      const routes = await exec(host, container, 'ip', '-4', 'route', 'show', 'default');
      const device = /dev (\S+)/.exec(routes)?.[1] ?? 'nothing';
      return `${links
        .split(/\s+/)
        .filter((link) => link !== 'lo')
        .join(' ')} by ${device}`;
    };
    /** The name of the container whose web server is there; asked by a machine, or by a container on it. */
    const ask = (address: string, port: number): readonly string[] => [
      ...['sh', '-c'],
      `printf 'GET /hostname HTTP/1.0\r\n\r\n' | nc -w 5 ${address} ${port} | tail -n 1`,
    ];
    const answerTo = (host: Host, address: string, port: number): string =>
      host.run('busybox', ...ask(address, port)).trim();

    before(async () => {
      cluster = await openCluster(program);
      a = cluster.hosts.A;
      b = cluster.hosts.B;
      await Promise.all([a, b].map((host) => host.cli(['load', '-i', busyboxImage()])));
      await a.cli(['swarm', 'init', '--advertise-addr', addressOf('A')]);
      const token = await say(a, 'swarm', 'join-token', '-q', 'worker');
      await b.cli(['network', 'create', '--subnet', '10.11.0.0/16', 'docker_gwbridge']);
      await b.cli(['swarm', 'join', '--token', token, `${addressOf('A')}:2377`]);
      await a.cli(['network', 'create', '-d', 'overlay', 'o']);
      await run(a, 'web', '--network', 'o', '-p', '8080:80', '--hostname', 'web');
    });
    after(async () => {
      await cluster[Symbol.asyncDispose]();
    });

    test('a container has eth0 on its network and eth1 on docker_gwbridge, which is none of its networks', async () => {
      assert.equal(await outlook(a, 'web'), 'eth0 eth1 by eth1');
      const networks =
        '{{range $name, $one := .NetworkSettings.Networks}}{{$name}} [{{$one.Gateway}}]{{end}}';
      assert.equal(await say(a, 'inspect', '-f', networks, 'web'), 'o []');
      const address = await say(a, 'inspect', '-f', '{{.NetworkSettings.Networks.o.IPAddress}}', 'web');
      const hosts = await exec(a, 'web', 'cat', '/etc/hosts');
      assert.deepEqual(
        hosts.split('\n').filter((line) => line.endsWith('web')),
        [`${address}\tweb`],
      );
      const sandbox = await say(a, 'inspect', '-f', '{{.NetworkSettings.SandboxID}}', 'web');
      const listed = '{{range .Containers}}{{.Name}}{{end}} {{json .Options}}';
      assert.equal(
        await say(a, 'network', 'inspect', '-f', listed, 'docker_gwbridge'),
        `gateway_${sandbox.slice(0, 12)} ${JSON.stringify({
          'com.docker.network.bridge.enable_icc': 'false',
          'com.docker.network.bridge.enable_ip_masquerade': 'true',
          'com.docker.network.bridge.name': 'docker_gwbridge',
        })}`,
      );
      assert.equal(await say(a, 'ps', '--filter', 'network=docker_gwbridge', '-q'), '');
    });

    test('it reaches other machines, and its published ports are reached by them', async () => {
      await run(b, 'far', '--hostname', 'far', '-p', '8081:80');
      assert.equal(await exec(a, 'web', ...ask(addressOf('B'), 8081)), 'far');
      assert.equal(answerTo(b, addressOf('A'), 8080), 'web');
      assert.equal(await say(a, 'port', 'web'), '80/tcp -> 0.0.0.0:8080');
    });

    once('a network of that name that the user made is taken, with its subnet', async () => {
      await run(b, 'near', '--network', 'o');
      assert.match(await exec(b, 'near', 'ip', '-4', 'address', 'show', 'eth1'), /inet 10\.11\.0\.2\/16/);
      assert.equal(await exec(b, 'near', ...ask('web', 80)), 'web');
    });

    once('an internal overlay network has one interface and no route', async () => {
      await a.cli(['network', 'create', '-d', 'overlay', '--internal', 'i']);
      await run(a, 'inner', '--network', 'i');
      assert.equal(await outlook(a, 'inner'), 'eth0 by nothing');
      await a.cli(['rm', '-f', 'inner']);
      await a.cli(['network', 'rm', 'i']);
    });

    once('it cannot be taken away by hand, nor by prune', async () => {
      await a.cli(['network', 'rm', 'docker_gwbridge'], { exitCode: 1, stderr: /has active endpoints/ });
      await a.cli(['network', 'disconnect', 'docker_gwbridge', 'web'], {
        exitCode: 1,
        stderr: /is not connected to network docker_gwbridge/,
      });
      await b.cli(['rm', '-f', 'near']);
      assert.doesNotMatch(await say(b, 'network', 'prune', '-f'), /docker_gwbridge/);
      assert.equal(await outlook(a, 'web'), 'eth0 eth1 by eth1');
    });

    once('a bridge network gives the default route while the container is on it', async () => {
      await a.cli(['network', 'create', 'lan']);
      await a.cli(['network', 'connect', 'lan', 'web']);
      assert.equal(await outlook(a, 'web'), 'eth0 eth1 eth2 by eth2');
      assert.equal(answerTo(b, addressOf('A'), 8080), 'web');
      await a.cli(['network', 'disconnect', 'lan', 'web']);
      assert.equal(await outlook(a, 'web'), 'eth0 eth1 by eth1');
      assert.equal(answerTo(b, addressOf('A'), 8080), 'web');
    });

    once('it outlives a daemon that is killed, and is made again with the container', async () => {
      await a.kill('SIGKILL');
      assert.equal(answerTo(b, addressOf('A'), 8080), 'web');
      await a.start();
      assert.equal(await outlook(a, 'web'), 'eth0 eth1 by eth1');
      await a.cli(['restart', '-t', '0', 'web']);
      assert.equal(await outlook(a, 'web'), 'eth0 eth1 by eth1');
      assert.equal(answerTo(b, addressOf('A'), 8080), 'web');
    });

    test('it goes with the last overlay network, and the network can be removed then', async () => {
      await a.cli(['network', 'create', 'elsewhere']);
      await a.cli(['network', 'connect', 'elsewhere', 'web']);
      await a.cli(['network', 'disconnect', 'o', 'web']);
      assert.equal(await outlook(a, 'web'), 'eth2 by eth2');
      assert.equal(answerTo(b, addressOf('A'), 8080), 'web');
      await a.cli(['network', 'rm', 'docker_gwbridge']);
      await a.cli(['network', 'connect', 'o', 'web']);
      assert.equal(await outlook(a, 'web'), 'eth0 eth1 eth2 by eth2');
      await a.cli(['rm', '-f', 'web']);
      await a.cli(['network', 'rm', 'o', 'docker_gwbridge']);
      assert.equal(a.run('ip', '-br', 'link').includes('docker_gwbridge'), false);
    });
  });
}
