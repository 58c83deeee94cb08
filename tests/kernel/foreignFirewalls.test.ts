/*
 * Beside other firewalls on the real kernel: ufw, firewalld, dockerd, legacy iptables, and a chain of nobody's. Each is
 * the real program, started inside the lane; containers must reach the outside, what the others guard must stay guarded,
 * and nothing of theirs may change but the one rule.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { acceptedMark } from '../../src/firewall/skeleton.ts';
import {
  addressSeenBy,
  isSeenAs,
  clientAddress,
  expectClosed,
  expectOpen,
  expectUnseen,
  hostAddress,
  openWorld,
  run,
  until,
} from './bridgeWorld.ts';
import { binding, otherHostAddress, publish, serve } from './portWorld.ts';

const ourRule = '-m mark --mark 0x10000000/0x10000000 -m comment --comment linkspan -j ACCEPT';
const getsOut = (): boolean => addressSeenBy('w1', clientAddress) === hostAddress;
const iptables = (...args: readonly string[]): string => run('host', 'iptables', ...args);

/** True if the command ends well; for waiting. */
function succeeds(...words: readonly string[]): boolean {
  try {
    run('host', ...words);
    return true;
  } catch {
    return false;
  }
}

before(() => {
  execFileSync(join(import.meta.dirname, '../../scripts/test-tools'), ['overlay'], { stdio: 'inherit' });
});

/** Starts a daemon of the host; disposing it ends it and waits for that. */
async function startDaemon(
  words: readonly string[],
  isReady: () => boolean,
): Promise<AsyncDisposable & { readonly child: ChildProcess }> {
  const [program = '', ...args] = words;
  const child = spawn(program, args, { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await until(`${program} is ready`, isReady);
  return {
    child,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

test('ufw: one rule among its route rules, there again after a reload, gone after a clean stop', async () => {
  await using world = await openWorld();
  await world.runContainer('w1', await world.createNetwork('172.18.0.0/16'));
  assert.ok(getsOut());
  run('host', 'ufw', '--force', 'enable');
  try {
    await until('our rule is among ufw’s', () => iptables('-S', 'ufw-user-forward').includes(ourRule));
    assert.ok(getsOut());
    run('host', 'ufw', 'route', 'allow', 'in', 'on', 'other0', 'out', 'on', 'up0');
    run('host', 'ufw', 'reload');
    await until('our rule is there again', () => iptables('-S', 'ufw-user-forward').includes(ourRule));
    assert.ok(getsOut());
    assert.equal(iptables('-S').split(ourRule).length, 2, 'exactly one');
    assert.deepEqual(world.firewall.conditions, []);
    await world.firewall.stop();
    assert.ok(!iptables('-S').includes('linkspan'));
    assert.match(iptables('-S', 'ufw-user-forward'), /-i other0 -o up0 -j ACCEPT/);
  } finally {
    run('host', 'ufw', '--force', 'disable');
    run('host', 'nft', 'flush', 'ruleset');
    await world.firewall.check();
  }
});

test('publish policy host-input beside a real ufw: its default and its deny hold, its allow opens', async () => {
  await using world = await openWorld({ asksHost: true });
  const w1 = await world.runContainer('w1', await world.createNetwork('172.18.0.0/16'));
  await using _server = await serve('w1', [80]);
  await publish(world, w1, binding(w1, 8080, 80));
  const ufw = (...words: readonly string[]): string => run('host', 'ufw', ...words);
  const answers = (): Promise<boolean> => isSeenAs(clientAddress, 'C', hostAddress, 8080);
  assert.ok(await answers());
  ufw('--force', 'enable');
  try {
    await until('ufw refuses what comes in', async () => !(await answers()));
    ufw('allow', '8080/tcp');
    // Its FORWARD policy drops too, until our one rule stands there.
    await until('ufw lets it in', answers);
    ufw('delete', 'allow', '8080/tcp');
    ufw('deny', '8080/tcp');
    await until('the deny holds', async () => !(await answers()));
    assert.equal(addressSeenBy('host', '127.0.0.1', 8080), '172.18.0.1', 'the host itself is not asked');
    ufw('delete', 'deny', '8080/tcp');
    ufw('allow', 'from', '198.51.100.0/24', 'to', 'any', 'port', '8080', 'proto', 'tcp');
    await until('another client is let in', () => isSeenAs('198.51.100.2', 'D', otherHostAddress, 8080));
    await expectUnseen(['C', hostAddress, 8080]);
  } finally {
    ufw('--force', 'reset');
    run('host', 'nft', 'flush', 'ruleset');
    await world.firewall.check();
  }
});

test('dockerd 20.10: one rule at the end of DOCKER-USER, kept over its restart; its containers stay guarded', async () => {
  const data = mkdtempSync(join(tmpdir(), 'linkspan-dockerd-'));
  const start = (): ReturnType<typeof startDaemon> =>
    startDaemon(
      [
        ...['dockerd', '--data-root', data, '--exec-root', '/run/dd', '--pidfile', '/run/dd.pid'],
        ...['--host', 'unix:///run/dd.sock', '--storage-driver', 'vfs'],
      ],
      () => succeeds('docker', '-H', 'unix:///run/dd.sock', 'version'),
    );
  try {
    run('host', 'sh', '-c', 'echo 0 > /proc/sys/net/ipv4/ip_forward');
    await using world = await openWorld();
    const hasRule = (): boolean => {
      try {
        return iptables('-S', 'DOCKER-USER').trimEnd().endsWith(`${ourRule}\n-A DOCKER-USER -j RETURN`);
      } catch {
        return false;
      }
    };
    {
      await using _docker = await start();
      await world.runContainer('w1', await world.createNetwork('172.28.0.0/16'));
      assert.match(iptables('-S', 'FORWARD'), /-P FORWARD DROP/);
      await until('our rule is in DOCKER-USER', hasRule);
      assert.ok(getsOut());
      // A stand-in for a container of Docker's, on its bridge.
      run('host', 'ip', 'netns', 'add', 'dk');
      run('host', 'ip', 'link', 'add', 'dk0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'dk');
      run('host', 'ip', 'link', 'set', 'dk0', 'master', 'docker0', 'up');
      run('dk', 'ip', 'address', 'add', '172.17.0.9/16', 'dev', 'eth0');
      run('dk', 'ip', 'link', 'set', 'eth0', 'up');
      run('dk', 'ip', 'route', 'add', 'default', 'via', '172.17.0.1');
      await expectOpen(['host', '172.17.0.9'], ['dk', clientAddress]);
      await expectClosed(['w1', '172.17.0.9', 'ours to Docker’s'], ['dk', '172.28.0.2', 'Docker’s to ours']);
      iptables('-I', 'DOCKER-USER', '-d', clientAddress, '-j', 'DROP');
      assert.ok(!getsOut(), 'what the administrator drops there stays dropped');
      iptables('-D', 'DOCKER-USER', '-d', clientAddress, '-j', 'DROP');
    }
    {
      await using _docker = await start();
      await until('our rule is in DOCKER-USER', hasRule);
      assert.ok(getsOut());
      iptables('-F');
      await until('our rule is there again', () => iptables('-S', 'DOCKER-USER').includes(ourRule));
      assert.ok(iptables('-S', 'FORWARD').includes('-P FORWARD DROP'));
    }
    run('host', 'ip', 'netns', 'del', 'dk');
  } finally {
    rmSync(data, { recursive: true, force: true });
    run('host', 'nft', 'flush', 'ruleset');
    run('host', 'ip', 'link', 'del', 'docker0');
  }
});

test('firewalld: our bridges are in a zone that accepts, also after a reload; gone after a clean stop', async () => {
  run('host', 'mkdir', '-p', '/run/dbus');
  await using _bus = await startDaemon(['dbus-daemon', '--system', '--nofork', '--nopidfile'], () =>
    existsSync('/run/dbus/system_bus_socket'),
  );
  await using world = await openWorld();
  const network = await world.createNetwork('172.18.0.0/16');
  await world.runContainer('w1', network);
  const trusted = (): string => run('host', 'firewall-cmd', '--zone=trusted', '--list-interfaces');
  {
    await using _firewalld = await startDaemon(['/usr/sbin/firewalld', '--nofork', '--nopid'], () =>
      succeeds('firewall-cmd', '--state'),
    );
    await until('our bridge is trusted', () => trusted().includes('br-'));
    assert.ok(getsOut());
    const second = await world.createNetwork('172.19.0.0/16');
    assert.ok(trusted().includes(second.id.slice(0, 12)), 'a new network at once');
    run('host', 'firewall-cmd', '--reload');
    await until('our bridges are trusted again', () => trusted().includes(second.id.slice(0, 12)));
    assert.ok(getsOut());
    assert.deepEqual(world.firewall.conditions, []);
    await world.firewall.stop();
    assert.equal(trusted().trim(), '');
  }
});

test('legacy iptables: one rule in DOCKER-USER by the legacy program', async () => {
  const legacy = (...args: readonly string[]): string => run('host', 'iptables-legacy', ...args);
  legacy('-P', 'FORWARD', 'DROP');
  legacy('-N', 'DOCKER-USER');
  legacy('-A', 'DOCKER-USER', '-j', 'RETURN');
  legacy('-A', 'FORWARD', '-j', 'DOCKER-USER');
  try {
    await using world = await openWorld();
    await world.runContainer('w1', await world.createNetwork('172.18.0.0/16'));
    assert.equal(
      legacy('-S', 'DOCKER-USER').trim(),
      `-N DOCKER-USER\n-A DOCKER-USER ${ourRule}\n-A DOCKER-USER -j RETURN`,
    );
    assert.ok(getsOut());
    await world.firewall.check();
    assert.equal(legacy('-S').split(ourRule).length, 2, 'exactly one');
    await world.firewall.stop();
    assert.ok(!legacy('-S').includes('linkspan'));
  } finally {
    legacy('-P', 'FORWARD', 'ACCEPT');
    legacy('-F');
    legacy('-X');
  }
});

test('a dropping chain of nobody’s is named in a condition, and the advice in it works', async () => {
  run(
    'host',
    'nft',
    'add table inet mine; add chain inet mine watch { type filter hook forward priority 0; policy drop; }',
  );
  try {
    await using world = await openWorld();
    await world.runContainer('w1', await world.createNetwork('172.18.0.0/16'));
    const [condition] = world.firewall.conditions;
    assert.equal(condition?.id, 'firewall.foreignDrop:inet mine watch');
    assert.ok(!getsOut());
    const rule = /meta mark.*$/.exec(condition.text)?.[0] ?? '';
    assert.match(rule, new RegExp(acceptedMark.toString(16)));
    run('host', 'nft', `add rule inet mine watch ${rule}`);
    await until('the condition is gone', () => world.firewall.conditions.length === 0);
    assert.ok(getsOut());
  } finally {
    run('host', 'nft', 'delete', 'table', 'inet', 'mine');
  }
});

test('with the integration off nothing of others changes and a condition names the chain', async () => {
  iptables('-P', 'FORWARD', 'DROP');
  iptables('-N', 'DOCKER-USER');
  iptables('-A', 'FORWARD', '-j', 'DOCKER-USER');
  const untouched = iptables('-S');
  try {
    await using world = await openWorld({ integratesForeign: false });
    await world.createNetwork('172.18.0.0/16');
    assert.equal(iptables('-S'), untouched);
    assert.deepEqual(
      world.firewall.conditions.map(({ id }) => id),
      ['firewall.foreignDrop:ip filter FORWARD'],
    );
    assert.match(world.firewall.conditions[0]?.since ?? '', /^\d{4}-/);
  } finally {
    run('host', 'nft', 'flush', 'ruleset');
  }
});
