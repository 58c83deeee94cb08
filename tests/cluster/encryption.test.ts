/*
 * Encrypted overlay networks on three machines: that they work, and that nothing of them is on the wire in clear or is
 * taken from it, whatever happens to the tunnels.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../compat/command.ts';
import { Capture, marker } from './capture.ts';
import { addressOf, type Cluster, commandLines, cutOff, formSwarm, type Host, openCluster } from './hosts.ts';

for (const [name, program] of commandLines.slice(0, 1))
  describe(`encryption: ${name}`, () => {
    let cluster: Cluster;
    let [a, b, c] = [] as unknown as [Host, Host, Host];

    const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
      (await host.cli(args)).stdout;
    const run = (host: Host, container: string, network: string): Promise<string> =>
      say(host, 'run', '-d', '--name', container, '--network', network, 'busybox', 'sleep', '900');
    const asks = async (host: Host, container: string, target: string): Promise<boolean> => {
      const words = ['exec', container, 'wget', '-qO-', '-Y', 'off', `http://${target}/${marker}`];
      const { stdout, exitCode } = await host.cli(words, { exitCode: undefined });
      return exitCode === 0 && stdout.includes(marker);
    };
    const ping = async (host: Host, container: string, target: string): Promise<boolean> => {
      const words = ['exec', container, 'ping', '-c', '1', '-W', '1', '-p', '6c', target];
      return (await host.cli(words, { exitCode: undefined })).exitCode === 0;
    };
    const serve = (host: Host, container: string, network: string): Promise<string> =>
      say(
        host,
        ...['run', '-d', '--name', container, '--network', network, 'busybox', 'sh', '-c'],
        `mkdir /w && echo ${marker} > /w/${marker} && exec httpd -f -p 80 -h /w`,
      );
    const tunnels = (host: Host): string =>
      host.run('busybox', 'sh', '-c', 'pidof wireguard-go || true').trim();

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

    test('the same between machines in clear is seen', async () => {
      await say(a, 'network', 'create', '-d', 'overlay', 'clear');
      await using capture = await Capture.open('clear');
      await serve(a, 'open', 'clear');
      await run(b, 'asker', 'clear');
      assert.ok(await eventually(() => asks(b, 'asker', 'open')));
      assert.ok((await capture.end()).markers > 0);
      await a.cli(['rm', '-f', 'open']);
      await b.cli(['rm', '-f', 'asker']);
      await a.cli(['network', 'rm', 'clear']);
    });

    test('an encrypted network joins containers by name; nothing of it is on the wire, from its first moment on', async () => {
      await using capture = await Capture.open('first');
      await say(a, 'network', 'create', '-d', 'overlay', '--opt', 'encrypted', 'sec');
      await serve(a, 'web', 'sec');
      await run(b, 'near', 'sec');
      assert.ok(await eventually(() => asks(b, 'near', 'web'), 10_000), b.tail());
      const { markers, bytes } = await capture.end();
      assert.equal(markers, 0);
      assert.ok(bytes > 1000);
      assert.match(await say(b, 'exec', 'near', 'ip', 'link', 'show', 'eth0'), /mtu 1370/);
      assert.equal(await say(c, 'network', 'inspect', '-f', '{{.Options.encrypted}}|', 'sec'), '|');
      assert.match(
        await say(a, 'network', 'inspect', 'sec'),
        /"Encryption": \{\s+"Protocol": "WireGuard",\s+"Engine": "(kernel|wireguard-go)"/,
      );
      assert.match(await say(a, 'info'), /linkspan\.encryption=WireGuard, (kernel|wireguard-go)/);
    });

    test('VXLAN in clear for the network’s VNI is not taken, also not from a machine of the swarm', async () => {
      const vni = Number(
        await say(
          a,
          'network',
          'inspect',
          '-f',
          '{{index .Options "com.docker.network.driver.overlay.vxlanid_list"}}',
          'sec',
        ),
      );
      const target = await say(a, 'inspect', '-f', '{{.NetworkSettings.Networks.sec.IPAddress}}', 'web');
      const [mac] = [await say(a, 'inspect', '-f', '{{.NetworkSettings.Networks.sec.MacAddress}}', 'web')];
      const received = async (): Promise<number> =>
        Number((await say(a, 'exec', 'web', 'cat', '/sys/class/net/eth0/statistics/rx_packets')).trim());
      c.run('ip', 'netns', 'add', 'forger');
      const forge = (...words: readonly string[]): string => c.run('ip', ...words);
      try {
        const way = ['remote', addressOf('A'), 'dstport', '4789', 'nolearning'];
        forge('link', 'add', 'forged', 'type', 'vxlan', 'id', String(vni), 'local', addressOf('C'), ...way);
        forge('link', 'set', 'forged', 'netns', 'forger');
        const inside = (...words: readonly string[]): string => c.run('ip', '-n', 'forger', ...words);
        inside('address', 'add', `${target.replace(/\d+$/, '250')}/24`, 'dev', 'forged');
        inside('link', 'set', 'forged', 'up');
        inside('neigh', 'add', target, 'lladdr', mac, 'dev', 'forged');
        const before = await received();
        for (let i = 0; i < 5; i++)
          c.run(
            'nsenter',
            '--net=/run/netns/forger',
            '--',
            'busybox',
            'sh',
            '-c',
            `ping -c 1 -W 1 ${target} || true`,
          );
        // What comes by itself (ARP between containers) is a few.
        assert.ok((await received()) - before < 5);
      } finally {
        c.run('ip', 'netns', 'del', 'forger');
      }
    });

    test('the tunnels die: nothing leaves in clear, and they are made again', async () => {
      const died = tunnels(b);
      if (died === '') return; // The kernel's device does not die.
      await using capture = await Capture.open('death');
      b.run('busybox', 'kill', '-9', died);
      for (let i = 0; i < 5; i++) await asks(b, 'near', 'web');
      assert.ok(await eventually(() => asks(b, 'near', 'web'), 15_000), b.tail());
      assert.notEqual(tunnels(b), died);
      assert.equal((await capture.end()).markers, 0);
    });

    test('the daemon dies and comes back: the tunnels go on', async () => {
      const engine = tunnels(b);
      await b.kill('SIGKILL');
      await using capture = await Capture.open('restart');
      await b.start();
      assert.ok(await eventually(() => asks(b, 'near', 'web'), 5000), b.tail());
      assert.equal(tunnels(b), engine);
      assert.equal((await capture.end()).markers, 0);
    });

    test('another key for a machine, under 200 packets a second: none is lost', async () => {
      await using capture = await Capture.open('rotation');
      const pinging = b.cli(['exec', 'near', 'ping', '-i', '0.005', '-c', '800', '-q', 'web']);
      await sleep(1000);
      a.run(
        'curl',
        '-sf',
        '-X',
        'POST',
        '--unix-socket',
        a.socket,
        'http://linkspan/linkspan/v1/tunnels/key',
      );
      await sleep(1000);
      b.run(
        'curl',
        '-sf',
        '-X',
        'POST',
        '--unix-socket',
        b.socket,
        'http://linkspan/linkspan/v1/tunnels/key',
      );
      assert.match((await pinging).stdout, /800 packets transmitted, 800 packets received/);
      assert.equal((await capture.end()).markers, 0);
    });

    test('a machine that is removed from the swarm is cut off at once', async () => {
      await run(c, 'far', 'sec');
      assert.ok(await eventually(() => ping(c, 'far', 'web'), 10_000), c.tail());
      const id = await say(a, 'node', 'ls', '-q', '--filter', 'name=host-C');
      await cutOff('C', true);
      try {
        await a.cli(['node', 'rm', '--force', id]);
      } finally {
        await cutOff('C', false);
      }
      await sleep(500);
      assert.equal(await ping(c, 'far', 'web'), false);
      assert.ok(await ping(b, 'near', 'web'));
    });

    test('with the last container of a machine on an encrypted network the tunnels go', async () => {
      await b.cli(['rm', '-f', 'near']);
      assert.ok(await eventually(() => Promise.resolve(tunnels(b) === '')));
      await a.cli(['rm', '-f', 'web']);
      assert.ok(await eventually(() => Promise.resolve(tunnels(a) === '')));
    });

    test('an encrypted network and the swarm go, and nothing of them is left', async () => {
      await a.cli(
        [
          'network',
          'create',
          '-d',
          'overlay',
          '--opt',
          'encrypted',
          '--subnet',
          '10.50.0.0/24',
          '--subnet',
          '10.51.0.0/24',
          'two',
        ],
        {
          exitCode: 1,
          stderr: /one subnet of each family/,
        },
      );
      await a.cli(['network', 'rm', 'sec']);
      for (const host of [a, b])
        assert.ok(await eventually(async () => !/sec/.test(await say(host, 'network', 'ls'))), host.tail());
      await a.cli(['network', 'create', '-d', 'overlay', '--opt', 'encrypted', 'sec']);
      await run(b, 'last', 'sec');
      await b.cli(['swarm', 'leave']);
      assert.ok(await eventually(() => Promise.resolve(tunnels(b) === '')), b.tail());
      assert.doesNotMatch(await say(b, 'network', 'ls'), /sec/);
    });
  });
