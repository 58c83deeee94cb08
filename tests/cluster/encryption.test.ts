/*
 * Encrypted overlay networks on three machines: that they work, and that nothing of them is on the wire in clear or is
 * taken from it, whatever happens to the tunnels.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../compat/command.ts';
import { startEchoProbe } from '../kernel/echoProbe.ts';
import { Capture, marker } from './capture.ts';
import { forge, type Forged } from './forger.ts';
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
      const words = [
        'exec',
        container,
        'timeout',
        '3',
        'wget',
        '-qO-',
        '-Y',
        'off',
        `http://${target}/${marker}`,
      ];
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

    /** What a stranger has to know to reach a container of A's. */
    const targetOf = async (network: string, container: string): Promise<Forged> => {
      const vni = '{{index .Options "com.docker.network.driver.overlay.vxlanid_list"}}';
      const of = `.NetworkSettings.Networks.${network}`;
      const words = await say(a, 'inspect', '-f', `{{${of}.MacAddress}} {{${of}.IPAddress}}`, container);
      const [mac = '', to = ''] = words.split(' ');
      const from = to.replace(/\d+$/, '250');
      return { vni: Number(await say(a, 'network', 'inspect', '-f', vni, network)), mac, from, to };
    };
    /** Echo requests that reached a container of A's so far. */
    const echoes = async (container: string): Promise<number> => {
      const [names = '', counts = ''] = (
        await say(a, 'exec', container, 'grep', '^Icmp:', '/proc/net/snmp')
      ).split('\n');
      return Number(counts.split(' ')[names.split(' ').indexOf('InEchos')]);
    };
    const isForgedTaken = async (container: string, send: () => void): Promise<boolean> => {
      const before = await echoes(container);
      send();
      await sleep(500);
      return (await echoes(container)) > before;
    };

    test('VXLAN in clear for the network’s VNI is not taken, also not from a machine of the swarm', async () => {
      await say(a, 'network', 'create', '-d', 'overlay', 'clear');
      await run(a, 'open', 'clear');
      await run(c, 'fellow', 'clear');
      assert.ok(await eventually(() => ping(c, 'fellow', 'open')));
      const [clear, sec] = [await targetOf('clear', 'open'), await targetOf('sec', 'web')];
      // That it could be: a network in clear takes the same from a machine of a member.
      assert.equal(await isForgedTaken('open', () => forge(c, addressOf('A'), clear)), true);
      assert.equal(await isForgedTaken('web', () => forge(c, addressOf('A'), sec)), false);
      await a.cli(['rm', '-f', 'open']);
      await c.cli(['rm', '-f', 'fellow']);
      await a.cli(['network', 'rm', 'clear']);
    });

    test('a machine that has tunnels, and no container on the network, cannot inject into it through them', async () => {
      await say(a, 'network', 'create', '-d', 'overlay', '--opt', 'encrypted', 'other');
      await run(a, 'closed', 'other');
      await run(c, 'fellow', 'other');
      assert.ok(await eventually(() => ping(c, 'fellow', 'closed'), 10_000), c.tail());
      const [other, sec] = [await targetOf('other', 'closed'), await targetOf('sec', 'web')];
      const own = a.run(
        'nsenter',
        `--net=${a.tunnelsPath}`,
        'ip',
        '-o',
        '-4',
        'address',
        'show',
        'scope',
        'global',
      );
      const inside = /inet (100\.\d+\.\d+\.\d+)\//.exec(own)?.[1] ?? assert.fail(own);
      assert.equal(await isForgedTaken('closed', () => forge(c, inside, other, c.tunnelsPath)), true);
      assert.equal(await isForgedTaken('web', () => forge(c, inside, sec, c.tunnelsPath)), false);
      await a.cli(['rm', '-f', 'closed']);
      await c.cli(['rm', '-f', 'fellow']);
      await a.cli(['network', 'rm', 'other']);
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
      const inside = async (host: Host, container: string): Promise<readonly string[]> => {
        const pid = await say(host, 'inspect', '-f', '{{.State.Pid}}', container);
        return host.words('nsenter', '--target', pid, '--net', '--');
      };
      const { lost } = await startEchoProbe({
        ...{ from: await inside(b, 'near'), to: await inside(a, 'web') },
        ...{ address: (await targetOf('sec', 'web')).to, count: 800, everyMs: 5 },
      });
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
      assert.equal(await lost, 0);
      assert.equal((await capture.end()).markers, 0);
    });

    test('a machine that is removed from the swarm is cut off at once', async () => {
      await run(c, 'far', 'sec');
      assert.ok(await eventually(() => ping(c, 'far', 'web'), 10_000), c.tail());
      const id = await say(a, 'node', 'ls', '-q', '--filter', 'name=host-C');
      await using capture = await Capture.open('removal');
      await cutOff('C', true);
      try {
        await a.cli(['node', 'rm', '--force', id]);
      } finally {
        await cutOff('C', false);
      }
      await sleep(500);
      assert.equal(await ping(c, 'far', 'web'), false);
      for (let i = 0; i < 3; i++) assert.equal(await asks(c, 'far', 'web'), false);
      assert.ok(await ping(b, 'near', 'web'));
      assert.equal((await capture.end()).markers, 0);
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
