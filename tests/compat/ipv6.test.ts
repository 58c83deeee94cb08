/*
 * IPv6 as a user sees it: subnets given and chosen, addresses, names of keys in inspect, peers, the way out with and
 * without NAT, networks of one family, the default network with IPv6, live changes. Real traffic throughout.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { notAsked } from '../arch/skips.ts';
import type { Runner } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { readHostState } from './hostState.ts';
import { testOnce } from './reference.ts';

const sleeping = ['busybox', 'sleep', '999'] as const;
const ping = (address: string): readonly string[] => ['ping', '-c1', '-W1', address];
const host6 = 'fd00:c::1';
const client6 = 'fd00:c::2';

/** A server on port 9000 that prints its first client's address and ends. */
const printOnePeer = `require('net').createServer((s) => {
  console.log(s.remoteAddress);
  process.exit();
}).listen(9000, '::', () => console.error('listening'))`;

/** A shell line that tries a command until it succeeds, ten times at most. */
const retry = (command: string): string =>
  `for i in 0 1 2 3 4 5 6 7 8 9; do ${command} && exit; usleep 200000; done; exit 1`;

async function runSleeper(cli: Runner, name: string, ...flags: string[]): Promise<void> {
  await cli(['run', '-d', '--name', name, ...flags, ...sleeping], { stdout: /^[0-9a-f]{64}$/ });
}

async function fieldOn(cli: Runner, container: string, network: string, field: string): Promise<string> {
  const format = `{{with index .NetworkSettings.Networks "${network}"}}{{.${field}}}{{end}}`;
  return (await cli(['inspect', '-f', format, container])).stdout;
}

for (const engine of engines()) {
  const once = testOnce(engine);
  describe(`IPv6: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine, engine.kind === 'dockerd' ? ['--experimental', '--ip6tables'] : []);
      // The client has no route to any container: what comes back must carry the host's address.
      await daemon.host(['ip', '-6', 'addr', 'add', `${host6}/64`, 'dev', 'eth0', 'nodad']);
      await daemon.client(['ip', '-6', 'addr', 'add', `${client6}/64`, 'dev', 'eth0', 'nodad']);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const cli: Runner = (args, options) => daemon.cli(args, options);

    test('33: --ipv6 --subnet: addresses, peers, the way out by the host’s address, inspect', async () => {
      const was = await readHostState(daemon);
      await cli(['network', 'create', '--ipv6', '--subnet', 'fd00:77::/64', 'n1']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await runSleeper(cli, 'w2', '--network', 'n1');
      await cli(['exec', 'w1', 'ip', '-6', 'addr', 'show', 'eth0'], { stdout: /inet6 fd00:77::2\/64 / });
      await cli(['exec', 'w1', 'ip', '-6', 'route', 'show', 'default'], {
        stdout: /^default via fd00:77::1 dev eth0/,
      });
      assert.equal(await fieldOn(cli, 'w1', 'n1', 'GlobalIPv6Address'), 'fd00:77::2');
      assert.equal(await fieldOn(cli, 'w1', 'n1', 'GlobalIPv6PrefixLen'), '64');
      assert.equal(await fieldOn(cli, 'w1', 'n1', 'IPv6Gateway'), 'fd00:77::1');
      await cli(
        ['network', 'inspect', '-f', '{{.EnableIPv6}} {{range .Containers}}{{.IPv6Address}} {{end}}', 'n1'],
        {
          stdout: /^true (fd00:77::[23]\/64 ?){2}$/,
        },
      );
      await cli(
        ['network', 'inspect', '-f', '{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}},{{end}}', 'n1'],
        {
          stdout: /^172\.\d+\.0\.0\/16 172\.\d+\.0\.1,fd00:77::\/64 (fd00:77::1)?,$/,
        },
      );
      await cli(['exec', 'w1', ...ping('fd00:77::3')]);
      await cli(['exec', 'w1', ...ping('fd00:77::1')]);
      await cli(['exec', 'w1', ...ping(client6)]);
      await cli(['exec', 'w1', 'cat', '/etc/hosts'], { stdout: /^fd00:77::2\t[0-9a-f]{12}$/m });
      const seen = daemon.client([process.execPath, '-e', printOnePeer]);
      await cli(['exec', 'w1', 'sh', '-c', retry(`echo | nc -w 1 ${client6} 9000`)]);
      assert.equal((await seen).stdout, host6);
      await cli(['rm', '-f', 'w1', 'w2']);
      await cli(['network', 'rm', 'n1']);
      assert.deepEqual((await readHostState(daemon)).links, was.links);
    });

    once(
      '--ipv6 without a subnet takes a unique local /64, another for each network, the same /48',
      async (t) => {
        if (daemon.isReference) return t.skip(notAsked('needs Docker 27'));
        const prefixes: string[] = [];
        for (const name of ['n1', 'n2']) {
          await cli(['network', 'create', '--ipv6', name]);
          const { stdout } = await cli([
            'network',
            'inspect',
            '-f',
            '{{(index .IPAM.Config 1).Subnet}}',
            name,
          ]);
          assert.match(stdout, /^fd[0-9a-f]{2}(:[0-9a-f]{1,4}){2,3}::\/64$/);
          prefixes.push(stdout);
        }
        assert.notEqual(prefixes[0], prefixes[1]);
        assert.equal(prefixes[0]?.split(':').slice(0, 3).join(), prefixes[1]?.split(':').slice(0, 3).join());
        await runSleeper(cli, 'w1', '--network', 'n1');
        await cli(['exec', 'w1', ...ping(client6)]);
        await cli(['rm', '-f', 'w1']);
        await cli(['network', 'rm', 'n1', 'n2']);
      },
    );

    once('range, gateway, reserved and static addresses, restart, and what is refused', async () => {
      await cli([
        ...['network', 'create', '--ipv6', '--subnet', '10.89.0.0/24', '--subnet', 'fd00:78::/64'],
        ...['--ip-range', 'fd00:78::1:0/112', '--gateway', 'fd00:78::fe', '--aux-address', 'r=fd00:78::1:0'],
        'n1',
      ]);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await runSleeper(cli, 'w2', '--network', 'n1', '--ip6', 'fd00:78::50', '--ip', '10.89.0.50');
      assert.equal(await fieldOn(cli, 'w1', 'n1', 'GlobalIPv6Address'), 'fd00:78::1:1');
      assert.equal(await fieldOn(cli, 'w2', 'n1', 'GlobalIPv6Address'), 'fd00:78::50');
      await cli(['exec', 'w1', ...ping('fd00:78::50')]);
      await cli(['exec', 'w1', 'ip', '-6', 'route', 'show', 'default'], {
        stdout: /^default via fd00:78::fe dev eth0/,
      });
      await cli(['restart', '-t', '0', 'w2']);
      assert.equal(await fieldOn(cli, 'w2', 'n1', 'GlobalIPv6Address'), 'fd00:78::50');
      assert.equal(await fieldOn(cli, 'w2', 'n1', 'IPAddress'), '10.89.0.50');
      await cli(['exec', 'w1', ...ping('fd00:78::50')]);
      await cli(['run', '--rm', '--network', 'n1', '--ip6', 'fd00:78::50', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /Address already in use/,
      });
      await cli(['run', '--rm', '--network', 'n1', '--ip6', 'fd00:99::1', 'busybox', 'true'], {
        exitCode: 125,
        stderr: daemon.isReference
          ? /It does not belong to any of this network's subnets/
          : /no configured subnet contains IP address fd00:99::1/,
      });
      await cli(['network', 'create', '--ipv6', '--subnet', 'fd00:78::/64', 'n2'], {
        exitCode: 1,
        stderr: /Pool overlaps with other one on this address space/,
      });
      await cli(['rm', '-f', 'w1', 'w2']);
      await cli(['network', 'rm', 'n1']);
    });

    once('a network of one family has nothing of the other', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('needs API 1.48 and newer'));
      await cli(['network', 'create', '--ipv6', '--ipv4=false', 'six']);
      await cli(['network', 'create', 'four']);
      await runSleeper(cli, 'w6', '--network', 'six');
      await runSleeper(cli, 'w4', '--network', 'four');
      await cli(['exec', 'w6', 'ip', '-4', 'addr', 'show', 'eth0'], { stdout: '' });
      await cli(['exec', 'w6', ...ping(client6)]);
      await cli(['network', 'inspect', '-f', '{{.EnableIPv4}} {{.EnableIPv6}} {{len .IPAM.Config}}', 'six'], {
        stdout: 'false true 1',
      });
      // Not even a link-local address.
      await cli(['exec', 'w4', 'ip', '-6', 'addr', 'show', 'eth0'], { stdout: '' });
      await cli(['exec', 'w4', 'cat', '/proc/sys/net/ipv6/conf/eth0/disable_ipv6'], { stdout: '1' });
      await cli(['network', 'create', '--ipv4=false', 'none6'], {
        exitCode: 1,
        stderr: /IPv4 or IPv6 must be enabled/,
      });
      await cli(['network', 'create', '--subnet', 'fd00:79::/64', 'x'], {
        exitCode: 1,
        stderr: /IPv6 is not enabled on this network/,
      });
      await cli(['rm', '-f', 'w4', 'w6']);
      await cli(['network', 'rm', 'six', 'four']);
    });

    once('an IPv6 network connected later brings its default route, and takes it along', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('it has one gateway for both families'));
      await cli(['network', 'create', 'n1']);
      await cli(['network', 'create', '--ipv6', '--subnet', 'fd00:77::/64', 'n2']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await cli(['exec', 'w1', ...ping(client6)], { exitCode: 1 });
      await cli(['network', 'connect', '--ip6', 'fd00:77::9', 'n2', 'w1']);
      await cli(['exec', 'w1', 'ip', '-6', 'addr', 'show', 'eth1'], { stdout: /inet6 fd00:77::9\/64 / });
      await cli(['exec', 'w1', ...ping(client6)]);
      await cli(['network', 'disconnect', 'n2', 'w1']);
      await cli(['exec', 'w1', 'ip', '-6', 'route', 'show', 'default'], { stdout: '' });
      await cli(['rm', '-f', 'w1']);
      await cli(['network', 'rm', 'n1', 'n2']);
    });

    once('a routed network keeps its addresses on the way out', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('needs Docker 27'));
      const mode = 'com.docker.network.bridge.gateway_mode_ipv6=routed';
      await cli(['network', 'create', '--ipv6', '--subnet', 'fd00:77::/64', '-o', mode, 'n1']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await daemon.client(['ip', '-6', 'route', 'add', 'fd00:77::/64', 'via', host6]);
      await daemon.client(['busybox', ...ping('fd00:77::2')]);
      const seen = daemon.client([process.execPath, '-e', printOnePeer]);
      await cli(['exec', 'w1', 'sh', '-c', retry(`echo | nc -w 1 ${client6} 9000`)]);
      assert.equal((await seen).stdout, 'fd00:77::2');
      await daemon.client(['ip', '-6', 'route', 'del', 'fd00:77::/64']);
      await cli(['rm', '-f', 'w1']);
      await cli(['network', 'rm', 'n1']);
    });
  });

  describe(`IPv6 on the default network: ${engine.name}`, () => {
    once('--ipv6, --bip6 and --fixed-cidr-v6 are honoured', async (t) => {
      if (engine.kind === 'dockerd') return t.skip(notAsked('--bip6 needs Docker 28'));
      await using daemon = await startDaemon(engine, [
        ...['--ipv6', '--bip6', 'fd00:80::1/64', '--fixed-cidr-v6', 'fd00:80::100/120'],
      ]);
      await daemon.host(['ip', '-6', '-o', 'addr', 'show', 'docker0'], { stdout: /inet6 fd00:80::1\/64 / });
      await runSleeper(daemon.cli, 'd1');
      assert.equal(await fieldOn(daemon.cli, 'd1', 'bridge', 'GlobalIPv6Address'), 'fd00:80::100');
      await daemon.cli(['exec', 'd1', ...ping('fd00:80::1')]);
    });
  });
}
