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
import { openSites } from './sites.ts';

const program = join(import.meta.dirname, '../../bin/linkspan');
const folder = '/run/linkspan-lab';
const laneCgroup = process.env['LINKSPAN_LANE_CGROUP'] ?? '';
const up = ['up', '--cgroup-parent', laneCgroup] as const;

const sites = (...more: readonly string[]): readonly string[] => [
  ...up,
  ...'--site A=2 --site B=2 --nat B'.split(' '),
  ...more,
];

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
    [['up', '--site', 'A=0'], 125, /invalid argument "A=0" for "--site" flag: a site has 1 to 16 hosts/],
    [['up', '--site', 'A1=2'], 125, /a site is NAME=HOSTS, and its name 1 to 4 letters/],
    [['up', '--site', 'A=2', '--site', 'a=1'], 125, /--site names a twice/],
    [['up', '--site', 'A=9', '--site', 'B=8'], 125, /a lab has 1 to 16 hosts; these sites have 17/],
    [['up', '--site', 'A=2', '--hosts', '3'], 125, /--hosts and --site exclude each other/],
    [['up', '--site', 'A=2', '--nat', 'B'], 125, /there is no site B; --site names A$/],
    [['up', '--site', 'A=2', '--nat', 'A'], 125, /a site without NAT is needed/],
    [['up', '--site', 'A=2', '--nat', 'A=full-cone'], 125, /its kind port-preserving or symmetric/],
    [sites('--nat', 'B=symmetric'), 125, /--nat names B twice/],
    [sites('--managers', '3'), 125, /3 managers need as many hosts that are not behind NAT: there are 2/],
    [['up', '--nat', 'B'], 125, /--nat needs sites/],
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

describe('a lab of two sites, one of them behind a NAT', () => {
  let untouched: Readonly<Record<string, unknown>>;
  const ping = (from: string, to: string, exitCode: number): Promise<unknown> =>
    lab(['exec', from, 'busybox', 'ping', '-c', '1', '-W', '1', to], { exitCode });
  /** How each host sees what it is cut off from. */
  const isCut = (stdout: string): ReturnType<Runner> =>
    lab(['ls', '--format', '{{.Name}}:{{.PartitionedFrom}}'], { stdout });

  before(async () => {
    untouched = await machineState();
    await lab(sites(), {
      stdout: /^A1 203\.0\.113\.11\nA2 203\.0\.113\.12\nB1 192\.168\.102\.11\nB2 192\.168\.102\.12\n/,
    });
  });
  after(async () => {
    if (existsSync(folder)) await lab(['down'], { exitCode: undefined });
  });

  test('is a swarm that all joined by the address of the first host', async () => {
    const { stdout } = await lab(['docker', 'A1', 'node', 'ls', '--format', '{{.Hostname}} {{.Status}}']);
    assert.deepEqual(stdout.split('\n').toSorted(), ['A1 Ready', 'A2 Ready', 'B1 Ready', 'B2 Ready']);
  });

  test('who is behind the NAT reaches all, and is reached by its own site only', async () => {
    for (const from of ['A1', 'B1']) await ping(from, 'A2', 0);
    await ping('B1', 'B2', 0);
    await ping('A1', 'B2', 1);
  });

  test('a partition between sites, within one, and of hosts that share no wire', async () => {
    await lab(['partition', 'A', 'B']);
    await lab(['partition', 'B1', 'B2']);
    await isCut('A1:B\nA2:B\nB1:B2, A\nB2:B1, A');
    await ping('B1', 'A2', 1);
    await ping('A1', 'A2', 0);
    await lab(['heal', 'A', 'B']);
    await isCut('A1:\nA2:\nB1:B2\nB2:B1');
    await ping('B1', 'A2', 0);
    await lab(['heal']);
    await isCut('A1:\nA2:\nB1:\nB2:');
    await lab(['partition', 'A1', 'B1'], { exitCode: 1, stderr: /A1 and B1 are on no common segment/ });
    await lab(['partition', 'A1', 'C'], {
      exitCode: 1,
      stderr: /no host or site C; this lab has A1, .*, A, B$/,
    });
    await isCut('A1:\nA2:\nB1:\nB2:');
  });

  test('down leaves nothing', async () => {
    await lab(['down']);
    await assertUnchanged(untouched);
  });
});

test('three sites: ports of one NAT stay, of the other they change; nobody comes in by himself', async () => {
  await using made = await openSites('docker', ['A=1', 'B=1', 'C=1'], ['B', 'C=symmetric']);
  const a = made.host('A1');
  /** Answers on three ports with the address and port that the question came from; knocks at B before. */
  const echo = `for (const port of [9001, 9002, 9003]) {
    const socket = require('dgram').createSocket('udp4', (_, from) =>
      socket.send(from.address + ':' + from.port, from.port, from.address));
    socket.bind(port, () => socket.send('!', 7000, '${made.outsideOf('B')}', () => console.log('ready')));
  }`;
  /** Asks all three from one port. */
  const ask = `const socket = require('dgram').createSocket('udp4', (text) => {
    told.add(String(text));
    if (++answers === 3) socket.close(() => console.log([...told].toSorted().join(' ')));
  });
  const told = new Set();
  let answers = 0;
  socket.bind(7000, () => [9001, 9002, 9003].map((port) => socket.send('?', port, '${a.address}')));`;
  const [enter = '', ...words] = a.words(process.execPath, '-e', echo);
  const server = spawn(enter, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let told = '';
    server.stdout.on('data', (piece: Buffer) => {
      told += piece.toString();
    });
    assert.equal(await eventually(() => told === 'ready\n'.repeat(3)), true);
    const seen = (host: string): string => made.host(host).run(process.execPath, '-e', ask).trim();
    // Also towards those who knocked before anybody inside began.
    assert.equal(seen('B1'), `${made.outsideOf('B')}:7000`);
    const symmetric = seen('C1').split(' ');
    assert.ok(symmetric.length > 1, symmetric.join(' '));
    for (const each of symmetric) assert.ok(each.startsWith(`${made.outsideOf('C')}:`), each);

    // A way to the private addresses lets nobody in; without the router's rules it would.
    const b = made.host('B1');
    made.onRouter('A', 'ip', 'route', 'add', `${b.address}/32`, 'via', made.outsideOf('B'));
    const ping = (): string =>
      a.run('sh', '-c', `busybox ping -c 1 -W 1 ${b.address} >/dev/null || echo none`);
    assert.equal(ping(), 'none\n');
    made.onRouter('B', 'nft', 'delete', 'table', 'ip', 'nat-site');
    assert.equal(ping(), '');
  } finally {
    server.kill('SIGKILL');
  }
});

describe('an up that is cut short', () => {
  /** The last thing that is there when it is cut. */
  for (const [file, words] of [
    ['underlay.process', [...up, '--hosts', '2']],
    ['host1/sock', [...up, '--hosts', '2']],
    ['router-B.process', sites()],
  ] as const)
    test(`kill -9 once there is ${file}: down removes what there is`, async () => {
      const before = await machineState();
      const started = open(...words);
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
