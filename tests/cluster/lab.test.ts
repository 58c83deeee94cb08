/*
 * `linkspan lab` as its users type it: hosts that run containers and know each other, lines that are cut and mended,
 * daemons that are killed; and nothing of it left, however it ends. The machine is here the lane (scripts/lane).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createRunner, eventually, type Runner, type Transcript } from '../compat/command.ts';

const program = join(import.meta.dirname, '../../bin/linkspan');
const folder = '/run/linkspan-lab';
const laneCgroup = process.env['LINKSPAN_LANE_CGROUP'] ?? '';
const up = ['up', '--cgroup-parent', laneCgroup] as const;

const transcript: Transcript = [];
const run = createRunner([], transcript);
const lab = createRunner([program, 'lab'], transcript, { shown: 'lab' });

/** What a lab could leave behind on the machine that it stands on. */
async function machineState(): Promise<Readonly<Record<string, unknown>>> {
  const say = async (...words: readonly string[]): Promise<string> => (await run(words)).stdout;
  return {
    links: (await say('ip', '-o', 'link')).replaceAll(/\s+/g, ' '),
    routes: await say('ip', 'route', 'show', 'table', 'all'),
    firewall: await say('nft', 'list', 'ruleset'),
    hostname: readFileSync('/proc/sys/kernel/hostname', 'utf8'),
    forwarding: readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ').slice(3).join(' ')),
    run: readdirSync('/run').toSorted(),
    // This test's own programs are all there are besides.
    processes: (await say('ps', '-e', '-o', 'comm='))
      .split('\n')
      .map((name) => name.trim())
      .toSorted(),
    cgroups: await say('find', '/sys/fs/cgroup', '-type', 'd', '-path', `*/${laneCgroup}/*`),
  };
}

/** What was killed may be seen for a moment. */
async function assertUnchanged(before: Readonly<Record<string, unknown>>): Promise<void> {
  const same = async (): Promise<boolean> => JSON.stringify(await machineState()) === JSON.stringify(before);
  if (!(await eventually(same))) assert.deepEqual(await machineState(), before);
}

/** What it wrote to stdout so far, and its end. */
function open(...words: readonly string[]) {
  const child = spawn(program, ['lab', ...words], { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (piece: Buffer) => {
    text += piece.toString();
  });
  const ended = new Promise<number | null>((resolve) => {
    child.once('exit', resolve);
  });
  return { child, ended, text: () => text };
}

describe('a lab that is not there, or cannot be', () => {
  let untouched: Readonly<Record<string, unknown>>;
  before(async () => {
    untouched = await machineState();
  });
  after(async () => {
    await assertUnchanged(untouched);
  });

  for (const [words, exitCode, stderr] of [
    [['ls'], 1, /^lab: no lab stands in \/run\/linkspan-lab; 'linkspan lab up' makes one$/],
    [['down'], 1, /^lab: no lab stands in/],
    [['exec', 'host1', 'true'], 1, /^lab: no lab stands in/],
    [['docker', 'host1', 'ps'], 1, /^lab: no lab stands in/],
    [['kill', 'host1'], 1, /^lab: no lab stands in/],
    [['partition', 'host1', 'host2'], 1, /^lab: no lab stands in/],
    [['partition', 'host1'], 1, /'linkspan lab partition' requires 2 arguments/],
    [['exec', 'host1'], 1, /'linkspan lab exec' requires at least 2 arguments/],
    [['up', '--hosts', '0'], 125, /invalid argument "0" for "--hosts" flag: a lab has 1 to 16 hosts/],
    [['up', '--hosts', '17'], 125, /a lab has 1 to 16 hosts/],
    [['up', '--hosts', 'many'], 125, /invalid argument "many" for "--hosts" flag/],
    [['up', '--hosts', '2', '--managers', '3'], 125, /3 managers need as many hosts: there are 2/],
    [['up', '--managers', '0'], 125, /a swarm has at least one manager/],
    [['up', '--folder', '/run/nowhere/lab'], 1, /^lab: there is no folder \/run\/nowhere$/],
    [['up', '--folder', `/run/${'x'.repeat(70)}`], 1, /is too long: sockets are made below it/],
  ] as const)
    test(`lab ${words.join(' ')}`, async () => {
      await lab(words, { exitCode, stderr });
    });

  test("a folder with other things in it is nobody's lab", async () => {
    mkdirSync('/run/mine');
    writeFileSync('/run/mine/letter', 'dear\n');
    await lab(['up', '--folder', '/run/mine'], { exitCode: 1, stderr: /\/run\/mine holds other things/ });
    await lab(['down', '--folder', '/run/mine'], { exitCode: 1, stderr: /no lab stands in \/run\/mine/ });
    assert.equal(readFileSync('/run/mine/letter', 'utf8'), 'dear\n');
    rmSync('/run/mine', { recursive: true });
  });
});

describe('a lab of three hosts', () => {
  let untouched: Readonly<Record<string, unknown>>;
  const docker = (host: string, ...words: readonly string[]): ReturnType<Runner> =>
    lab(['docker', host, ...words]);
  const isNode = (host: string, status: string): Promise<boolean> =>
    eventually(async () => {
      const { stdout } = await docker('host1', 'node', 'ls', '--format', '{{.Hostname}} {{.Status}}');
      return stdout.split('\n').includes(`${host} ${status}`);
    }, 20_000);

  before(async () => {
    untouched = await machineState();
    await lab([...up, '--hosts', '3'], {
      stdout: /^host1 192\.0\.2\.11\nhost2 192\.0\.2\.12\nhost3 192\.0\.2\.13\n/,
    });
  });
  after(async () => {
    if (existsSync(folder)) await lab(['down'], { exitCode: undefined });
  });

  test('stands beside the machine’s own links, mounts, firewall and name', async () => {
    const { processes: _, run: runFolder, cgroups: _cgroups, ...now } = await machineState();
    const { processes: _before, run: runBefore, cgroups: _cgroupsBefore, ...then } = untouched;
    assert.deepEqual(now, then);
    assert.deepEqual(runFolder, [...(runBefore as readonly string[]), 'linkspan-lab'].toSorted());
  });

  test('is a swarm, with a host name each', async () => {
    const { stdout } = await docker(
      'host1',
      'node',
      'ls',
      '--format',
      '{{.Hostname}} {{.Status}} {{.ManagerStatus}}',
    );
    assert.deepEqual(
      stdout
        .split('\n')
        .map((row) => row.trim())
        .toSorted(),
      ['host1 Ready Leader', 'host2 Ready', 'host3 Ready'],
    );
    await lab(['ls', '--format', '{{.Name}} {{.Address}} {{.Daemon}}'], {
      stdout: 'host1 192.0.2.11 running\nhost2 192.0.2.12 running\nhost3 192.0.2.13 running',
    });
    await lab(['up'], { exitCode: 1, stderr: /a lab stands already in \/run\/linkspan-lab/ });
    await lab(['exec', 'host4', 'true'], {
      exitCode: 1,
      stderr: /there is no host host4; this lab has host1, host2/,
    });
  });

  test('runs containers on every host, by either command line', async () => {
    await Promise.all(
      ['host1', 'host2', 'host3'].map((host) =>
        lab(['docker', host, 'run', '--rm', 'busybox', 'echo', `from ${host}`], { stdout: `from ${host}` }),
      ),
    );
    await docker('host2', ...'run -d --name web -p 80:80 busybox httpd -f -h /etc'.split(' '));
    await lab(['exec', 'host3', 'busybox', 'wget', '-qO-', 'http://host2/hostname'], {
      stdout: /^[0-9a-f]{12}$/,
    });
    await lab(['exec', 'host2', 'linkspan', 'ps', '--format', '{{.Names}}'], { stdout: 'web' });
    await lab(['exec', 'host1', 'linkspan', 'ps', '-q'], { stdout: '' });
  });

  test('a command’s exit code, host name and working folder', async () => {
    await lab(['exec', 'host2', 'sh', '-c', 'cat /proc/sys/kernel/hostname; pwd; exit 7'], {
      exitCode: 7,
      stdout: `host2\n${process.cwd()}`,
    });
    await lab(['exec', 'host2', 'sh', '-c', 'kill -9 $$'], { exitCode: 137 });
    await lab(['exec', 'host2', 'no-such-program'], { exitCode: 127, stderr: /not found/ });
  });

  test('a partition: connections stall, the node is down, others go on; healed, all of it is back', async () => {
    await docker('host1', 'swarm', 'update', '--dispatcher-heartbeat', '1s');
    const server = open('exec', 'host3', 'busybox', 'nc', '-l', '-p', '9000');
    const listens = ['exec', 'host3', 'busybox', 'netstat', '-ltn'];
    assert.equal(await eventually(async () => (await lab(listens)).stdout.includes(':9000 ')), true);
    const client = open('exec', 'host1', 'busybox', 'nc', '192.0.2.13', '9000');
    client.child.stdin.write('before ');
    assert.equal(await eventually(() => server.text() === 'before '), true);

    await lab(['partition', 'host1', 'host3']);
    await lab(['partition', 'host3', 'host1']);
    await lab(['ls', '--format', '{{.Name}}:{{.PartitionedFrom}}'], {
      stdout: 'host1:host3\nhost2:\nhost3:host1',
    });
    client.child.stdin.write('during ');
    for (const [from, to, exitCode] of [
      ['host1', 'host3', 1],
      ['host3', 'host1', 1],
      ['host1', 'host2', 0],
      ['host2', 'host3', 0],
    ] as const)
      await lab(['exec', from, 'busybox', 'ping', '-c', '1', '-W', '1', to], { exitCode });
    assert.equal(await isNode('host3', 'Down'), true);
    assert.equal(server.text(), 'before ');
    assert.equal(client.child.exitCode, null);

    await lab(['heal', 'host3', 'host1']);
    await lab(['heal', 'host1', 'host3'], { exitCode: 1, stderr: /host1 and host3 are not partitioned/ });
    await lab(['heal', 'host1'], { exitCode: 1, stderr: /a partition is between two hosts/ });
    await lab(['partition', 'host2', 'host2'], { exitCode: 1, stderr: /cannot be partitioned from itself/ });
    assert.equal(
      await eventually(() => server.text() === 'before during ', 20_000),
      true,
      'what was sent meanwhile',
    );
    client.child.stdin.end();
    assert.equal(await client.ended, 0);
    assert.equal(await isNode('host3', 'Ready'), true);
    await lab(['heal']);
  });

  test('a killed daemon: its node is down, its containers go on, and it comes back', async () => {
    await lab(['kill', 'host2']);
    await lab(['kill', 'host2'], { exitCode: 1, stderr: /the daemon of host2 does not run/ });
    await lab(['ls', '--format', '{{.Name}} {{.Daemon}}'], {
      stdout: 'host1 running\nhost2 dead\nhost3 running',
    });
    assert.equal(await isNode('host2', 'Down'), true);
    await lab(['exec', 'host3', 'busybox', 'wget', '-qO-', 'http://host2/hostname'], {
      stdout: /^[0-9a-f]{12}$/,
    });
    await lab(['start', 'host2']);
    await lab(['start', 'host2'], { exitCode: 1, stderr: /the daemon of host2 runs already/ });
    await lab(['docker', 'host2', 'ps', '--format', '{{.Names}}'], { stdout: 'web' });
    assert.equal(await isNode('host2', 'Ready'), true);
  });

  test('down leaves nothing, whatever runs', async () => {
    await lab(['kill', 'host3']);
    const shell = open('exec', 'host1', 'sh', '-c', 'echo runs; exec sleep 100');
    assert.equal(await eventually(() => shell.text() === 'runs\n'), true);
    await lab(['down']);
    assert.equal(await shell.ended, 137);
    await assertUnchanged(untouched);
    await lab(['ls'], { exitCode: 1, stderr: /no lab stands/ });
  });
});

describe('an up that is cut short', () => {
  /** The last thing that is there when it is cut. */
  for (const file of ['underlay.process', 'host1/sock'])
    test(`kill -9 once there is ${file}: down removes what there is`, async () => {
      const before = await machineState();
      const started = open(...up, '--hosts', '2');
      assert.equal(await eventually(() => existsSync(join(folder, file)), 20_000), true);
      await lab(['down'], { exitCode: 1, stderr: /'lab up' \(process \d+\) is still making the lab/ });
      started.child.kill('SIGKILL');
      await started.ended;
      for (const words of [['up'], ['ls'], ['exec', 'host1', 'true']])
        await lab(words, {
          exitCode: 1,
          stderr: /what an earlier 'lab up' left is in .*; remove it with 'linkspan lab down'/,
        });
      await lab(['down']);
      await assertUnchanged(before);
    });

  test('an interrupt leaves nothing', async () => {
    const before = await machineState();
    const started = open(...up, '--hosts', '2');
    assert.equal(await eventually(() => existsSync(join(folder, 'host2/host.process')), 20_000), true);
    started.child.kill('SIGINT');
    assert.equal(await started.ended, 130);
    await assertUnchanged(before);
  });
});
