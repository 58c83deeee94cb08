/*
 * The root of a swarm is changed under its nodes and containers: nobody is dropped, who is away holds it open, and what
 * was of the old root counts for nothing afterwards. Texts are Docker's.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { addressOf, type Cluster, commandLines, type Host, openCluster, runSleeper } from './hosts.ts';

const subnet = '10.90.0.0/24';

for (const [name, program] of commandLines) {
  describe(`rotation of the root: ${name}`, () => {
    let cluster: Cluster;
    let [a, b, c] = [] as unknown as [Host, Host, Host];
    before(async () => {
      cluster = await openCluster(program, true);
      a = cluster.hosts.A;
      b = cluster.hosts.B;
      c = cluster.hosts.C;
      await a.cli(['swarm', 'init', '--advertise-addr', addressOf('A'), '--dispatcher-heartbeat', '1s']);
      for (const host of [b, c]) await join(host, await token());
      await a.cli(['network', 'create', '-d', 'overlay', '--attachable', '--subnet', subnet, 'o']);
      await runSleeper(a, 'web', 'o', '10.90.0.10');
      await runSleeper(b, 'web', 'o', '10.90.0.11');
    });
    after(async () => {
      await cluster[Symbol.asyncDispose]();
    });

    const say = async (host: Host, ...args: readonly string[]): Promise<string> =>
      (await host.cli(args)).stdout;
    const token = (): Promise<string> => say(a, 'swarm', 'join-token', '-q', 'worker');
    const join = (host: Host, text: string): Promise<unknown> =>
      host.cli(['swarm', 'join', '--token', text, `${addressOf('A')}:2377`]);
    const root = (): Promise<string> => say(a, 'swarm', 'ca');
    const subjectOf = (pem: string): string => new X509Certificate(pem).subject;
    const isRotating = async (): Promise<boolean> =>
      (await say(a, 'info', '-f', '{{.Swarm.Cluster.RootRotationInProgress}}')) === 'true';
    const nodes = async (): Promise<readonly string[]> =>
      (await say(a, 'node', 'ls', '--format', '{{.Hostname}} {{.Status}} {{.TLSStatus}}')).split('\n').sort();
    const pings = async (from: Host, to: string, count: number): Promise<string> =>
      await say(from, 'exec', 'web', 'ping', '-c', String(count), '-i', '0.1', '-W', '1', to);
    const becomes = (work: () => Promise<boolean>): Promise<boolean> => eventually(work, 30_000);

    test('flags that do not go together are refused, and change nothing', async () => {
      const before = await root();
      await a.cli(['swarm', 'ca', '--cert-expiry', '24h'], {
        exitCode: 1,
        stderr: /`--cert-expiry` flag requires the `--rotate` flag to update the CA/,
      });
      writeFileSync('/run/cluster/ca.pem', `${before}\n`);
      const external = 'protocol=cfssl,url=https://ca.example';
      await a.cli(
        ['swarm', 'ca', '--rotate', '--ca-cert', '/run/cluster/ca.pem', '--external-ca', external],
        {
          exitCode: 1,
          stderr: /An external certificate authority is not supported yet/,
        },
      );
      assert.equal(await root(), before);
    });

    test('all nodes get the new root, sessions stay, and containers answer throughout', async () => {
      const before = { root: await root(), token: await token() };
      const epochs = await say(a, 'node', 'ls', '-q');
      const [ping, rotated] = await Promise.all([
        pings(a, '10.90.0.11', 30),
        say(a, 'swarm', 'ca', '--rotate'),
      ]);
      assert.match(ping, /30 packets transmitted, 30 packets received/);
      const now = await root();
      assert.notEqual(now, before.root);
      assert.equal(rotated.includes(now.trim()), true);
      assert.match(subjectOf(before.root), /swarm-ca g1/);
      assert.match(subjectOf(now), /swarm-ca g2/);
      const all = 'host-A Ready Ready,host-B Ready Ready,host-C Ready Ready';
      assert.equal(await becomes(async () => String(await nodes()) === all), true);
      assert.equal(await say(a, 'node', 'ls', '-q'), epochs);
      assert.equal(await isRotating(), false);
      assert.notEqual((await token()).split('-')[2], before.token.split('-')[2]);
      await c.cli(['swarm', 'leave']);
      await c.cli(['swarm', 'join', '--token', before.token, `${addressOf('A')}:2377`], {
        exitCode: 1,
        stderr: /remote CA does not match fingerprint/,
      });
      await join(c, await token());
      await a.cli(['node', 'rm', await downNode('host-C')]);
    });

    /** The id of the node of that name that is down. */
    const downNode = async (hostname: string): Promise<string> => {
      let found: string | undefined;
      await becomes(async () => {
        const rows = (await say(a, 'node', 'ls', '--format', '{{.ID}} {{.Hostname}} {{.Status}}')).split(
          '\n',
        );
        found = rows.find((row) => row.endsWith(` ${hostname} Down`))?.split(' ')[0];
        return found !== undefined;
      });
      return found ?? '';
    };

    // What no command line has a part in, once.
    const isFirst = name === 'docker CLI';
    const once = (title: string, work: () => Promise<void>): void => {
      if (isFirst) void test(title, work);
    };

    once('a node that is away holds the change open, others join meanwhile, and it catches up', async () => {
      await b.kill('SIGKILL');
      const before = await root();
      await a.cli(['swarm', 'ca', '--rotate', '--detach', '--cert-expiry', '720h']);
      assert.equal(await isRotating(), true);
      assert.equal(await root(), before);
      assert.equal(await becomes(async () => (await nodes()).includes('host-C Ready Ready')), true);
      assert.equal((await nodes()).find((row) => row.startsWith('host-B'))?.endsWith('Needs Rotation'), true);
      await c.cli(['swarm', 'leave']);
      await join(c, await token());
      await a.cli(['node', 'rm', await downNode('host-C')]);
      await a.kill('SIGKILL');
      await a.start();
      assert.equal(await isRotating(), true);
      await b.start();
      assert.equal(await becomes(async () => !(await isRotating())), true);
      assert.match(subjectOf(await root()), /swarm-ca g3/);
      assert.equal(
        await becomes(async () => (await nodes()).every((row) => row.endsWith(' Ready Ready'))),
        true,
      );
      assert.match(await pings(b, '10.90.0.10', 3), /3 packets received/);
    });

    once('a node that is away is removed: the change ends, and its certificate is refused', async () => {
      await c.kill('SIGKILL');
      await a.cli(['swarm', 'ca', '--rotate', '--detach']);
      assert.equal(await becomes(async () => (await nodes()).includes('host-B Ready Ready')), true);
      assert.equal(await isRotating(), true);
      await a.cli(['node', 'rm', await downNode('host-C')]);
      assert.equal(await becomes(async () => !(await isRotating())), true);
      await c.start();
      const says = async (): Promise<boolean> =>
        /no manager answers: .*401/.test(await say(c, 'info', '-f', '{{.Swarm.Error}}'));
      assert.equal(await becomes(says), true);
      assert.deepEqual(await nodes(), ['host-A Ready Ready', 'host-B Ready Ready']);
      await c.cli(['swarm', 'leave']);
    });

    once('kill -9 right after it began: the next start ends it', async () => {
      await b.kill('SIGKILL');
      await a.cli(['swarm', 'ca', '--rotate', '--detach']);
      await a.kill('SIGKILL');
      await b.start();
      await a.start();
      assert.equal(await becomes(async () => !(await isRotating())), true);
      assert.match(subjectOf(await root()), /swarm-ca g5/);
      assert.match(await pings(b, '10.90.0.10', 3), /3 packets received/);
    });

    test('a root of the user’s own', async () => {
      if (!isFirst) {
        await c.cli(['swarm', 'leave']);
        await a.cli(['node', 'rm', await downNode('host-C')]);
      }
      a.run('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', '/run/cluster/own.key');
      const subject = ['-subj', '/CN=our own root', '-days', '800'];
      const use = [
        '-addext',
        'basicConstraints=critical,CA:TRUE',
        '-addext',
        'keyUsage=critical,keyCertSign',
      ];
      a.run(
        'openssl',
        'req',
        '-x509',
        '-new',
        '-key',
        '/run/cluster/own.key',
        '-out',
        '/run/cluster/own.pem',
        ...subject,
        ...use,
      );
      await a.cli([
        'swarm',
        'ca',
        '--rotate',
        '--ca-cert',
        '/run/cluster/own.pem',
        '--ca-key',
        '/run/cluster/own.key',
      ]);
      assert.match(subjectOf(await root()), /our own root/);
      assert.equal((await root()).trim(), readFileSync('/run/cluster/own.pem', 'utf8').trim());
      assert.equal(
        await becomes(async () => (await nodes()).every((row) => row.endsWith(' Ready Ready'))),
        true,
      );
      await join(c, await token());
      await b.kill('SIGKILL');
      await b.start();
      assert.equal(
        await becomes(async () => (await nodes()).every((row) => row.endsWith(' Ready Ready'))),
        true,
      );
    });
  });
}
