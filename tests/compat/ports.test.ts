/*
 * What a user sees of published ports: who reaches them, what `port`, `ps` and `inspect` say, what is refused, and that
 * nothing stays behind. Expectations are Docker's; where 20.10 (the reference here) differs from 28, or we differ on
 * purpose, the check says so.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { notAsked } from '../arch/skips.ts';
import { eventually, type Runner } from './command.ts';
import { type Daemon, engines, processes, startDaemon } from './daemonFixture.ts';
import { readHostState } from './hostState.ts';
import { clientAddress, hostAddress, inHost } from './hosts.ts';
import { testOnce } from './reference.ts';

/** busybox httpd answers with a page, and logs who called in the foreground. */
const webServer = (port: number): readonly string[] => [
  'sh',
  '-c',
  `mkdir -p /www && echo page > /www/index.html && exec httpd -f -vv -p ${port} -h /www`,
];

/** One request; what comes back holds `page`. */
const get = (address: string, port: number): readonly string[] => [
  'busybox',
  'nc',
  '-w',
  '2',
  address,
  String(port),
];
const question = 'GET / HTTP/1.0\r\n\r\n';

/** A program of host A that listens on `port`, until disposed. */
async function hostProgram(port: number): Promise<AsyncDisposable> {
  const program = `require('net').createServer().listen(${port}, '0.0.0.0', () => console.log('ready'))`;
  const [nsenter = '', ...words] = inHost('A');
  const child = spawn(nsenter, [...words, process.execPath, '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await once(child, 'close');
    },
  };
}

/** A process in a container's network that answers each datagram to port 53 with `word`; the image has no such tool. */
async function udpServer(pid: string, word: string): Promise<Disposable> {
  const program = `const socket = require('dgram').createSocket('udp4');
    socket.on('message', (_, from) => socket.send('${word}', from.port, from.address));
    socket.bind(53, () => console.log('ready'));`;
  const child = spawn('nsenter', [`--net=/proc/${pid}/ns/net`, '--', process.execPath, '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return { [Symbol.dispose]: () => void child.kill('SIGKILL') };
}

/** Asks from one port, so that its second run is the same flow as the first, until it is answered. */
const udpClient = `const socket = require('dgram').createSocket('udp4');
  const [, address, port] = process.argv;
  const ask = () => socket.send('x', Number(port), address);
  socket.bind(40053, ask);
  const timer = setInterval(ask, 200);
  socket.on('message', (text) => { console.log(String(text)); clearInterval(timer); socket.close(); });`;

for (const engine of engines()) {
  describe(`published ports: ${engine.name}`, () => {
    // How packets go does not depend on the command line that published a port.
    const ofDataPath = testOnce(engine);
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const cli: Runner = (args, options) => daemon.cli(args, options);
    const answers = async (from: Runner, address: string, port: number): Promise<void> => {
      assert.ok(
        await eventually(async () => {
          const { stdout } = await from(get(address, port), { exitCode: undefined, input: question });
          return stdout.endsWith('page');
        }),
        `${address}:${port} answers`,
      );
    };
    const isSilent = async (from: Runner, address: string, port: number): Promise<void> => {
      const { stdout } = await from(get(address, port), { exitCode: undefined, input: question });
      assert.equal(stdout, '', `${address}:${port} is silent`);
    };
    const inContainer =
      (name: string): Runner =>
      (args, options) =>
        cli(['exec', '-i', name, ...args], options);

    test('8, 9: -p 8080:80 from everywhere, with the caller’s address, and as port and ps show it', async () => {
      await cli(['network', 'create', 'n1']);
      await cli(['network', 'create', 'n2']);
      await cli([
        'run',
        '-d',
        '--name',
        'web',
        '--network',
        'n1',
        '-p',
        '8080:80',
        'busybox',
        ...webServer(80),
      ]);
      await cli(['run', '-d', '--name', 'peer', '--network', 'n1', 'busybox', 'sleep', '999']);
      await cli(['run', '-d', '--name', 'other', '--network', 'n2', 'busybox', 'sleep', '999']);
      await answers(daemon.client, hostAddress, 8080);
      await answers(daemon.host, '127.0.0.1', 8080);
      await answers(daemon.host, hostAddress, 8080);
      await answers(inContainer('web'), hostAddress, 8080);
      await answers(inContainer('peer'), hostAddress, 8080);
      await answers(inContainer('other'), hostAddress, 8080);
      const seen = (await cli(['logs', 'web'])).stderr;
      assert.match(seen, new RegExp(clientAddress.replaceAll('.', '\\.')), 'the client’s own address');
      // 20.10 and 28 with their proxy bind [::] too; without IPv6 in the container we do not.
      await cli(['port', 'web'], { stdout: /^80\/tcp -> 0\.0\.0\.0:8080/ });
      await cli(['port', 'web', '80'], { stdout: /^0\.0\.0\.0:8080/ });
      await cli(['port', 'web', '81'], {
        exitCode: 1,
        stderr: /[Nn]o public port '81(\/tcp)?' published for web/,
      });
      await cli(['ps', '--filter', 'name=web', '--format', '{{.Ports}}'], {
        stdout: /^0\.0\.0\.0:8080->80\/tcp/,
      });
      // `publish` means the host's port, `expose` the container's.
      for (const [filter, names] of [
        ['publish=8080', 'web'],
        ['publish=80', ''],
        ['expose=80', 'web'],
        ['expose=8080', ''],
      ] as const)
        await cli(['ps', '--filter', filter, '--format', '{{.Names}}'], { stdout: names });
      await cli(['inspect', '-f', '{{json .HostConfig.PortBindings}}', 'web'], {
        stdout: '{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}',
      });
      await cli(['inspect', '-f', '{{json .NetworkSettings.Ports}}', 'web'], {
        stdout: /^\{"80\/tcp":\[\{"HostIp":"0\.0\.0\.0","HostPort":"8080"\}/,
      });
    });

    test('12: a busy port is refused in Docker’s words, the first goes on, the second stays Created', async () => {
      const refused = await cli(['run', '-d', '--name', 'late', '-p', '8080:80', 'busybox', 'sleep', '999'], {
        exitCode: 125,
        stderr:
          /driver failed programming external connectivity on endpoint late \([0-9a-f]{64}\): Bind for 0\.0\.0\.0:8080 failed: port is already allocated/,
      });
      if (!daemon.isReference)
        assert.match(refused.stderr, /failed to set up container networking: driver failed/);
      await cli(['ps', '-a', '--filter', 'name=late', '--format', '{{.Status}}'], { stdout: 'Created' });
      await answers(daemon.client, hostAddress, 8080);
      await cli(['rm', 'late'], { stdout: 'late' });
      // A program of the host has it.
      const holder = await hostProgram(8099);
      await cli(['run', '-d', '--name', 'late', '-p', '8099:80', 'busybox', 'sleep', '999'], {
        exitCode: 125,
        stderr: daemon.isReference
          ? /bind: address already in use/
          : /failed to bind host port 0\.0\.0\.0:8099\/tcp: address already in use/,
      });
      await holder[Symbol.asyncDispose]();
      await cli(['start', 'late'], { stdout: 'late' });
      // And the other way round.
      await daemon.host(['busybox', 'nc', '-l', '-p', '8099'], { exitCode: 1, stderr: /in use/ });
      await cli(['rm', '-f', 'late']);
    });

    ofDataPath('10, 11: 127.0.0.1 only, unpublished ports, and what a neighbour may try', async () => {
      await cli(['run', '-d', '--name', 'own', '-p', '127.0.0.1:8081:80', 'busybox', ...webServer(80)]);
      await answers(daemon.host, '127.0.0.1', 8081);
      await isSilent(daemon.client, hostAddress, 8081);
      await isSilent(daemon.host, hostAddress, 8081);
      const format = '{{.NetworkSettings.IPAddress}}';
      const { stdout: address } = await cli(['inspect', '-f', format, 'own']);
      await daemon.client(['ip', 'route', 'add', '172.17.0.0/16', 'via', hostAddress]);
      if (!daemon.isReference) await isSilent(daemon.client, address, 80);
      await daemon.client(['ip', 'route', 'del', '172.17.0.0/16']);
      await cli(['rm', '-f', 'own']);
    });

    test('26: -P, --expose and ranges', async () => {
      await cli([
        'run',
        '-d',
        '--name',
        'many',
        '-P',
        '--expose',
        '9000',
        '-p',
        '9000-9003:9100-9103',
        '-p',
        '9300-9309:9300-9309/udp',
        'busybox',
        ...webServer(9000),
      ]);
      const { stdout } = await cli(['port', 'many']);
      for (let i = 0; i < 4; i++)
        assert.match(stdout, new RegExp(`^910${i}/tcp -> 0\\.0\\.0\\.0:900${i}$`, 'm'));
      const port = Number(/^9000\/tcp -> 0\.0\.0\.0:(\d+)$/m.exec(stdout)?.[1]);
      assert.ok(port >= 32768, stdout);
      await answers(daemon.client, hostAddress, port);
      await cli(['ps', '--filter', 'name=many', '--format', '{{.Ports}}'], {
        stdout: /0\.0\.0\.0:9300-9309->9300-9309\/udp/,
      });
      await cli(['rm', '-f', 'many']);
      await cli(['run', '-d', '--name', 'one', '-p', '9400-9401:80', 'busybox', 'sleep', '999']);
      await cli(['run', '-d', '--name', 'two', '-p', '9400-9401:80', 'busybox', 'sleep', '999']);
      await cli(['port', 'one'], { stdout: /:940[01]/ });
      await cli(['port', 'two'], { stdout: /:940[01]/ });
      assert.notEqual((await cli(['port', 'one'])).stdout, (await cli(['port', 'two'])).stdout);
      await cli(['rm', '-f', 'one', 'two']);
    });

    ofDataPath(
      '26: a published UDP port answers, and is somebody else’s at once after it was given back',
      async () => {
        for (const name of ['udp1', 'udp2']) {
          await cli(['run', '-d', '--name', name, '-p', '8053:53/udp', 'busybox', 'sleep', '999']);
          const { stdout: pid } = await cli(['inspect', '-f', '{{.State.Pid}}', name]);
          using _server = await udpServer(pid, name);
          await daemon.client([process.execPath, '-e', udpClient, hostAddress, '8053'], { stdout: name });
          await cli(['rm', '-f', name]);
        }
      },
    );

    test('bad input: refused with Docker’s words, and nothing is left', async () => {
      const run = (flags: readonly string[], stderr: RegExp): Promise<unknown> =>
        cli(['create', ...flags, 'busybox'], { exitCode: undefined, stderr });
      await run(
        ['-p', '8000-8002:80-81'],
        /[Ii]nvalid ranges specified for container and host [Pp]orts: 80-81 and 8000-8002/,
      );
      await run(['-p', '65536:80'], /invalid hostPort: 65536/);
      await run(['-p', '80:65536'], /invalid containerPort: 65536/);
      await run(['-p', '80:80/icmp'], /invalid proto: icmp/);
      await run(['-p', 'host:80:80'], /invalid IP address: host/);
      await run(
        ['--network', 'container:web', '-p', '80:80'],
        /conflicting options: port publishing and the container type network mode/,
      );
      await cli(['run', '--rm', '--network', 'host', '-p', '80:80', 'busybox', 'true'], {
        stderr: /Published ports are discarded when using host network mode/,
      });
      await cli(['run', '--rm', '--network', 'none', '-p', '80:80', 'busybox', 'true']);
      await cli(['ps', '-aq', '--filter', 'status=created'], { stdout: '' });
    });

    ofDataPath('19: restart keeps the port; stop gives it back', async () => {
      await cli(['restart', '-t', '0', 'web'], { stdout: 'web' });
      await answers(daemon.client, hostAddress, 8080);
      await cli(['stop', '-t', '0', 'web'], { stdout: 'web' });
      await isSilent(daemon.client, hostAddress, 8080);
      await cli(['port', 'web'], { stdout: '' });
      await cli(['run', '-d', '--name', 'heir', '-p', '8080:80', 'busybox', ...webServer(80)]);
      await answers(daemon.client, hostAddress, 8080);
      await cli(['start', 'web'], { exitCode: 1, stderr: /port is already allocated/ });
      await cli(['rm', '-f', 'heir']);
      await cli(['start', 'web'], { stdout: 'web' });
      await answers(daemon.client, hostAddress, 8080);
    });

    ofDataPath(
      'an IPv6 network: published by both families, by ::1 where frames in bridges are not filtered',
      async (t) => {
        if (daemon.isReference)
          return t.skip(notAsked('its proxy takes connections to IPv6 and hides the caller'));
        const filterBridges = async (isOn: boolean): Promise<void> => {
          const path = '/proc/sys/net/bridge/bridge-nf-call-ip6tables';
          await daemon.host(['sh', '-c', `echo ${isOn ? 1 : 0} > ${path}`]);
        };
        await filterBridges(false);
        await cli(['network', 'create', '--ipv6', '--subnet', 'fd00:77::/64', 'n6']);
        await cli([
          'run',
          '-d',
          '--name',
          'six',
          '--network',
          'n6',
          '-p',
          '8300:80',
          'busybox',
          ...webServer(80),
        ]);
        await cli(['port', 'six'], { stdout: '80/tcp -> 0.0.0.0:8300\n80/tcp -> [::]:8300' });
        await answers(daemon.client, hostAddress, 8300);
        await answers(daemon.host, '127.0.0.1', 8300);
        await answers(daemon.host, 'fd00:77::1', 8300);
        await answers(inContainer('six'), 'fd00:77::1', 8300);
        await answers(daemon.host, '::1', 8300);
        await cli([
          'run',
          '-d',
          '--name',
          'own',
          '--network',
          'n6',
          '-p',
          '[::1]:8302:80',
          'busybox',
          ...webServer(80),
        ]);
        await answers(daemon.host, '::1', 8302);
        await isSilent(daemon.host, 'fd00:77::1', 8302);
        const msOfSilence = async (port: number): Promise<number> => {
          const startMs = performance.now();
          await isSilent(daemon.host, '::1', port);
          return performance.now() - startMs;
        };
        const isRefused = async (port: number): Promise<void> =>
          assert.ok((await msOfSilence(port)) < 1900, 'refused, not timed out');
        // Published by IPv4 alone: who asks for localhost goes on to 127.0.0.1.
        await cli(['run', '-d', '--name', 'four', '-p', '8303:80', 'busybox', ...webServer(80)]);
        await isRefused(8303);
        await answers(daemon.host, 'localhost', 8303);
        // A change of the parameter is followed by itself, within a moment.
        await filterBridges(true);
        assert.ok(await eventually(async () => (await msOfSilence(8300)) < 1900));
        await answers(daemon.host, 'fd00:77::1', 8300);
        await filterBridges(false);
        await answers(daemon.host, '::1', 8300);
        await cli(['rm', '-f', 'own', 'four']);
        for (const [host, address] of [
          ['A', '2001:db8::11'],
          ['C', '2001:db8::13'],
        ] as const)
          await (host === 'A' ? daemon.host : daemon.client)([
            'ip',
            '-6',
            'address',
            'add',
            `${address}/64`,
            'dev',
            'eth0',
            'nodad',
          ]);
        await answers(daemon.client, '2001:db8::11', 8300);
        assert.match((await cli(['logs', 'six'])).stderr, /2001:db8::13/);
        await daemon.client(['ip', '-6', 'route', 'add', 'fd00:77::/64', 'via', '2001:db8::11']);
        await isSilent(daemon.client, 'fd00:77::2', 80);
        await cli(['run', '--name', 'seven', '-p', '[::]:8301:80', 'busybox', 'true'], {
          exitCode: 125,
          stderr: /cannot publish port 80\/tcp on ::: the container has no IPv6 connection to the outside/,
        });
        await cli(['rm', '-f', 'six', 'seven']);
        await cli(['network', 'rm', 'n6']);
      },
    );

    ofDataPath('a network of the other family joins a published port, and leaves it', async () => {
      if (daemon.isReference) return;
      await cli(['network', 'create', '--ipv6', '--subnet', 'fd00:78::/64', 'n8']);
      await cli(['run', '-d', '--name', 'eight', '-p', '8310:80', '-p', '90', 'busybox', ...webServer(80)]);
      const { stdout: alone } = await cli(['port', 'eight'], { stdout: /^80\/tcp -> 0\.0\.0\.0:8310$/m });
      await cli(['network', 'connect', 'n8', 'eight']);
      await cli(['port', 'eight', '80'], { stdout: '0.0.0.0:8310\n[::]:8310' });
      await cli(['port', 'eight', '90'], { stdout: /^0\.0\.0\.0:(\d+)\n\[::\]:\1$/ });
      await answers(daemon.client, hostAddress, 8310);
      await answers(daemon.host, 'fd00:78::1', 8310);
      await cli(['network', 'disconnect', 'n8', 'eight']);
      assert.equal((await cli(['port', 'eight'])).stdout, alone);
      await answers(daemon.client, hostAddress, 8310);
      await cli(['rm', '-f', 'eight']);
      await cli(['network', 'rm', 'n8']);
    });

    ofDataPath(
      'trusted_host_interfaces: what is published, by the container’s own address, and nothing else',
      async () => {
        if (daemon.isReference) return;
        const option = 'com.docker.network.bridge.trusted_host_interfaces';
        await cli(['network', 'create', '--subnet', '172.30.0.0/16', '-o', `${option}=eth0:wg0`, 'trusting']);
        const [flags, image] = [['-d', '--name', 'own', '--network', 'trusting'], 'busybox'];
        await cli(['run', ...flags, '-p', '127.0.0.1:8400:80', image, ...webServer(80)]);
        await daemon.client(['ip', 'route', 'add', '172.30.0.0/16', 'via', hostAddress]);
        await answers(daemon.client, '172.30.0.2', 80);
        await isSilent(daemon.client, hostAddress, 8400);
        await cli(['rm', '-f', 'own']);
        await cli(['run', ...flags, image, ...webServer(80)]);
        await isSilent(daemon.client, '172.30.0.2', 80);
        await daemon.client(['ip', 'route', 'del', '172.30.0.0/16']);
        await cli(['rm', '-f', 'own']);
        await cli(['network', 'rm', 'trusting']);
        await cli(['network', 'create', '-o', `${option}=eth0:a/b`, 'wrong'], {
          exitCode: 1,
          stderr: /a\/b is not a valid interface name/,
        });
      },
    );

    ofDataPath(
      '36: a hundred ports cost no process and little time, ten thousand are one start',
      async () => {
        const before = await readHostState(daemon);
        const processCount = processes().length;
        const time = async (name: string, ...flags: readonly string[]): Promise<number> => {
          const startMs = performance.now();
          await cli(['run', '-d', '--name', name, ...flags, 'busybox', 'sleep', '999'], {
            timeoutMs: 120_000,
          });
          return performance.now() - startMs;
        };
        const plainMs = await time('plain');
        const manyMs = await time('hundred', '-p', '10000-10099:20000-20099');
        // A rough bound that a rule or a process a port would break; bench has the figures.
        if (!daemon.isReference) assert.ok(manyMs < 4 * plainMs + 500, `${manyMs} ms against ${plainMs} ms`);
        await cli(['port', 'hundred', '20099'], { stdout: /0\.0\.0\.0:10099/ });
        await cli(['rm', '-f', 'hundred']);
        if (!daemon.isReference) {
          await time('huge', '-p', '40000-49999:40000-49999/udp');
          await cli(['port', 'huge', '49999/udp'], { stdout: '0.0.0.0:49999' });
          // The daemon has no descriptor below 1024 left, and libnftables, which sets up a resolver, takes no larger one.
          await cli(['run', '--rm', '--network', 'n1', 'busybox', 'nslookup', 'web'], { stdout: /Address/ });
          assert.equal(processes().filter(({ command }) => command.includes('proxy')).length, 0);
          await cli(['rm', '-f', 'huge']);
        }
        await cli(['rm', '-f', 'plain']);
        const after = await readHostState(daemon);
        assert.deepEqual(after.firewall, before.firewall);
        assert.ok(processes().length <= processCount + 1);
      },
    );

    ofDataPath('20: published ports go on without the daemon and are its own again afterwards', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('its containers end with it'));
      await daemon.kill('SIGKILL');
      await answers(daemon.client, hostAddress, 8080);
      await daemon.start();
      await answers(daemon.client, hostAddress, 8080);
      await cli(['port', 'web'], { stdout: '80/tcp -> 0.0.0.0:8080' });
      await daemon.host(['busybox', 'nc', '-l', '-p', '8080'], { exitCode: 1, stderr: /in use/ });
      await cli(['run', '-d', '--name', 'late', '-p', '8080:80', 'busybox', 'sleep', '999'], {
        exitCode: 125,
        stderr: /port is already allocated/,
      });
      await cli(['rm', 'late']);
      // Somebody takes the port while no daemon runs: the container keeps it for the outside, and it is said.
      await daemon.kill('SIGKILL');
      const thief = await hostProgram(8080);
      await daemon.start();
      await answers(daemon.client, hostAddress, 8080);
      await cli(['info'], { stderr: /A program of the host took port 0\.0\.0\.0 8080\/tcp/, stdout: /./ });
      await thief[Symbol.asyncDispose]();
    });

    test('who may connect: labels, the network’s option, and our own flag', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('it has no such option'));
      const web = async (name: string, ...flags: readonly string[]): Promise<void> => {
        await cli(['run', '-d', '--name', name, ...flags, 'busybox', ...webServer(80)]);
      };
      await web('f1', '-p', '8201:80', '--label', `linkspan.publish.from.80=${clientAddress}`);
      await web('f2', '-p', '8202:80', '--label', 'linkspan.publish.from=203.0.113.0/24');
      await cli(['network', 'create', '-o', 'linkspan.publish.from=203.0.113.0/24,198.51.100.0/24', 'n3']);
      await web('f3', '-p', '8203:80', '--network', 'n3');
      await answers(daemon.client, hostAddress, 8201);
      await answers(daemon.host, '127.0.0.1', 8202);
      await isSilent(daemon.client, hostAddress, 8202);
      await isSilent(daemon.client, hostAddress, 8203);
      await cli(['create', '-p', '80', '--label', 'linkspan.publish.from=all', 'busybox'], {
        exitCode: 1,
        stderr: /invalid source for published port 80\/tcp: "all" is not a subnet/,
      });
      if (engine.cli !== 'docker') {
        await web('f4', '-p', `8204:80,from=203.0.113.0/24,from=${clientAddress}`);
        await web('f5', '-p', 'published=8205,target=80,from=203.0.113.0/24');
        await answers(daemon.client, hostAddress, 8204);
        await isSilent(daemon.client, hostAddress, 8205);
        await cli(['rm', '-f', 'f4', 'f5']);
      }
      await cli(['rm', '-f', 'f1', 'f2', 'f3']);
      await cli(['network', 'rm', 'n3']);
    });

    test('linkspan port add and rm change a running container’s ports, and its next start', async () => {
      if (engine.cli === 'docker') return;
      await cli(['port', 'add', 'web', '8090:80', '127.0.0.1:8091:80'], {
        stdout: '80/tcp -> 127.0.0.1:8091\n80/tcp -> 0.0.0.0:8080\n80/tcp -> 0.0.0.0:8090'
          .split('\n')
          .toSorted()
          .join('\n'),
      });
      await answers(daemon.client, hostAddress, 8090);
      await answers(daemon.host, '127.0.0.1', 8091);
      await cli(['port', 'add', 'web', '8090:81'], { exitCode: 1, stderr: /port is already allocated/ });
      await answers(daemon.client, hostAddress, 8090);
      await cli(['port', 'rm', 'web', '8080:80', '127.0.0.1:8091:80'], { stdout: '80/tcp -> 0.0.0.0:8090' });
      await isSilent(daemon.client, hostAddress, 8080);
      await answers(daemon.client, hostAddress, 8090);
      await cli(['port', 'rm', 'web', '99'], { exitCode: 1, stderr: /port 99\/tcp is not published/ });
      await cli(['restart', '-t', '0', 'web']);
      await cli(['port', 'web'], { stdout: '80/tcp -> 0.0.0.0:8090' });
      await answers(daemon.client, hostAddress, 8090);
      await cli(['port', 'add', 'other', '8092:80,from=203.0.113.0/24'], {
        stdout: '80/tcp -> 0.0.0.0:8092',
      });
      await isSilent(daemon.client, hostAddress, 8092);
      await cli(['port', 'rm', 'web', '80'], { stdout: '' });
      await cli(['inspect', '-f', '{{json .HostConfig.PortBindings}}', 'web'], { stdout: '{}' });
    });

    test('15: nothing is left', async () => {
      const { stdout } = await cli(['ps', '-aq']);
      await cli(['rm', '-f', ...stdout.split('\n')]);
      await cli(['network', 'rm', 'n1', 'n2']);
      const { firewall } = await readHostState(daemon);
      if (!daemon.isReference)
        assert.ok(!firewall.some((line) => /elements.*(tcp|udp) \. /.test(line)), firewall.join('\n'));
      const sockets = (await daemon.host(['ss', '-tlnH'])).stdout
        .split('\n')
        .filter((line) => /:\d{4}/.test(line));
      assert.deepEqual(
        sockets.filter((line) => /:(8080|809\d|820\d)\b/.test(line)),
        [],
      );
      assert.ok(readdirSync(`/proc/${daemon.pid()}/fd`).length < 200);
    });
  });
}
