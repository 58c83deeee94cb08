/*
 * Daemons of two sites, far from each other and with a NAT between, whose kernel has WireGuard. Not of a lane of its own:
 * the vm lane runs it in its machine (tests/vm/wireguard.test.ts), as tests/cluster/sites.test.ts and plainSites.test.ts
 * have more of the same with wireguard-go, and tunnelPaths.test.ts NATs of other kinds. Each container is on an encrypted
 * network and on one that is not, and everything on the wires is recorded.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Capture, marker } from '../../cluster/capture.ts';
import { commandLines, folder, formSwarm, type Host } from '../../cluster/hosts.ts';
import { openSites, type Sites } from '../../cluster/sites.ts';
import { becomes, pathOf } from '../../cluster/tunnelPath.ts';
import { eventually } from '../../compat/command.ts';
import { hostPaths } from '../../../src/frontends/lab/labFolder.ts';

const [[, program] = ['', ''], [, ours] = ['', '']] = commandLines;
const names = ['A1', 'A2', 'B1', 'B2'] as const;
type Name = (typeof names)[number];
const networks = ['sec', 'open'] as const;
type Network = (typeof networks)[number];
/** Same site: same letter. */
const isNear = (a: Name, b: Name): boolean => a[0] === b[0];
/** What neighbours say to each other on the network that is not encrypted: it shows that the recording sees such. */
const openMarker = 'neighbours-in-clear';
const fileBytes = 1_000_000;
const distance = { delayMs: 15, lossPercent: 1 };

const made = new AsyncDisposableStack();
let sites: Sites;
let capture: Capture;
const at = (name: Name): Host => sites.host(name);

/** By our command line. */
const say = (name: Name, ...words: readonly string[]): string =>
  at(name).run(ours, '-H', `unix://${at(name).socket}`, ...words);

/** In the container. */
async function exec(name: Name, ...words: readonly string[]): Promise<string> {
  return (await at(name).cli(['exec', `on-${name}`, ...words], { exitCode: undefined })).stdout.trim();
}

interface Target {
  readonly network: Network;
  readonly to: Name;
  /** Of its pages. */
  readonly page: string;
}

const targetsOf = (from: Name): readonly Target[] =>
  names
    .filter((to) => to !== from)
    .flatMap((to) => [
      { network: 'sec', to, page: marker },
      { network: 'open', to, page: isNear(from, to) ? openMarker : marker },
    ]);

/** Which of these it gets by name, all in one command, since each takes seconds under emulation. */
async function gets(from: Name, targets: readonly Target[]): Promise<readonly Target[]> {
  const asked = targets.map(({ network, to, page }) => {
    const fetch = `timeout 20 wget -qO- -Y off http://${network}-${to}/${page}`;
    return `[ "$(${fetch})" = "${page} ${to}" ] && echo ${network}-${to}`;
  });
  const said = (await exec(from, 'sh', '-c', asked.join('\n'))).split('\n');
  return targets.filter(({ network, to }) => said.includes(`${network}-${to}`));
}

/** Until it got each of them. */
async function untilGot(from: Name, targets: readonly Target[]): Promise<void> {
  let missing = targets;
  const isDone = await eventually(async () => {
    const got = await gets(from, missing);
    missing = missing.filter((target) => !got.includes(target));
    return missing.length === 0;
  }, 15_000);
  assert.ok(isDone, `${from} does not get ${JSON.stringify(missing)}: ${at(from).tail()}`);
}

/** WireGuard devices of the kernel where a node's tunnels are; none if there are no tunnels. */
function kernelDevices(name: Name): readonly string[] {
  const namespace = join(hostPaths(folder, name).folder, 'exec/tunnels/netns');
  const list = `[ ! -e ${namespace} ] || nsenter --net=${namespace} ip -o link show type wireguard`;
  return at(name)
    .run('sh', '-c', list)
    .split('\n')
    .filter((line) => line !== '');
}

async function serve(name: Name): Promise<void> {
  const { cli } = at(name);
  const pages = [marker, openMarker].map((page) => `echo ${page} ${name} >/w/${page}`).join(' && ');
  const big = `head -c ${fileBytes} /dev/urandom >/w/big`;
  const script = `mkdir /w && ${pages} && ${big} && exec httpd -f -p 80 -h /w`;
  const words = ['run', '-d', '--name', `on-${name}`, '--network', 'sec', '--network-alias', `sec-${name}`];
  await cli([...words, 'busybox', 'sh', '-c', script]);
  await cli(['network', 'connect', '--alias', `open-${name}`, 'open', `on-${name}`]);
}

/** Whether packets to the port of a node's tunnels are dropped. */
function shut(name: Name, isShut: boolean): void {
  const rules = isShut
    ? [
        'add table inet door',
        'add chain inet door input { type filter hook input priority 0; }',
        'add rule inet door input iifname eth0 udp dport 51851 drop',
      ]
    : ['delete table inet door'];
  at(name).run('sh', '-c', `printf '%s\\n' '${rules.join("' '")}' | nft -f -`);
}

/** Pings by name, five a second, that go on until they are ended. */
class Pings implements AsyncDisposable {
  readonly #from: Name;
  readonly #file: string;

  private constructor(from: Name, file: string) {
    this.#from = from;
    this.#file = file;
  }

  static async begin(from: Name, network: Network, to: Name): Promise<Pings> {
    const file = `/tmp/to-${network}-${to}`;
    await at(from).cli([
      ...['exec', '-d', `on-${from}`, 'sh', '-c'],
      `exec ping -i 0.2 ${network}-${to} >${file} 2>&1`,
    ]);
    const pings = new Pings(from, file);
    await pings.next();
    return pings;
  }

  /** Numbers of those that were answered, in the order of their answers. */
  async answers(): Promise<readonly number[]> {
    const text = await exec(this.#from, 'cat', this.#file);
    return [...text.matchAll(/ seq=(\d+) /g)].map(([, number]) => Number(number));
  }

  /** Resolves once ten more were answered. */
  async next(): Promise<void> {
    const before = (await this.answers()).length;
    const isSo = async (): Promise<boolean> => (await this.answers()).length >= before + 10;
    assert.ok(await eventually(isSo, 20_000), at(this.#from).tail());
  }

  /** Numbers of those that were not answered, though a later one was; and how many there were. */
  async end(): Promise<{ readonly lost: readonly number[]; readonly sent: number }> {
    const answered = new Set(await this.answers());
    const sent = Math.max(...answered) + 1;
    return { sent, lost: Array.from({ length: sent }, (_, i) => i).filter((i) => !answered.has(i)) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await exec(this.#from, 'killall', '-9', 'ping');
  }
}

before(async () => {
  sites = made.use(await openSites(program, ['A=2', 'B=2'], ['B'], true));
  capture = made.use(await Capture.open('sites'));
  sites.setDistance('B', distance);
  await formSwarm(at('A1'), at('A2'), at('B1'), at('B2'));
  await at('A1').cli(['network', 'create', '-d', 'overlay', '--opt', 'encrypted', 'sec']);
  await at('A1').cli(['network', 'create', '-d', 'overlay', 'open']);
  shut('A2', true);
  await Promise.all(names.map(serve));
});
after(() => made.disposeAsync());

test('the kernel’s WireGuard encrypts, and info and network inspect say so', () => {
  for (const name of ['A1', 'B1'] as const) {
    assert.match(say(name, 'info'), /linkspan\.encryption=WireGuard, kernel/);
    const inspected = say(name, 'network', 'inspect', 'sec');
    assert.match(inspected, /"Encryption": \{\s+"Protocol": "WireGuard",\s+"Engine": "kernel"/);
  }
  for (const name of names) {
    assert.equal(kernelDevices(name).length, 1);
    assert.equal(at(name).run('busybox', 'sh', '-c', 'pidof wireguard-go || true'), '');
  }
});

test('a node that does not answer is said with the reason by node paths, until it does', async () => {
  await becomes(at('B1'), 'A2', ({ State }) => State === 'none');
  assert.match(
    say('B1', 'node', 'paths'),
    / A2 +none .* it does not answer at 203\.0\.113\.12:51851: is its UDP port let through\?/,
  );
  shut('A2', false);
  await becomes(at('B1'), 'A2', ({ State }) => State === 'direct');
});

test('containers of both sites reach each other by name on both networks', async () => {
  await Promise.all(names.map((from) => untilGot(from, targetsOf(from))));
});

test('node paths says which way each pair takes, and why', () => {
  const far = say('A1', 'node', 'paths');
  assert.match(far, / B1 +direct +198\.51\.100\.2:\d+ .* it is behind NAT, and keeps the way open/);
  const near = say('B1', 'node', 'paths');
  assert.match(near, / A1 +direct +203\.0\.113\.11:51851 .* it can be reached/);
  assert.match(near, / A2 +direct +203\.0\.113\.12:51851 .* it can be reached/);
  assert.match(near, / B2 +direct +192\.168\.102\.12:51851 .* both are behind the same NAT/);
});

test('packets between sites take as long as the line is, and few are lost', async () => {
  for (const network of networks) {
    const said = await exec('B1', 'ping', '-c', '50', '-i', '0.1', '-W', '20', '-q', `${network}-A2`);
    const [, least] = /min\/avg\/max = ([\d.]+)/.exec(said) ?? assert.fail(said);
    assert.ok(Number(least) >= 2 * distance.delayMs, said);
    assert.ok(Number(/(\d+) packets received/.exec(said)?.[1]) > 25, said);
  }
});

test('large files get through, also where the tunnels take less in a packet than the network', async () => {
  for (const network of networks) {
    const fetch = `timeout 120 wget -qO- -Y off http://${network}-A2/big | wc -c`;
    assert.equal(await exec('B1', 'sh', '-c', fetch), String(fileBytes), network);
  }
});

test('another key is told through delay and loss', async () => {
  await using pings = await Pings.begin('B2', 'sec', 'A1');
  say('A1', 'node', 'rotate-key');
  const target = { network: 'sec', to: 'A1', page: marker } as const;
  await Promise.all((['A2', 'B1', 'B2'] as const).map((name) => untilGot(name, [target])));
  const { lost, sent } = await pings.end();
  assert.ok(lost.length < sent / 4, `${lost.join(' ')} of ${sent}`);
});

test('another key of a node behind NAT costs no packet', async () => {
  sites.setDistance('B', { ...distance, lossPercent: 0 });
  await using there = await Pings.begin('A1', 'sec', 'B1');
  await using back = await Pings.begin('B1', 'open', 'A2');
  say('B1', 'node', 'rotate-key');
  await there.next();
  await back.next();
  for (const pings of [there, back]) assert.deepEqual((await pings.end()).lost, []);
  await becomes(at('A1'), 'B1', ({ State }) => State === 'direct');
});

test('a daemon that is killed finds the kernel’s device again, and no packet is lost', async () => {
  await using pings = await Pings.begin('A2', 'sec', 'B1');
  const devices = kernelDevices('B1');
  const { Endpoint } = pathOf(at('B1'), 'A1');
  await at('B1').kill('SIGKILL');
  await pings.next();
  await at('B1').start();
  await pings.next();
  assert.deepEqual((await pings.end()).lost, []);
  assert.deepEqual(kernelDevices('B1'), devices);
  await becomes(at('B1'), 'A1', (path) => path.State === 'direct' && path.Endpoint === Endpoint);
});

test('with the last container of a node its tunnels go', async () => {
  await at('B2').cli(['rm', '-f', 'on-B2']);
  assert.ok(await eventually(() => kernelDevices('B2').length === 0), at('B2').tail());
});

test('of all that only neighbours on the open network said in clear', async () => {
  const ended = await capture.end();
  assert.ok(ended.timesOf(openMarker) > 0);
  assert.equal(ended.timesOf(marker), 0);
});
