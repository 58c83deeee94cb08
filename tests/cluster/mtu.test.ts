/*
 * Overlay networks over underlays of less than 1500 bytes: links of nodes that are smaller, and ways between sites, of
 * which nobody knows but who tries.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { formSwarm, type Host } from './hosts.ts';
import { openSites, type Sites } from './sites.ts';
import { pathOf } from './tunnelPath.ts';

const networks = ['plain', 'secret'] as const;

async function exec({ cli, name }: Host, network: string, command: string): Promise<string> {
  const { stdout } = await cli(['exec', `${network}-${name}`, 'sh', '-c', command]);
  return stdout.trim();
}

/** A container with 10 MB to give away. */
async function serve(host: Host, network: string): Promise<void> {
  const words = ['run', '-d', '--name', `${network}-${host.name}`, '--network', network, 'busybox'];
  await host.cli([...words, 'sh', '-c', 'mkdir /www && exec httpd -f -p 80 -h /www']);
  const isServing = async (): Promise<boolean> =>
    (await exec(host, network, 'netstat -ltn')).includes(':80 ');
  assert.ok(await eventually(isServing));
  await exec(host, network, 'dd if=/dev/urandom of=/www/big bs=1M count=10 2>/dev/null');
}

async function addressIn(network: string, { cli, name }: Host): Promise<string> {
  const format = `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`;
  return (await cli(['inspect', '-f', format, `${network}-${name}`])).stdout.trim();
}

async function makeNetworks(manager: Host): Promise<void> {
  const create = ['network', 'create', '-d', 'overlay', '--attachable'];
  await manager.cli([...create, 'plain']);
  await manager.cli([...create, '--opt', 'encrypted', 'secret']);
}

/** What it says of paths between nodes. */
async function pathWarnings({ cli }: Host): Promise<readonly string[]> {
  const { stdout } = await cli(['info', '--format', '{{json .Warnings}}']);
  const all = (JSON.parse(stdout) ?? []) as readonly string[];
  return all.filter((text) => text.includes('packets of ')).toSorted();
}

const names = ['A1', 'B1', 'C1'] as const;

describe('underlays of 1500, 1400 and 1492 bytes in one swarm', () => {
  let sites: Sites;
  let hosts: readonly Host[] = [];

  before(async () => {
    sites = await openSites(
      'docker',
      names.map((name) => `${name[0]}=1`),
      [],
      true,
    );
    hosts = names.map((name) => sites.host(name));
    const [a, b, c] = hosts as [Host, Host, Host];
    b.run('ip', 'link', 'set', 'eth0', 'mtu', '1400');
    c.run('ip', 'link', 'set', 'eth0', 'mtu', '1492');
    await formSwarm(a, b, c);
    await makeNetworks(a);
    for (const host of hosts) for (const network of networks) await serve(host, network);
  });
  after(async () => {
    await sites[Symbol.asyncDispose]();
  });

  for (const [network, expected] of [
    ['plain', ['1450', '1350', '1442']],
    ['secret', ['1270', '1270', '1270']],
  ] as const)
    test(`${network}: 10 MB by TCP from everywhere to everywhere, in packets that fit`, async () => {
      const mtus = await Promise.all(hosts.map((host) => exec(host, network, 'cat /sys/class/net/eth0/mtu')));
      assert.deepEqual(mtus, expected);
      for (const [i, { cli }] of hosts.entries())
        await cli(['network', 'inspect', '-f', '{{.MTU}}', network], { stdout: expected[i] ?? '' });
      for (const server of hosts) {
        // Not by name: busybox's resolver is not the subject.
        const address = await addressIn(network, server);
        const sum = await exec(server, network, 'md5sum </www/big');
        for (const client of hosts.filter((host) => host !== server)) {
          const fetch = `wget -qO /big http://${address}/big && md5sum </big`;
          const said = await exec(client, network, fetch);
          assert.equal(said.split('\n').at(-1), sum, `${server.name} to ${client.name}`);
        }
      }
    });

  test('each pair has its own largest packet, and the network the least of them', () => {
    const [a, , c] = hosts as [Host, Host, Host];
    assert.deepEqual([pathOf(a, 'B1').MTU, pathOf(a, 'C1').MTU, pathOf(c, 'B1').MTU], [1270, 1362, 1270]);
  });

  test('what the links of others are too small for is said, and the tunnel, which knows them, has no such', async () => {
    const [a] = hosts as [Host, Host, Host];
    // A pair of veths lets four bytes more through, for a VLAN tag.
    const expected = ['B1; the largest that passes is 1404', 'C1; the largest that passes is 1496'];
    const found = async (): Promise<readonly string[]> =>
      (await pathWarnings(a)).map((text) =>
        text.replace(/^.*without a word between A1 and (.*?): .*$/, '$1'),
      );
    if (!(await eventually(async () => (await found()).length === 2, 30_000)))
      assert.deepEqual(await found(), expected);
    assert.deepEqual(await found(), expected);
  });
});

describe('a way of 1400 bytes between two sites, whose routers say nothing', () => {
  let sites: Sites;
  let [a, b] = [] as unknown as [Host, Host];

  before(async () => {
    sites = await openSites('docker', ['A=1', 'B=1'], [], true);
    [a, b] = [sites.host('A1'), sites.host('B1')];
    for (const site of ['A', 'B']) {
      sites.onRouter(site, 'ip', 'link', 'set', 'wan', 'mtu', '1400');
      for (const words of [
        ['table', 'ip', 'silent'],
        ['chain', 'ip', 'silent', 'output', '{ type filter hook output priority 0; }'],
        ['rule', 'ip', 'silent', 'output', 'icmp', 'type', 'destination-unreachable', 'drop'],
        ['chain', 'ip', 'silent', 'input', '{ type filter hook prerouting priority -450; }'],
      ])
        sites.onRouter(site, 'nft', 'add', ...words);
    }
    // So that the daemons' own connections get through: RFC 4821.
    for (const host of [a, b]) host.run('sh', '-c', 'echo 2 >/proc/sys/net/ipv4/tcp_mtu_probing');
    await formSwarm(a, b);
    await makeNetworks(a);
    for (const host of [a, b]) for (const network of networks) await serve(host, network);
  });
  after(async () => {
    await sites[Symbol.asyncDispose]();
  });

  const become = async (host: Host, ...wanted: readonly RegExp[]): Promise<void> => {
    const isSo = async (): Promise<boolean> => {
      const found = await pathWarnings(host);
      return found.length === wanted.length && wanted.every((pattern, i) => pattern.test(found[i] ?? ''));
    };
    if (await eventually(isSo, 60_000)) return;
    assert.deepEqual(await pathWarnings(host), wanted);
  };
  const fetch = async (network: string): Promise<string> =>
    exec(a, network, `timeout 4 wget -qO- http://${await addressIn(network, b)}/big | wc -c`);

  test('both ends say that the tunnel loses large packets, and that others are split', async () => {
    // WireGuard's packets have 60 bytes more than what is inside, which it fills up to 16: 1388 and then 1404.
    await become(
      a,
      /packets of 1420 bytes.* are lost .* in the encrypted tunnel between A1 and B1; .*largest that passes is 1328: .*mtu=1408$/,
      /packets of 1500 bytes.* arrive in fragments.* between A1 and B1; .*largest that passes whole is 1400: .*mtu=1400$/,
    );
    await become(
      b,
      /are lost.* in the encrypted tunnel between B1 and A1;/,
      /arrive in fragments.* between B1 and A1;/,
    );
    // It is as they say.
    assert.equal(await fetch('plain'), String(10 * 2 ** 20));
    assert.notEqual(await fetch('secret'), String(10 * 2 ** 20));
  });

  test('where fragments are lost, too, both are black holes; and what nobody uses is nobody’s trouble', async () => {
    for (const site of ['A', 'B'])
      sites.onRouter(
        site,
        ...[
          'nft',
          'add',
          'rule',
          'ip',
          'silent',
          'input',
          'ip',
          'frag-off',
          '&',
          '0x1fff',
          '!=',
          '0',
          'drop',
        ],
      );
    // Containers anew: the way is tried at once, not only when its turn comes.
    await b.cli(['rm', '-f', 'plain-B1']);
    await become(a, /are lost.* in the encrypted tunnel between A1 and B1;/);
    await serve(b, 'plain');
    await become(
      a,
      /packets of 1420 bytes.* are lost.* in the encrypted tunnel between A1 and B1;/,
      /packets of 1500 bytes.* are lost.*without a word between A1 and B1; the largest that passes is 1400:/,
    );
    assert.notEqual(await fetch('plain'), String(10 * 2 ** 20));
    await b.cli(['rm', '-f', 'secret-B1', 'plain-B1']);
    await become(a);
  });
});
