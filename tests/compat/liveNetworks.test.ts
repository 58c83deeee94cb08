/*
 * Changing the networks of containers that exist: connect and disconnect, running and stopped, with what a user may
 * say of an attachment; what is refused; events; and that nothing stays behind. Expectations were taken from Docker;
 * where 20.10 (the reference here) differs from 28, the check says so.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { notAsked } from '../arch/skips.ts';
import { callApi } from './api.ts';
import type { Runner } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { readHostState } from './hostState.ts';
import { clientAddress } from './hosts.ts';
import { testOnce } from './reference.ts';

const sleeping = ['busybox', 'sleep', '999'] as const;
const ping = (address: string): readonly string[] => ['ping', '-c1', '-W1', address];

async function runSleeper(cli: Runner, name: string, ...flags: string[]): Promise<void> {
  await cli(['run', '-d', '--name', name, ...flags, ...sleeping], { stdout: /^[0-9a-f]{64}$/ });
}

async function addressOn(cli: Runner, container: string, network: string): Promise<string> {
  const format = `{{with index .NetworkSettings.Networks "${network}"}}{{.IPAddress}}{{end}}`;
  return (await cli(['inspect', '-f', format, container])).stdout;
}

for (const engine of engines('docker')) {
  const once = testOnce(engine);
  describe(`live changes of networks: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const cli: Runner = (args, options) => daemon.cli(args, options);

    test('7: connect adds eth1 with an address, disconnect takes it away, peers reach it meanwhile', async () => {
      await cli(['network', 'create', 'n1']);
      await cli(['network', 'create', '--subnet', '10.88.0.0/24', 'n2']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await runSleeper(cli, 'w2', '--network', 'n2');
      await cli(['network', 'connect', '--alias', 'xx', 'n2', 'w1'], { stdout: '' });
      await cli(['exec', 'w1', 'ip', '-4', 'addr', 'show', 'eth1'], { stdout: /inet 10\.88\.0\.3\/24 / });
      await cli(['exec', 'w2', ...ping('10.88.0.3')]);
      await cli(['exec', 'w1', ...ping(await addressOn(cli, 'w2', 'n2'))]);
      await cli(['exec', 'w1', 'cat', '/etc/hosts'], { stdout: /^10\.88\.0\.3\t[0-9a-f]{12}$/m });
      await cli(['inspect', '-f', '{{json (index .NetworkSettings.Networks "n2").Aliases}}', 'w1'], {
        stdout: /"xx"/,
      });
      await cli(
        ['network', 'inspect', '-f', '{{range .Containers}}{{println .Name .IPv4Address}}{{end}}', 'n2'],
        {
          stdout: /w1 10\.88\.0\.3\/24/,
        },
      );
      await cli(['network', 'connect', 'n2', 'w1'], {
        exitCode: 1,
        stderr: 'Error response from daemon: endpoint with name w1 already exists in network n2',
      });
      await cli(['network', 'disconnect', 'n2', 'w1'], { stdout: '' });
      await cli(['exec', 'w1', 'ls', '/sys/class/net'], { stdout: 'eth0\nlo' });
      await cli(['exec', 'w1', 'cat', '/etc/hosts'], { stdout: /^(?![\s\S]*10\.88)/ });
      await cli(['exec', 'w2', ...ping('10.88.0.3')], { exitCode: 1 });
      await cli(['network', 'disconnect', 'n2', 'w1'], {
        exitCode: 1,
        stderr: /Error response from daemon: container [0-9a-f]{64} is not connected to network n2$/,
      });
      await cli(['rm', '-f', 'w1', 'w2']);
      await cli(['network', 'rm', 'n1', 'n2']);
    });

    once(
      'a stopped container is connected and disconnected by its record, and starts with what it then has',
      async () => {
        for (const network of ['n1', 'n2']) await cli(['network', 'create', network]);
        await cli(['create', '--name', 'w1', '--network', 'n1', ...sleeping]);
        await cli(['network', 'connect', 'n2', 'w1']);
        await cli(['network', 'connect', 'n2', 'w1'], { stdout: '' });
        await cli(['network', 'disconnect', 'n1', 'w1']);
        await cli(['network', 'disconnect', 'n1', 'w1'], {
          exitCode: 1,
          stderr: /container [0-9a-f]{64} is not connected to the network n1$/,
        });
        await cli(['start', 'w1']);
        await cli(['exec', 'w1', 'ls', '/sys/class/net'], { stdout: 'eth0\nlo' });
        assert.notEqual(await addressOn(cli, 'w1', 'n2'), '');
        await cli(['inspect', '-f', '{{len .NetworkSettings.Networks}}', 'w1'], { stdout: '1' });
        await cli(['network', 'disconnect', 'n2', 'w1']);
        await cli(['exec', 'w1', 'ls', '/sys/class/net'], { stdout: 'lo' });
        await cli(['restart', '-t', '0', 'w1']);
        await cli(['exec', 'w1', 'ls', '/sys/class/net'], { stdout: 'lo' });
        await cli(['rm', '-f', 'w1']);
        await cli(['network', 'rm', 'n1', 'n2']);
      },
    );

    once('a static address stays over restarts, and is free again after a disconnect', async () => {
      await cli(['network', 'create', 'n1']);
      await cli(['network', 'create', '--subnet', '10.88.0.0/24', 'n2']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await cli(['network', 'connect', '--ip', '10.88.0.50', 'n2', 'w1']);
      await cli(['restart', '-t', '0', 'w1']);
      assert.equal(await addressOn(cli, 'w1', 'n2'), '10.88.0.50');
      await cli(['exec', 'w1', 'ip', '-4', 'addr'], { stdout: /inet 10\.88\.0\.50\/24/ });
      await runSleeper(cli, 'w2', '--network', 'n1');
      await cli(['network', 'connect', '--ip', '10.88.0.50', 'n2', 'w2'], {
        exitCode: 1,
        stderr: 'Error response from daemon: Address already in use',
      });
      await cli(['exec', 'w2', 'ls', '/sys/class/net'], { stdout: 'eth0\nlo' });
      await cli(['network', 'disconnect', 'n2', 'w1']);
      await cli(['network', 'connect', '--ip', '10.88.0.50', 'n2', 'w2']);
      await cli(['network', 'connect', '--ip', '10.99.0.1', 'n2', 'w1'], {
        exitCode: 1,
        stderr: daemon.isReference
          ? /does not belong to any of this network's subnets/
          : /invalid endpoint settings:\s+no configured subnet contains IP address 10\.99\.0\.1/,
      });
      await cli(['rm', '-f', 'w1', 'w2']);
      await cli(['network', 'rm', 'n1', 'n2']);
    });

    once('what cannot be is refused with Docker’s texts and changes nothing', async () => {
      await cli(['network', 'create', 'n1']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await runSleeper(cli, 'hosted', '--network', 'host');
      await runSleeper(cli, 'lonely', '--network', 'none');
      await runSleeper(cli, 'guest', '--network', 'container:w1');
      const shares =
        'container sharing network namespace with another container or host cannot be connected to any other network';
      for (const [network, container, text] of [
        ['n1', 'guest', shares],
        ['n1', 'hosted', shares],
        [
          'n1',
          'lonely',
          'container cannot be connected to multiple networks with one of the networks in private (none) mode',
        ],
        [
          'none',
          'w1',
          'container cannot be connected to multiple networks with one of the networks in private (none) mode',
        ],
      ] as const)
        await cli(['network', 'connect', network, container], {
          exitCode: 1,
          stderr: `Error response from daemon: ${text}`,
        });
      await cli(['network', 'connect', 'host', 'w1'], {
        exitCode: 1,
        stderr: daemon.isReference
          ? /container cannot be disconnected from host network or connected to host network/
          : /cannot connect container to host network - container must be created in host network mode$/,
      });
      await cli(['network', 'disconnect', 'host', 'hosted'], {
        exitCode: 1,
        stderr: daemon.isReference
          ? /container cannot be disconnected from host network or connected to host network/
          : /cannot disconnect container from host network - container was created in host network mode$/,
      });
      await cli(['network', 'connect', 'nope', 'w1'], { exitCode: 1, stderr: /network nope not found$/ });
      await cli(['network', 'connect', 'n1', 'nope'], { exitCode: 1, stderr: /No such container: nope$/ });
      await cli(['network', 'disconnect', 'n1', 'nope'], { exitCode: 1, stderr: /No such container: nope$/ });
      await cli(['network', 'disconnect', '-f', 'n1', 'nope'], {
        exitCode: 1,
        stderr: /endpoint nope not found$/,
      });
      await cli(['network', 'connect', '--alias', 'x', 'bridge', 'w1'], { exitCode: 1 });
      await cli(['network', 'connect', '--ip', '172.17.0.9', 'bridge', 'w1'], { exitCode: 1 });
      await cli(['exec', 'w1', 'ls', '/sys/class/net'], { stdout: 'eth0\nlo' });
      await cli(['rm', '-f', 'w1', 'hosted', 'lonely', 'guest']);
      await cli(['network', 'rm', 'n1']);
    });

    once('events tell of each change in order, and nothing stays behind', async () => {
      const was = await readHostState(daemon);
      const since = String(Date.now() / 1000);
      await cli(['network', 'create', 'n1']);
      await cli(['network', 'create', 'n2']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await cli(['network', 'connect', 'n2', 'w1']);
      await cli(['network', 'disconnect', 'n1', 'w1']);
      await cli(['rm', '-f', 'w1']);
      await cli(['network', 'rm', 'n1', 'n2']);
      const format = '{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}';
      const until = String(Date.now() / 1000 + 1);
      await cli(
        ['events', '--since', since, '--until', until, '--filter', 'type=network', '--format', format],
        {
          stdout: [
            ...['create n1', 'create n2', 'connect n1', 'connect n2', 'disconnect n1'],
            // 20.10 says it twice.
            ...(daemon.isReference ? ['disconnect n1'] : []),
            'disconnect n2',
            ...['destroy n1', 'destroy n2'],
          ]
            .map((line) => `${line} bridge`)
            .join('\n'),
        },
      );
      const is = await readHostState(daemon);
      // 20.10 unmounts a namespace some time after the container is gone.
      assert.deepEqual(is.links, was.links);
      if (!daemon.isReference) assert.deepEqual({ ...is, shims: 0 }, { ...was, shims: 0 });
    });

    once('compose’s way: create, disconnect, connect with aliases, start', async () => {
      await cli(['network', 'create', 'n1']);
      const { body } = await callApi(
        daemon.socketPath,
        'POST',
        '/v1.41/containers/create?name=w1',
        JSON.stringify({
          Image: 'busybox',
          Cmd: sleeping,
          HostConfig: { NetworkMode: 'n1' },
          NetworkingConfig: { EndpointsConfig: { n1: { Aliases: ['web'] } } },
        }),
      );
      const { Id } = JSON.parse(body) as { readonly Id: string };
      const change = (what: string, more: object): ReturnType<typeof callApi> =>
        callApi(
          daemon.socketPath,
          'POST',
          `/v1.41/networks/n1/${what}`,
          JSON.stringify({ Container: Id, ...more }),
        );
      assert.equal((await change('disconnect', {})).status, 200);
      assert.equal((await change('connect', { EndpointConfig: { Aliases: ['www', 'web'] } })).status, 200);
      assert.equal((await change('connect', { EndpointConfig: null })).status, 200);
      await cli(['start', 'w1']);
      await cli(['inspect', '-f', '{{json .NetworkSettings.Networks.n1.Aliases}}', 'w1'], {
        stdout: /"www","web"/,
      });
      assert.notEqual(await addressOn(cli, 'w1', 'n1'), '');
      assert.equal((await change('connect', {})).status, 403);
      assert.equal((await change('disconnect', {})).status, 200);
      assert.equal((await change('disconnect', {})).status, 500);
      assert.equal((await change('disconnect', { Container: 'nope', Force: true })).status, 404);
      await cli(['rm', '-f', 'w1']);
      await cli(['network', 'rm', 'n1']);
    });

    once(
      '32: several networks at once; the default route goes where the priority is, and moves',
      async (t) => {
        if (daemon.isReference) return t.skip(notAsked('needs API 1.44 and newer'));
        for (const [name, subnet] of [
          ['n1', '10.81.0.0/24'],
          ['n2', '10.82.0.0/24'],
          ['n3', '10.83.0.0/24'],
        ] as const)
          await cli(['network', 'create', '--subnet', subnet, name]);
        // busybox has no `show default`.
        const routeIs = (route: string): Promise<unknown> =>
          cli(['exec', 'w1', 'ip', 'route'], { stdout: new RegExp(`^${route} *$`, 'm') });
        await runSleeper(
          ...([cli, 'w1', '--network', 'n2'] as const),
          ...['--network', 'name=n1,ip=10.81.0.9,mac-address=02:42:0a:51:00:09,alias=a1'],
        );
        await routeIs('default via 10.81.0.1 dev eth1');
        await cli(['exec', 'w1', 'cat', '/sys/class/net/eth1/address'], { stdout: '02:42:0a:51:00:09' });
        await cli(['network', 'connect', '--gw-priority', '5', 'n3', 'w1']);
        await routeIs('default via 10.83.0.1 dev eth2');
        await cli(['exec', 'w1', ...ping(clientAddress)]);
        await cli(['inspect', '-f', '{{.NetworkSettings.Networks.n3.GwPriority}}', 'w1'], { stdout: '5' });
        await cli(['network', 'disconnect', 'n3', 'w1']);
        await routeIs('default via 10.81.0.1 dev eth1');
        await cli(['exec', 'w1', ...ping(clientAddress)]);
        await cli(['network', 'disconnect', 'n1', 'w1']);
        await routeIs('default via 10.82.0.1 dev eth0');
        await cli(['network', 'connect', '--ip', '10.81.0.10', 'n1', 'w1']);
        await cli(['restart', '-t', '0', 'w1']);
        await routeIs('default via 10.81.0.1 dev eth1');
        assert.equal(await addressOn(cli, 'w1', 'n1'), '10.81.0.10');
        await cli(['rm', '-f', 'w1']);
        await cli(['network', 'rm', 'n1', 'n2', 'n3']);
      },
    );

    once('an interface gets the name and the kernel parameters that were asked for', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('needs API 1.46 and newer'));
      await cli(['network', 'create', 'n1']);
      await cli(['network', 'create', 'n2']);
      const option = 'com.docker.network.endpoint';
      await runSleeper(
        ...([cli, 'w1', '--network', 'n1'] as const),
        ...['--network', `name=n2,driver-opt=${option}.ifname=wan0`],
      );
      await cli(['exec', 'w1', 'ls', '/sys/class/net'], { stdout: 'eth0\nlo\nwan0' });
      await cli(['network', 'disconnect', 'n2', 'w1']);
      const sysctls = `${option}.sysctls=net.ipv4.conf.IFNAME.log_martians=1`;
      await cli(['network', 'connect', '--driver-opt', sysctls, 'n2', 'w1']);
      await cli(['exec', 'w1', 'cat', '/proc/sys/net/ipv4/conf/eth1/log_martians'], { stdout: '1' });
      await cli(['network', 'disconnect', 'n2', 'w1']);
      for (const [bad, text] of [
        [`${option}.sysctls=net.ipv4.conf.eth1.log_martians=1`, /unrecognised network interface sysctl/],
        [`${option}.sysctls=net.ipv4.conf.IFNAME.no_such=1`, /sysctl net\/ipv4\/conf\/eth1\/no_such/],
        [`${option}.ifname=eth0`, /interface name eth0 is used twice/],
        [`${option}.ifname=a/b`, /invalid interface name: a\/b/],
        ['foo=bar', /unknown endpoint option "foo"/],
      ] as const)
        await cli(['network', 'connect', '--driver-opt', bad, 'n2', 'w1'], { exitCode: 1, stderr: text });
      await cli(['network', 'connect', '--link-local-ip', '169.254.7.7', 'n2', 'w1']);
      await cli(['exec', 'w1', 'ip', '-4', 'addr', 'show', 'eth1'], { stdout: /inet 169\.254\.7\.7\/16 / });
      await cli(['exec', 'w1', 'ls', '/sys/class/net'], { stdout: 'eth0\neth1\nlo' });
      await cli(['rm', '-f', 'w1']);
      await cli(['network', 'rm', 'n1', 'n2']);
    });
  });
}
