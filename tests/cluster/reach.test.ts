/*
 * Machines that have been cut off from each other, or whose address has gone: networks in clear and encrypted say so, and
 * what is on the wire meanwhile is not readable.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually } from '../compat/command.ts';
import { Capture, marker } from './capture.ts';
import { type Cluster, commandLines, cutOff, formSwarm, type Host, openCluster } from './hosts.ts';

const [, program] = commandLines[0] ?? assert.fail();
let cluster: Cluster;
let [a, b, c] = [] as unknown as [Host, Host, Host];

const warnings = async (host: Host): Promise<readonly string[]> =>
  (JSON.parse((await host.cli(['info', '-f', '{{json .Warnings}}'])).stdout) as readonly string[] | null) ??
  [];
const saysOf = async (host: Host, pattern: RegExp): Promise<boolean> =>
  (await warnings(host)).some((text) => pattern.test(text));
const becomes = async (host: Host, pattern: RegExp, isSaid: boolean): Promise<void> => {
  const isSo = async (): Promise<boolean> => (await saysOf(host, pattern)) === isSaid;
  assert.ok(
    await eventually(isSo, 90_000),
    `${host.name}: ${(await warnings(host)).join('\n')}\n${host.tail()}`,
  );
};
const asks = async (host: Host, container: string, target: string): Promise<boolean> => {
  const words = [
    'exec',
    container,
    'timeout',
    '2',
    'wget',
    '-qO-',
    '-Y',
    'off',
    `http://${target}/${marker}`,
  ];
  return (await host.cli(words, { exitCode: undefined })).exitCode === 0;
};

before(async () => {
  cluster = await openCluster(program, true);
  ({ A: a, B: b, C: c } = cluster.hosts);
  await formSwarm(b, a, c);
  for (const [name, options] of [
    ['clear', []],
    ['secret', ['--opt', 'encrypted']],
  ] as const) {
    await b.cli(['network', 'create', '-d', 'overlay', ...options, name]);
    const serve = `mkdir /w && echo ${marker} > /w/${marker} && exec httpd -f -p 80 -h /w`;
    await a.cli(['run', '-d', '--name', `${name}-a`, '--network', name, 'busybox', 'sh', '-c', serve]);
    // What talks all the while.
    const talk = `while :; do timeout 2 wget -qO- -Y off http://${name}-a/${marker}; sleep 0.5; done`;
    await c.cli(['run', '-d', '--name', `${name}-c`, '--network', name, 'busybox', 'sh', '-c', talk]);
    assert.ok(await eventually(() => asks(c, `${name}-c`, `${name}-a`), 15_000), c.tail());
  }
});
after(async () => {
  await cluster[Symbol.asyncDispose]();
});

test('two machines that are cut off from each other alone are a condition of both kinds of networks, on both', {
  timeout: 240_000,
}, async () => {
  const plain = /nothing comes back (any more )?on the way between host-(A|C) and host-(A|C) /;
  const tunnel = /has no path to host-(A|C) through the encrypted tunnels/;
  for (const host of [a, c]) for (const pattern of [plain, tunnel]) assert.ok(!(await saysOf(host, pattern)));
  const { stdout } = await b.cli(['node', 'ls', '--format', '{{.Status}}']);
  await cutOff('C', true, ['A']);
  try {
    for (const host of [a, c]) await becomes(host, plain, true);
    await becomes(c, tunnel, true);
    assert.equal((await b.cli(['node', 'ls', '--format', '{{.Status}}'])).stdout, stdout);
  } finally {
    await cutOff('C', false, ['A']);
  }
  for (const host of [a, c]) for (const pattern of [plain, tunnel]) await becomes(host, pattern, false);
  for (const name of ['clear', 'secret'])
    assert.ok(await eventually(() => asks(c, `${name}-c`, `${name}-a`)));
});

test('a machine whose address changes: the encrypted network goes on, the one in clear says what it misses', {
  timeout: 240_000,
}, async () => {
  await a.cli(['rm', '-f', 'clear-a']);
  await using capture = await Capture.open('roaming');
  c.run('ip', 'address', 'del', `${c.address}/24`, 'dev', 'eth0');
  c.run('ip', 'address', 'add', '192.0.2.77/24', 'dev', 'eth0');
  assert.ok(await eventually(() => asks(c, 'secret-c', 'secret-a'), 15_000), c.tail());
  const { markers, bytes } = await capture.end();
  assert.equal(markers, 0);
  assert.ok(bytes > 1000);
  await a.cli(['run', '-d', '--name', 'clear-a', '--network', 'clear', 'busybox', 'sleep', '900']);
  const address = new RegExp(`${c.address.replaceAll('.', '\\.')}, from which host-C sends`);
  await becomes(c, address, true);
  c.run('ip', 'address', 'add', `${c.address}/24`, 'dev', 'eth0');
  await becomes(c, address, false);
});
