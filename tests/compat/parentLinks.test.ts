/*
 * Networks on a link of the host: macvlan, ipvlan, 802.1q sub-interfaces, dummies. What this kernel lacks is skipped
 * here and runs in the vm lane.
 *
 *     A eth0 192.0.2.11 ───── eth0 192.0.2.13 C
 *        └ container 192.0.2.129 (macvlan, ipvlan l2)      A eth0.10 ┄┄┄ (vlan 10) eth0.10 198.51.100.13 C
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, type TestContext, test } from 'node:test';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';

const features = {
  ipvlan: 'ipvlan (CONFIG_IPVLAN)',
  vlan: '802.1q (CONFIG_VLAN_8021Q)',
  dummy: 'dummy links (CONFIG_DUMMY)',
} as const;

/** True if the kernel knows the kind: a link without a parent is refused for another reason. */
function knows(kind: keyof typeof features): boolean {
  const { stderr } = spawnSync('ip', ['link', 'add', 'probe0', 'type', kind], { encoding: 'utf8' });
  spawnSync('ip', ['link', 'del', 'probe0']);
  return !/Unknown device type|not supported/.test(stderr);
}

function lacks(context: TestContext, kind: keyof typeof features): boolean {
  if (knows(kind)) return false;
  context.skip(`the kernel lacks ${features[kind]}`);
  return true;
}

const onSegment = ['--subnet', '192.0.2.0/24', '--ip-range', '192.0.2.128/28', '--gateway', '192.0.2.13'];
const format = '{{.NetworkSettings.Networks.NAME.IPAddress}} {{.NetworkSettings.Networks.NAME.Gateway}}';

for (const engine of engines('docker')) {
  describe(`links on a parent: ${engine.name}`, () => {
    let daemon: Daemon;
    /** Their names; `eth0.10@eth0`. */
    const links = async (): Promise<string> => {
      const { stdout } = await daemon.host(['ip', '-o', 'link', 'show']);
      return [...stdout.matchAll(/^\d+: (\S+): /gm)].map(([, name]) => name).join(' ');
    };
    let atFirst: string;
    before(async () => {
      daemon = await startDaemon(engine);
      atFirst = await links();
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const create = (driver: string, name: string, ...args: readonly string[]): ReturnType<Daemon['cli']> =>
      daemon.cli(['network', 'create', '-d', driver, ...args, name]);
    const run = (name: string, network: string, ...args: readonly string[]): ReturnType<Daemon['cli']> =>
      daemon.cli(['run', '-d', '--name', name, '--network', network, ...args, 'busybox', 'sleep', '99']);
    const ping = (name: string, to: string, exitCode = 0): ReturnType<Daemon['cli']> =>
      daemon.cli(['exec', name, 'ping', '-c', '1', '-W', '3', to], { exitCode });

    /** What the machine's admin takes away in a container's sandbox is put back; dockerd leaves it away. */
    const isPutBack = async (name: string, to: string, ...words: readonly string[]): Promise<void> => {
      if (daemon.isReference) return;
      const { stdout: pid } = await daemon.cli(['inspect', '-f', '{{.State.Pid}}', name]);
      await daemon.host(['nsenter', '-t', pid, '-n', ...words]);
      await reaches(name, to);
    };
    /** Well before a minute is over, when everything is compared. */
    const reaches = async (name: string, to: string): Promise<void> => {
      const tried = async (): Promise<boolean> =>
        (await daemon.cli(['exec', name, 'ping', '-c', '1', '-W', '1', to], { exitCode: undefined }))
          .exitCode === 0;
      assert.ok(await eventually(tried), `${name} reaches ${to} again`);
    };

    test('35: a macvlan container reaches an outside host on its segment, and its peers', async () => {
      await create('macvlan', 'mv', ...onSegment, '-o', 'parent=eth0');
      await run('m1', 'mv');
      // The CLI sends an address for one network only to API 1.44 and newer; 20.10 makes it from the IP.
      await run('m2', 'mv', ...(daemon.isReference ? [] : ['--mac-address', '02:42:00:00:35:02']));
      await ping('m1', '192.0.2.13');
      const { stdout } = await daemon.cli(['inspect', '-f', format.replaceAll('NAME', 'mv'), 'm2']);
      const [address = '', gateway] = stdout.split(' ');
      assert.match(address, /^192\.0\.2\.1(2[89]|3\d|4[0-3])$/);
      assert.equal(gateway, '192.0.2.13');
      await ping('m1', address);
      await daemon.client(['busybox', 'ping', '-c', '1', '-W', '3', address]);
      const neighbour = await daemon.client(['ip', 'neighbour', 'show', address]);
      const mac = daemon.isReference ? /02:42:c0:00:02:/ : /02:42:00:00:35:02/;
      assert.match(neighbour.stdout, mac, 'it has a link address of its own on the segment');
      await isPutBack('m1', '192.0.2.13', 'ip', 'link', 'del', 'eth0');
      await daemon.cli(['exec', 'm1', 'ip', 'route'], { stdout: /default via 192\.0\.2\.13 dev eth0/ });
      if (!daemon.isReference) assert.equal(await links(), atFirst, 'no interface on the host');
    });

    test('macvlan: connect and disconnect while it runs, stop, start and remove', async () => {
      await daemon.cli(['network', 'create', 'plain']);
      await run('m3', 'plain');
      await daemon.cli(['network', 'connect', 'mv', 'm3']);
      await ping('m3', '192.0.2.13');
      await daemon.cli(['network', 'disconnect', 'mv', 'm3']);
      await daemon.cli(['exec', 'm3', 'ip', '-o', 'link'], { stdout: /^(?!.*eth1)/s });
      await daemon.cli(['restart', '-t', '0', 'm1']);
      await ping('m1', '192.0.2.13');
      await daemon.cli(['network', 'rm', 'mv'], { exitCode: 1, stderr: /has active endpoints/ });
      await daemon.cli(['rm', '-f', 'm1', 'm2', 'm3']);
      await daemon.cli(['network', 'rm', 'mv', 'plain']);
    });

    test('macvlan: bad options, conflicts and parents that are not there', async () => {
      const refused = async (stderr: RegExp, ...args: readonly string[]): Promise<void> => {
        await daemon.cli(['network', 'create', '-d', 'macvlan', ...args, 'bad'], { exitCode: 1, stderr });
      };
      await refused(/requested macvlan mode 'x' is not valid/, '-o', 'macvlan_mode=x', '-o', 'parent=eth0');
      await refused(/loopback interface is not a valid macvlan parent link/, '-o', 'parent=lo');
      await refused(/eth7/, '-o', 'parent=eth7');
      await refused(/eth7/, '-o', 'parent=eth7.10');
      await create('macvlan', 'through', '-o', 'parent=eth0', '-o', 'macvlan_mode=passthru');
      await refused(/is already using parent interface eth0/, '-o', 'parent=eth0');
      await daemon.cli(['network', 'rm', 'through']);
      await daemon.cli(['network', 'ls', '-q', '--filter', 'driver=macvlan'], { stdout: '' });
    });

    test('macvlan: without its parent a container does not start, and says why', async () => {
      await daemon.host(['ip', 'link', 'add', 'gone0', 'type', 'veth', 'peer', 'name', 'gone1']);
      await create('macvlan', 'lost', '-o', 'parent=gone0', '--subnet', '10.99.0.0/24');
      await daemon.host(['ip', 'link', 'del', 'gone0']);
      await daemon.cli(['run', '--name', 'l1', '--network', 'lost', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /parent interface gone0 was not found/,
      });
      await daemon.cli(['rm', 'l1']);
      await daemon.cli(['network', 'rm', 'lost']);
    });

    test('what the kernel lacks is said, and nothing is left', async (context) => {
      for (const [kind, driver, args] of [
        ['ipvlan', 'ipvlan', ['-o', 'parent=eth0']],
        ['vlan', 'macvlan', ['-o', 'parent=eth0.10']],
        ['dummy', 'macvlan', []],
      ] as const) {
        if (knows(kind) || daemon.isReference) {
          context.diagnostic(`the kernel has ${kind}`);
          continue;
        }
        const words = /\(CONFIG_\w+\)/.exec(features[kind])?.[0] ?? '';
        await daemon.cli(['network', 'create', '-d', driver, ...args, 'no'], {
          exitCode: 1,
          stderr: new RegExp(`this kernel has no .*${words.replaceAll(/[()]/g, '\\$&')}`),
        });
      }
      await daemon.cli(['network', 'ls', '-q', '--filter', 'type=custom'], { stdout: '' });
      assert.equal(await links(), atFirst);
    });

    test('ipvlan l2: an outside host on the segment, sharing the parent’s link address', async (context) => {
      if (lacks(context, 'ipvlan')) return;
      await create('ipvlan', 'iv', ...onSegment, '-o', 'parent=eth0');
      await run('i1', 'iv');
      await ping('i1', '192.0.2.13');
      const { stdout: address } = await daemon.cli(['exec', 'i1', 'cat', '/sys/class/net/eth0/address']);
      await daemon.host(['ip', 'link', 'show', 'eth0'], { stdout: new RegExp(`link/ether ${address} `) });
      await isPutBack('i1', '192.0.2.13', 'ip', 'link', 'del', 'eth0');
      await daemon.cli(['network', 'create', '-d', 'ipvlan', '-o', 'parent=eth0', 'other'], {
        exitCode: 1,
        stderr: /network dm-[0-9a-f]{12} is already using parent interface eth0/,
      });
      await daemon.cli(['run', '--network', 'iv', '--mac-address', '02:42:00:00:00:09', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /do not support custom mac address assignment/,
      });
      await daemon.cli(['rm', '-f', ...(await daemon.cli(['ps', '-aq'])).stdout.split('\n')]);
      await daemon.cli(['network', 'rm', 'iv']);
    });

    test('ipvlan l3: the default route is the device, and peers reach each other', async (context) => {
      if (lacks(context, 'ipvlan')) return;
      await create('ipvlan', 'iv3', '--subnet', '10.33.0.0/24', '-o', 'parent=eth0', '-o', 'ipvlan_mode=l3');
      await run('i1', 'iv3');
      await run('i2', 'iv3', '--ip', '10.33.0.77');
      await daemon.cli(['exec', 'i1', 'ip', 'route'], { stdout: /default dev eth0/ });
      await ping('i1', '10.33.0.77');
      await daemon.client(['ip', 'route', 'add', '10.33.0.0/24', 'via', '192.0.2.11']);
      await daemon.cli(['rm', '-f', 'i1', 'i2']);
      await daemon.cli(['network', 'rm', 'iv3']);
    });

    test('802.1q: a sub-interface is made, carries the tag, and goes with its last network', async (context) => {
      if (lacks(context, 'vlan')) return;
      await daemon.client([
        'ip',
        'link',
        'add',
        'link',
        'eth0',
        'name',
        'eth0.10',
        'type',
        'vlan',
        'id',
        '10',
      ]);
      await daemon.client(['ip', 'address', 'add', '198.51.100.13/24', 'dev', 'eth0.10']);
      await daemon.client(['ip', 'link', 'set', 'eth0.10', 'up']);
      await create('macvlan', 'v1', '--subnet', '198.51.100.0/24', '-o', 'parent=eth0.10');
      await create('macvlan', 'v2', '--subnet', '203.0.113.0/24', '-o', 'parent=eth0.10');
      await run('t1', 'v1');
      await ping('t1', '198.51.100.13');
      await isPutBack('t1', '198.51.100.13', 'ip', 'link', 'set', 'eth0', 'down');
      if (!daemon.isReference) {
        await daemon.host(['ip', 'link', 'del', 'eth0.10']);
        await reaches('t1', '198.51.100.13');
      }
      await daemon.cli(['rm', '-f', 't1']);
      await daemon.cli(['network', 'rm', 'v1']);
      assert.match(await links(), /eth0\.10@eth0/);
      await daemon.cli(['network', 'rm', 'v2']);
      assert.doesNotMatch(await links(), /eth0\.10/);
    });

    test('a dummy: peers reach each other and nobody else', async (context) => {
      if (lacks(context, 'dummy')) return;
      const { stdout: id } = await create('macvlan', 'alone', '--subnet', '10.44.0.0/24');
      assert.match(await links(), new RegExp(`dm-${id.slice(0, 12)}`));
      await run('d1', 'alone');
      await run('d2', 'alone', '--ip', '10.44.0.77');
      await ping('d1', '10.44.0.77');
      await daemon.cli(['exec', 'd1', 'ip', 'route'], { stdout: /^(?!.*default)/s });
      await daemon.cli(['rm', '-f', 'd1', 'd2']);
      await daemon.cli(['network', 'rm', 'alone']);
      assert.doesNotMatch(await links(), /dm-/);
    });

    test('after everything is removed the host has the links that it had', async () => {
      await daemon.cli(['network', 'prune', '-f']);
      assert.equal(await links(), atFirst);
    });
  });
}
