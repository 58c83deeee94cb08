/*
 * Names as containers see them: own names, aliases, backwards, forwarding, live renames, and what must not happen.
 * Expectations were taken from Docker; where 20.10 (the reference here) differs from 28, the check says so. What a
 * resolver answers does not depend on the command line that made the container: the second one repeats what it sets or
 * shows itself.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { notAsked } from '../arch/skips.ts';
import { eventually, type Runner } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import type { TimedAnswer } from './dnsPeer.ts';
import { clientAddress, inHost } from './hosts.ts';
import { testOnce } from './reference.ts';

const tool = join(import.meta.dirname, 'dnsTool.ts');
const sleeping = ['busybox', 'sleep', '999'] as const;

/** More addresses of host C, for a server that never answers and one that refuses. */
const silentAddress = '192.0.2.14';
const refusingAddress = '192.0.2.15';

for (const engine of engines()) {
  describe(`names: ${engine.name}`, () => {
    const ofResolver = testOnce(engine);
    let daemon: Daemon;
    const servers: ChildProcess[] = [];
    after(async () => {
      for (const server of servers) server.kill('SIGKILL');
      await daemon[Symbol.asyncDispose]();
    });
    const cli: Runner = (args, options) => daemon.cli(args, options);
    afterEach(async () => {
      const { stdout } = await cli(['ps', '-aq']);
      if (stdout !== '') await cli(['rm', '-f', ...stdout.split('\n')]);
    });

    const sleeper = async (name: string, ...flags: string[]): Promise<void> => {
      await cli(['run', '-d', '--name', name, ...flags, ...sleeping], { stdout: /^[0-9a-f]{64}$/ });
    };
    const addressOf = async (name: string): Promise<string> =>
      (await cli(['inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', name])).stdout;
    const inContainer = async (name: string): Promise<readonly string[]> => {
      const { stdout } = await cli(['inspect', '-f', '{{.State.Pid}}', name]);
      return ['nsenter', `--net=/proc/${stdout}/ns/net`, '--', process.execPath, tool];
    };
    const runTool = async (container: string, ...args: string[]): Promise<unknown> =>
      JSON.parse((await daemon.host([...(await inContainer(container)), ...args])).stdout);
    const ask = async (
      container: string,
      name: string,
      type: string,
      ...options: string[]
    ): Promise<TimedAnswer> =>
      (await runTool(container, 'ask', '127.0.0.11', name, type, ...options)) as TimedAnswer;
    const texts = ({ answers }: TimedAnswer): readonly string[] => answers.map(({ text }) => text);
    const startServer = async (words: readonly string[], ...args: string[]): Promise<ChildProcess> => {
      const [program = '', ...rest] = [...words, 'serve', ...args];
      const server = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
      servers.push(server);
      await once(server.stdout, 'data');
      return server;
    };
    const serveInC = (...args: string[]): Promise<ChildProcess> =>
      startServer([...inHost('C'), process.execPath, tool], ...args);

    before(async () => {
      daemon = await startDaemon(engine);
      for (const [address, mode] of [
        [clientAddress, 'names'],
        [silentAddress, 'silent'],
        [refusingAddress, 'refuse'],
      ] as const) {
        if (address !== clientAddress)
          await daemon.client(['ip', 'address', 'add', `${address}/24`, 'dev', 'eth0']);
        await serveInC(address, mode);
      }
    });

    test('5: containers of a network know each other by name, alias, name.network and short id', async () => {
      await cli(['network', 'create', 'n1']);
      await sleeper('w1', '--network', 'n1', '--network-alias', 'www');
      const { stdout: id } = await cli([
        'run',
        '-d',
        '--name',
        'w2',
        '--network',
        'n1',
        '-h',
        'hosty',
        ...sleeping,
      ]);
      for (const name of ['w1', 'W1', 'www', 'w1.n1', 'www.n1'])
        await cli(['exec', 'w2', 'ping', '-c1', '-W1', name]);
      await cli(['exec', 'w1', 'ping', '-c1', '-W1', id.slice(0, 12)]);
      if (!daemon.isReference) await cli(['exec', 'w1', 'ping', '-c1', '-W1', 'hosty']);
      const { stdout } = await cli(['exec', 'w1', 'cat', '/etc/resolv.conf']);
      assert.match(stdout, /^nameserver 127\.0\.0\.11$/m);
      assert.match(stdout, /^options .*ndots:0/m);
    });

    ofResolver(
      '24: a shared alias gives both addresses in varying order, TTL 600, and addresses have names',
      async () => {
        await sleeper('w1', '--network', 'n1', '--network-alias', 'both');
        await sleeper('w2', '--network', 'n1', '--network-alias', 'both');
        const addresses = [await addressOf('w1'), await addressOf('w2')];
        const answers = (await runTool(
          'w1',
          ...['ask', '127.0.0.11', 'both', 'a', 'times=20'],
        )) as readonly TimedAnswer[];
        for (const answer of answers) {
          assert.deepEqual(
            answer.answers.map(({ ttlS }) => ttlS),
            [600, 600],
          );
          assert.deepEqual([...texts(answer)].sort(), [...addresses].sort());
        }
        assert.equal(new Set(answers.map((answer) => texts(answer).join())).size, 2);
        const backwards = `${addresses[1]?.split('.').reverse().join('.')}.in-addr.arpa`;
        assert.deepEqual(texts(await ask('w1', backwards, 'ptr')), ['w2.n1']);
        const missing = await ask('w1', 'both', 'aaaa');
        assert.deepEqual([missing.code, missing.answers], [0, []]);
      },
    );

    ofResolver('25: other names go to --dns; a silent server falls to the next within 5 s', async () => {
      await sleeper('w1', '--network', 'n1', '--dns', clientAddress);
      assert.deepEqual(texts(await ask('w1', 'example.org', 'a')), ['198.51.100.7']);
      await cli(['exec', 'w1', 'nslookup', 'example.org'], { stdout: /198\.51\.100\.7/ });
      await sleeper('w2', '--network', 'n1', '--dns', silentAddress, '--dns', clientAddress);
      const second = await ask('w2', 'example.org', 'a');
      assert.deepEqual(texts(second), ['198.51.100.7']);
      assert.ok(second.ms < 5000, `${second.ms}`);
      await sleeper('w3', '--network', 'n1', '--dns', '192.0.2.11', '--dns', clientAddress);
      const third = await ask('w3', 'example.org', 'a');
      assert.deepEqual(texts(third), ['198.51.100.7']);
      assert.ok(third.ms < 2000, `a closed port is known at once: ${third.ms}`);
    });

    ofResolver('29: a rename moves the name at once', async () => {
      await sleeper('w1', '--network', 'n1', '--dns', refusingAddress);
      await sleeper('w2', '--network', 'n1');
      await cli(['rename', 'w2', 'w9']);
      assert.deepEqual(texts(await ask('w1', 'w9', 'a')), [await addressOf('w9')]);
      assert.notEqual((await ask('w1', 'w2', 'a')).code, 0);
    });

    ofResolver('19: after restart a container is found again, after rm it is not', async () => {
      await sleeper('w1', '--network', 'n1', '--dns', refusingAddress);
      await sleeper('w2', '--network', 'n1');
      const address = await addressOf('w2');
      await cli(['restart', '-t', '0', 'w2']);
      assert.ok(await eventually(async () => texts(await ask('w1', 'w2', 'a')).join() === address, 1000));
      await cli(['stop', '-t', '0', 'w2']);
      assert.deepEqual(texts(await ask('w1', 'w2', 'a')), []);
    });

    ofResolver('long answers are cut over UDP, wider with EDNS, and whole over TCP', async () => {
      await sleeper('w1', '--network', 'n1', '--dns', clientAddress);
      const cut = await ask('w1', 'big.org', 'txt');
      assert.ok(cut.isTruncated && cut.bytes <= 512);
      const whole = await ask('w1', 'big.org', 'txt', 'tcp');
      assert.deepEqual([whole.isTruncated, whole.answers.length], [false, 100]);
      const own = await ask('w1', 'w1', 'a', 'tcp');
      assert.deepEqual(texts(own), [await addressOf('w1')]);
    });

    ofResolver(
      'a container\u2019s own server on 0.0.0.0:53 works, and so does the resolver beside it',
      async () => {
        await sleeper('w1', '--network', 'n1');
        await sleeper('w2', '--network', 'n1');
        await startServer([...inHost('A'), ...(await inContainer('w1'))], '0.0.0.0', 'names');
        const own = (await runTool('w2', 'ask', await addressOf('w1'), 'x.org', 'a')) as TimedAnswer;
        assert.deepEqual(texts(own), ['198.51.100.7']);
        const local = (await runTool('w1', 'ask', '127.0.0.1', 'x.org', 'a')) as TimedAnswer;
        assert.deepEqual(texts(local), ['198.51.100.7']);
        for (const transport of ['udp', 'tcp'])
          assert.deepEqual(texts(await ask('w1', 'w2', 'a', transport)), [await addressOf('w2')]);
      },
    );

    ofResolver('21: on an internal network names resolve and nothing else does', async () => {
      await cli(['network', 'create', '--internal', 'inner']);
      await sleeper('w1', '--network', 'inner');
      await sleeper('w2', '--network', 'inner');
      assert.deepEqual(texts(await ask('w1', 'w2', 'a')), [await addressOf('w2')]);
      // 20.10 asks the host's servers all the same.
      if (!daemon.isReference) {
        const outside = await ask('w1', 'example.org', 'a');
        assert.deepEqual([outside.code === 0, outside.answers], [false, []]);
      }
      await cli(['rm', '-f', 'w1', 'w2']);
      await cli(['network', 'rm', 'inner']);
    });

    ofResolver('container: mode shares resolver and files', async () => {
      await sleeper('w1', '--network', 'n1');
      await sleeper('w2', '--network', 'n1');
      await sleeper('joined', '--network', 'container:w1');
      await cli(['exec', 'joined', 'ping', '-c1', '-W1', 'w2']);
      await cli(['exec', 'joined', 'cat', '/etc/resolv.conf'], { stdout: /nameserver 127\.0\.0\.11/ });
    });

    test('3: the default bridge has no resolver; --dns, --dns-search and --dns-option are written out', async () => {
      const flags = ['--dns', '192.0.2.99', '--dns-search', 'lan', '--dns-option', 'timeout:1'];
      const { stdout } = await cli(['run', '--rm', ...flags, 'busybox', 'cat', '/etc/resolv.conf']);
      for (const line of ['nameserver 192.0.2.99', 'search lan', 'options timeout:1'])
        assert.ok(stdout.split('\n').includes(line), line);
    });

    test('31: --add-host, host-gateway, --hostname and --domainname make the hosts file', async () => {
      const { stdout } = await cli([
        ...['run', '--rm', '--add-host', 'db:10.0.0.9', '--add-host', 'gw:host-gateway'],
        ...['--hostname', 'box', '--domainname', 'example.org', 'busybox', 'cat', '/etc/hosts'],
      ]);
      assert.match(stdout, /^10\.0\.0\.9\tdb$/m);
      assert.match(stdout, /^172\.17\.0\.1\tgw$/m);
      assert.match(stdout, /^172\.17\.0\.\d+\tbox\.example\.org box$/m);
    });

    test('a link on the default network is a line in the hosts file and variables', async () => {
      await cli(['run', '-d', '--name', 'w1', '--expose', '5432', '-e', 'SECRET=x', ...sleeping]);
      const address = await addressOf('w1');
      const run = ['run', '--rm', '--name', 'w2', '--link', 'w1:my-db', 'busybox', 'sh', '-c'];
      const { stdout } = await cli([...run, 'cat /etc/hosts; env; ping -c1 -W1 my-db']);
      assert.match(stdout, new RegExp(`^${address}\\tmy-db [0-9a-f]{12} w1$`, 'm'));
      for (const line of [
        `MY_DB_PORT=tcp://${address}:5432`,
        `MY_DB_PORT_5432_TCP_ADDR=${address}`,
        'MY_DB_PORT_5432_TCP_PROTO=tcp',
        'MY_DB_NAME=/w2/my-db',
        'MY_DB_ENV_SECRET=x',
      ])
        assert.ok(stdout.split('\n').includes(line), line);
      await cli(['create', '--name', 'w3', '--link', 'w1', 'busybox', 'true']);
      await cli(['inspect', '-f', '{{json .HostConfig.Links}}', 'w3'], { stdout: '["/w1:/w3/w1"]' });
      await cli(['stop', '-t', '0', 'w1']);
      await cli(['start', 'w3'], {
        exitCode: 1,
        stderr: /Cannot link to a non running container: \/w1 AS \/w3\/w1/,
      });
      await cli(['run', '--link', 'nope', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /could not get container for nope: No such container: nope/,
      });
    });

    ofResolver('a link on a user-defined network is an alias for one container alone', async () => {
      await sleeper('w1', '--network', 'n1', '--dns', refusingAddress);
      await sleeper('w2', '--network', 'n1', '--link', 'w1:store');
      const address = await addressOf('w1');
      assert.deepEqual(texts(await ask('w2', 'store', 'a')), [address]);
      assert.deepEqual(texts(await ask('w1', 'store', 'a')), []);
      await cli(['inspect', '-f', '{{json .NetworkSettings.Networks.n1.Links}}', 'w2'], {
        stdout: '["w1:store"]',
      });
    });

    test('7: connect brings names to a running container, disconnect takes them; an edited resolv.conf stays', async () => {
      await sleeper('w1', '--network', 'n1', '--dns', refusingAddress);
      await sleeper('w2');
      await sleeper('w3');
      await cli(['exec', 'w3', 'sh', '-c', 'echo "nameserver 192.0.2.77" > /etc/resolv.conf']);
      await cli(['network', 'connect', '--alias', 'xx', '--link', 'w1:store', 'n1', 'w2']);
      await cli(['network', 'connect', 'n1', 'w3']);
      const address = (await cli(['inspect', '-f', '{{.NetworkSettings.Networks.n1.IPAddress}}', 'w2']))
        .stdout;
      for (const name of ['w2', 'xx']) assert.deepEqual(texts(await ask('w1', name, 'a')), [address]);
      for (const name of ['w1', 'store'])
        assert.deepEqual(texts(await ask('w2', name, 'a')), [await addressOf('w1')]);
      if (!daemon.isReference)
        await cli(['exec', 'w2', 'cat', '/etc/resolv.conf'], { stdout: /nameserver 127\.0\.0\.11/ });
      // 20.10 writes over it.
      if (!daemon.isReference)
        await cli(['exec', 'w3', 'cat', '/etc/resolv.conf'], { stdout: 'nameserver 192.0.2.77' });
      await cli(['network', 'disconnect', 'n1', 'w2']);
      assert.deepEqual(texts(await ask('w1', 'xx', 'a')), []);
    });

    ofResolver(
      'on a network with IPv6 a name has both kinds of addresses, and both have a name',
      async () => {
        await cli(['network', 'create', '--ipv6', '--subnet', 'fd00:77::/64', 'six']);
        await sleeper('w1', '--network', 'six');
        const format = '{{.NetworkSettings.Networks.six.GlobalIPv6Address}}';
        const { stdout: address } = await cli(['inspect', '-f', format, 'w1'], { stdout: /^fd00:77::/ });
        assert.deepEqual(texts(await ask('w1', 'w1', 'aaaa')), [address]);
        assert.equal((await ask('w1', 'w1', 'a')).answers.length, 1);
        await cli(['exec', 'w1', 'nslookup', address], { stdout: /w1\.six/ });
        await cli(['rm', '-f', 'w1']);
        await cli(['network', 'rm', 'six']);
      },
    );

    ofResolver('names of one network are unknown on another', async () => {
      await cli(['network', 'create', 'n2']);
      await sleeper('w1', '--network', 'n1', '--dns', refusingAddress);
      await sleeper('w2', '--network', 'n2');
      for (const name of ['w2', 'w2.n2']) assert.deepEqual(texts(await ask('w1', name, 'a')), []);
      await cli(['rm', '-f', 'w1', 'w2']);
      await cli(['network', 'rm', 'n2']);
    });

    ofResolver('20: after kill -9 and a restart names resolve at once', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('its containers end with it'));
      await sleeper('w1', '--network', 'n1');
      await sleeper('w2', '--network', 'n1');
      const address = await addressOf('w2');
      await daemon.kill('SIGKILL');
      await daemon.start();
      const first = await ask('w1', 'w2', 'a');
      assert.deepEqual(texts(first), [address]);
      assert.deepEqual(texts(await ask('w1', 'w2', 'a', 'tcp')), [address]);
    });
  });
}
