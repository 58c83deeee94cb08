/*
 * What a user sees of containers on bridge networks: addresses, reachability, isolation, NAT, the none, host and
 * container modes, and that nothing stays behind. Expectations were taken from Docker; where 20.10 (the reference
 * here) differs from 28, the check says so.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Runner } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { readHostState } from './hostState.ts';
import { clientAddress, hostAddress } from './hosts.ts';
import { testOnce } from './reference.ts';

const sleeping = ['busybox', 'sleep', '999'] as const;

async function runSleeper(cli: Runner, name: string, ...flags: string[]): Promise<void> {
  await cli(['run', '-d', '--name', name, ...flags, ...sleeping], { stdout: /^[0-9a-f]{64}$/ });
}

async function addressOf(cli: Runner, container: string): Promise<string> {
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
  return (await cli(['inspect', '-f', format, container])).stdout;
}

async function macOf(cli: Runner, container: string): Promise<string> {
  const format = '{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}';
  return (await cli(['inspect', '-f', format, container])).stdout;
}

const ping = (address: string): readonly string[] => ['ping', '-c1', '-W1', address];

/** A server on port 9000 that prints its first client's address and ends. */
const printOnePeer = `require('net').createServer((s) => {
  console.log(s.remoteAddress.replace('::ffff:', ''));
  process.exit();
}).listen(9000)`;

/** A shell line that tries a command until it succeeds, ten times at most. */
const retry = (command: string): string =>
  `for i in 0 1 2 3 4 5 6 7 8 9; do ${command} && exit; usleep 200000; done; exit 1`;

for (const engine of engines('docker')) {
  describe(`bridge networks: ${engine.name}`, () => {
    const ofDataPath = testOnce(engine);
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const cli: Runner = (args, options) => daemon.cli(args, options);

    test('1: a fresh engine has exactly bridge, host and none', async () => {
      await cli(['network', 'ls', '--format', '{{.Name}},{{.Driver}},{{.Scope}}'], {
        stdout: 'bridge,bridge,local\nhost,host,local\nnone,null,local',
      });
      await cli(['network', 'ls', '--filter', 'driver=bridge', '--format', '{{.Name}}'], {
        stdout: 'bridge',
      });
    });

    test('2: the first container on docker0 has 172.17.0.2/16 and a default route', async () => {
      await runSleeper(cli, 'd1');
      await cli(['exec', 'd1', 'ip', '-4', 'addr', 'show', 'eth0'], { stdout: /inet 172\.17\.0\.2\/16 / });
      await cli(['exec', 'd1', 'ip', 'route'], { stdout: /^default via 172\.17\.0\.1 dev eth0/ });
      await daemon.host(['ip', '-4', '-o', 'addr', 'show', 'docker0'], { stdout: /inet 172\.17\.0\.1\/16 / });
      await cli(['rm', '-f', 'd1'], { stdout: 'd1' });
    });

    test('3: on docker0 containers reach each other by address and not by name', async () => {
      await runSleeper(cli, 'd1');
      await runSleeper(cli, 'd2');
      await cli(['exec', 'd1', ...ping(await addressOf(cli, 'd2'))]);
      await cli(['exec', 'd1', ...ping('d2')], { exitCode: 1, stderr: /bad address 'd2'/ });
      await cli(['rm', '-f', 'd1', 'd2'], { stdout: 'd1\nd2' });
    });

    test('4: network create prints the id, takes 172.18.0.0/16 and makes br-<id>', async () => {
      const { stdout: id } = await cli(['network', 'create', 'n1'], { stdout: /^[0-9a-f]{64}$/ });
      const format = '{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}';
      await cli(['network', 'inspect', '-f', format, id.slice(0, 12)], {
        stdout: '172.18.0.0/16 172.18.0.1',
      });
      await daemon.host(['ip', '-4', '-o', 'addr', 'show', `br-${id.slice(0, 12)}`], {
        stdout: /inet 172\.18\.0\.1\/16 /,
      });
      await cli(['network', 'rm', 'n1'], { stdout: 'n1' });
      await daemon.host(['ip', 'link', 'show', `br-${id.slice(0, 12)}`], { exitCode: 1 });
    });

    ofDataPath('6: containers of two networks cannot reach each other, those of one can', async () => {
      for (const network of ['n1', 'n2']) await cli(['network', 'create', network]);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await runSleeper(cli, 'w2', '--network=n2');
      await runSleeper(cli, 'w3', '--net', 'n1');
      await runSleeper(cli, 'w4');
      await cli(['exec', 'w1', ...ping(await addressOf(cli, 'w3'))]);
      await cli(['exec', 'w1', ...ping(await addressOf(cli, 'w2'))], { exitCode: 1 });
      await cli(['exec', 'w2', ...ping(await addressOf(cli, 'w1'))], { exitCode: 1 });
      await cli(['exec', 'w4', ...ping(await addressOf(cli, 'w1'))], { exitCode: 1 });
      await cli(['rm', '-f', 'w1', 'w2', 'w3', 'w4']);
      await cli(['network', 'rm', 'n1', 'n2'], { stdout: 'n1\nn2' });
    });

    ofDataPath('a neighbour with the old entry reaches a restarted container at once', async () => {
      await cli(['network', 'create', 'again']);
      await runSleeper(cli, 'r1', '--network', 'again');
      await runSleeper(cli, 'r2', '--network', 'again');
      const [address, before] = [await addressOf(cli, 'r2'), await macOf(cli, 'r2')];
      await cli(['exec', 'r1', ...ping(address)]);
      await cli(['exec', 'r1', 'cat', '/proc/net/arp'], { stdout: new RegExp(before) });
      await cli(['restart', '-t', '0', 'r2']);
      // One packet: sent to the old MAC it would be lost.
      await cli(['exec', 'r1', ...ping(address)]);
      assert.equal(await addressOf(cli, 'r2'), address);
      if (!daemon.isReference) assert.notEqual(await macOf(cli, 'r2'), before);
      await cli(['rm', '-f', 'r1', 'r2']);
      await cli(['network', 'rm', 'again']);
    });

    ofDataPath('13: what goes out carries the host’s address', async () => {
      await runSleeper(cli, 'd1');
      await cli(['exec', 'd1', ...ping(clientAddress)]);
      const seen = daemon.client([process.execPath, '-e', printOnePeer]);
      await cli(['exec', 'd1', 'sh', '-c', retry(`echo | nc -w 1 ${clientAddress} 9000`)]);
      assert.equal((await seen).stdout, hostAddress);
      await cli(['rm', '-f', 'd1']);
    });

    test('14: a network in use is not removed; afterwards it is, with its device', async () => {
      const { stdout: id } = await cli(['network', 'create', 'n1']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await cli(['network', 'rm', 'n1'], {
        exitCode: 1,
        stderr: /error while removing network: network n1 .*has active endpoints/,
      });
      await cli(['rm', '-f', 'w1']);
      await cli(['network', 'rm', 'n1']);
      await daemon.host(['ip', 'link', 'show', `br-${id.slice(0, 12)}`], { exitCode: 1 });
    });

    test('15: after everything is removed the host is as before', async () => {
      const was = await readHostState(daemon);
      for (const network of ['n1', 'n2']) await cli(['network', 'create', network]);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await runSleeper(cli, 'w2', '--network', 'n2');
      await cli(['run', '--rm', '--network', 'n1', 'busybox', 'true']);
      await cli(['run', '--rm', '--network', 'none', 'busybox', 'true']);
      await cli(['rm', '-f', 'w1', 'w2']);
      await cli(['network', 'rm', 'n1', 'n2']);
      const is = await readHostState(daemon);
      // 20.10 unmounts a namespace some time after the container is gone.
      assert.deepEqual({ ...is, shims: 0 }, { ...was, shims: 0, ...(daemon.isReference && lateMounts(is)) });
    });

    test('16: subnet, range, gateway and reserved addresses are honoured', async () => {
      await cli([
        ...['network', 'create', '--subnet', '10.77.0.0/24', '--ip-range', '10.77.0.128/25'],
        ...['--gateway', '10.77.0.254', '--aux-address', 'r=10.77.0.129', 'n1'],
      ]);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await runSleeper(cli, 'w2', '--network', 'n1');
      assert.equal(await addressOf(cli, 'w1'), '10.77.0.128');
      assert.equal(await addressOf(cli, 'w2'), '10.77.0.130');
      await runSleeper(cli, 'w3', '--network', 'n1', '--ip', '10.77.0.50');
      assert.equal(await addressOf(cli, 'w3'), '10.77.0.50');
      await cli(['exec', 'w1', ...ping('10.77.0.50')]);
      await cli(['exec', 'w1', 'ip', 'route'], { stdout: /^default via 10\.77\.0\.254/ });
      await cli(['run', '-d', '--network', 'n1', '--ip', '10.77.0.50', ...sleeping], {
        exitCode: 125,
        stderr: /Address already in use/,
      });
      await cli(['run', '-d', '--network', 'n1', '--ip', '10.99.0.1', ...sleeping], {
        exitCode: 125,
        stderr: daemon.isReference
          ? /It does not belong to any of this network's subnets/
          : /no configured subnet contains IP address 10\.99\.0\.1/,
      });
      const { stdout } = await cli(['ps', '-aq']);
      await cli(['rm', '-f', ...stdout.split('\n')]);
      await cli(['network', 'rm', 'n1']);
    });

    test('18: network inspect has every key, and the containers', async () => {
      const { stdout: id } = await cli(['network', 'create', '--label', 'a=b', 'n1']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      const { stdout } = await cli(['network', 'inspect', 'n1']);
      const [network] = JSON.parse(stdout) as [Record<string, unknown>];
      const keys = [
        ...['Name', 'Id', 'Created', 'Scope', 'Driver', 'EnableIPv6', 'IPAM', 'Internal', 'Attachable'],
        ...['Ingress', 'ConfigFrom', 'ConfigOnly', 'Containers', 'Options', 'Labels'],
        ...(daemon.isReference ? [] : ['EnableIPv4']),
      ];
      for (const key of keys) assert.ok(key in network, `network inspect lacks ${key}`);
      assert.equal(network['Id'], id);
      assert.deepEqual(network['Labels'], { a: 'b' });
      const [container] = Object.values(network['Containers'] as Record<string, Record<string, string>>);
      assert.equal(container?.['Name'], 'w1');
      assert.match(container['EndpointID'] ?? '', /^[0-9a-f]{64}$/);
      assert.match(container['MacAddress'] ?? '', /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
      assert.match(container['IPv4Address'] ?? '', /^172\.\d+\.0\.2\/16$/);
      await cli(['rm', '-f', 'w1']);
      await cli(['network', 'rm', 'n1']);
    });

    ofDataPath('21: an internal network has no way out', async () => {
      await cli(['network', 'create', '--internal', 'n1']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await runSleeper(cli, 'w2', '--network', 'n1');
      await cli(['exec', 'w1', ...ping(await addressOf(cli, 'w2'))]);
      await cli(['exec', 'w1', ...ping(clientAddress)], { exitCode: 1 });
      // 20.10 sets a default route and drops what takes it.
      if (!daemon.isReference) await cli(['exec', 'w1', 'ip', 'route'], { stdout: /^(?!default)[\s\S]*$/ });
      await cli(['rm', '-f', 'w1', 'w2']);
      await cli(['network', 'rm', 'n1']);
    });

    ofDataPath('22: enable_icc=false stops peers and not the way out', async () => {
      await cli(['network', 'create', '-o', 'com.docker.network.bridge.enable_icc=false', 'n1']);
      await runSleeper(cli, 'w1', '--network', 'n1');
      await runSleeper(cli, 'w2', '--network', 'n1');
      await cli(['exec', 'w1', ...ping(await addressOf(cli, 'w2'))], { exitCode: 1 });
      await cli(['exec', 'w1', ...ping(clientAddress)]);
      await cli(['rm', '-f', 'w1', 'w2']);
      await cli(['network', 'rm', 'n1']);
    });

    test('23: none, host and container modes', async () => {
      await cli(['run', '--rm', '--network', 'none', 'busybox', 'ls', '/sys/class/net'], { stdout: 'lo' });
      await cli(['run', '--rm', '--network', 'host', 'busybox', 'ip', '-4', 'addr'], {
        stdout: new RegExp(`inet ${hostAddress.replaceAll('.', '\\.')}/24`),
      });
      await cli(['run', '--rm', '--network', 'host', '-p', '80:80', 'busybox', 'true'], {
        stderr: /Published ports are discarded when using host network mode/,
      });
      await runSleeper(cli, 'w1');
      const address = await addressOf(cli, 'w1');
      await cli(['run', '--rm', '--network', 'container:w1', 'busybox', 'ip', '-4', 'addr', 'show', 'eth0'], {
        stdout: new RegExp(`inet ${address.replaceAll('.', '\\.')}/16`),
      });
      await cli(['run', '--rm', '--network', 'container:w1', '-p', '80:80', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /conflicting options: port publishing and the container type network mode/,
      });
      await cli(['run', '--rm', '--network', 'container:nope', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /No such container: nope/,
      });
      await cli(['rm', '-f', 'w1']);
    });

    test('30: mtu, bridge name and interface prefix are honoured', async () => {
      await cli([
        ...['network', 'create', '-o', 'com.docker.network.driver.mtu=1400'],
        ...[
          '-o',
          'com.docker.network.bridge.name=brx1',
          '-o',
          'com.docker.network.container_iface_prefix=net',
          'n1',
        ],
      ]);
      await daemon.host(['ip', 'link', 'show', 'brx1']);
      await cli(['run', '--rm', '--network', 'n1', 'busybox', 'ip', 'link', 'show', 'net0'], {
        stdout: /mtu 1400/,
      });
      await cli(['network', 'rm', 'n1']);
      await daemon.host(['ip', 'link', 'show', 'brx1'], { exitCode: 1 });
    });

    test('31: hosts file, hostname and sysctls', async () => {
      const hosts = ['busybox', 'cat', '/etc/hosts'];
      await cli(['run', '--rm', '--add-host', 'db:10.1.2.3', '--add-host', 'gw:host-gateway', ...hosts], {
        stdout: /^10\.1\.2\.3\tdb$[\s\S]*^172\.17\.0\.1\tgw$/m,
      });
      await cli(['run', '--rm', '--hostname', 'me', ...hosts], { stdout: /^172\.17\.0\.\d+\tme$/m });
      await cli(['run', '--rm', '--hostname', 'me', 'busybox', 'hostname'], { stdout: 'me' });
      await cli(['run', '--rm', '--hostname', 'me', '--domainname', 'example.org', ...hosts], {
        stdout: /^172\.17\.0\.\d+\tme\.example\.org me$/m,
      });
      await cli(
        [
          'run',
          '--rm',
          '--sysctl',
          'net.ipv4.ip_forward=0',
          'busybox',
          'cat',
          '/proc/sys/net/ipv4/ip_forward',
        ],
        { stdout: '0' },
      );
      await cli(['run', '--rm', '--add-host', 'x', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /bad format for add-host: "x"/,
      });
    });
  });
}

function lateMounts(is: { readonly namespaceMounts: number; readonly overlayMounts: number }): object {
  return { namespaceMounts: is.namespaceMounts, overlayMounts: is.overlayMounts };
}
