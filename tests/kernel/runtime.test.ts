/*
 * The runtime against a real containerd and runc, inside scripts/lane: life of a task and of execs, adoption by a
 * second client, containerd's death, and that nothing is left after.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam } from '../../src/base/seam.ts';
import { LinkspanError } from '../../src/errors/linkspanError.ts';
import { taskStatus } from '../../src/runtime/containerd/messages.ts';
import { type ContainerdRuntime, openRuntime } from '../../src/runtime/containerd/openRuntime.ts';
import type { OciSpec, StdioPaths } from '../../src/runtime/runtime.ts';
import { buildBusyboxRootfs } from '../../src/frontends/lab/busyboxImage.ts';

const folder = mkdtempSync(join(tmpdir(), 'linkspan-runtime-'));
const dataRoot = join(folder, 'data');
const execRoot = '/run/linkspan-test';
const noStdio: StdioPaths = { stdin: undefined, stdout: undefined, stderr: undefined, isTerminal: false };
const pidPath = join(execRoot, 'containerd/containerd.pid');

let runtime: ContainerdRuntime;
const seam = openSeam();
const open = (): Promise<ContainerdRuntime> =>
  openRuntime({ dataRoot, execRoot, seam, logger: silentLogger });

function processSpec(args: readonly string[]): OciSpec {
  return {
    args,
    cwd: '/',
    env: ['PATH=/bin'],
    user: { uid: 0, gid: 0 },
    terminal: false,
    noNewPrivileges: true,
  };
}

function specOf(args: readonly string[]): OciSpec {
  return {
    ociVersion: '1.0.2',
    process: processSpec(args),
    root: { path: 'rootfs' },
    hostname: 'test',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
    ],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
      cgroupsPath: '/linkspan-test/x',
    },
  };
}

/** A container without an image: busybox is unpacked into its writable layer. */
async function prepareBusybox(id: string): Promise<void> {
  await runtime.prepare(id, '', {});
  const { mounts } = await runtime.client.call('Snapshots.Mounts', { snapshotter: 'overlayfs', key: id });
  execFileSync('tar', ['-xf', join(folder, 'rootfs.tar'), '-C', mounts[0]?.source ?? '/nonexistent']);
}

async function run(id: string, args: readonly string[]): Promise<void> {
  await runtime.createTask(id, specOf(args), noStdio);
  await runtime.startTask(id);
}

before(async () => {
  writeFileSync(join(folder, 'rootfs.tar'), await buildBusyboxRootfs());
  runtime = await open();
});
after(async () => {
  await runtime[Symbol.asyncDispose]();
  assert.ok(!existsSync(pidPath), 'an idle private containerd ends with the daemon');
  rmSync(folder, { recursive: true, force: true });
  // runc removes a container's cgroup, not the parent that it made for it.
  for (const controller of readdirSync('/sys/fs/cgroup'))
    if (existsSync(join('/sys/fs/cgroup', controller, 'linkspan-test')))
      rmdirSync(join('/sys/fs/cgroup', controller, 'linkspan-test'));
});

test('versions names containerd and runc', async () => {
  const { containerd, runc } = await runtime.versions();
  assert.match(containerd, /\d+\.\d+/);
  assert.match(runc, /^\d+\.\d+/);
});

test('a task gives its exit code, also to who waits late, and leaves nothing', async () => {
  await prepareBusybox('exit');
  await run('exit', ['sh', '-c', 'exit 7']);
  const first = await runtime.waitTask('exit');
  assert.equal(first.exitCode, 7);
  assert.match(first.exitedAt, /^20\d\d-.*Z$/);
  assert.deepEqual(await runtime.waitTask('exit'), first);
  const [listed] = await runtime.list();
  assert.deepEqual(listed, { id: 'exit', task: { status: 'stopped', pid: 0, exit: first } });
  // A second run of the same container, without deleting the first task.
  await run('exit', ['sh', '-c', 'exit 3']);
  assert.equal((await runtime.waitTask('exit')).exitCode, 3);
  await runtime.deleteTask('exit');
  assert.deepEqual(await runtime.list(), [{ id: 'exit', task: undefined }]);
  await runtime.remove('exit');
  await runtime.remove('exit');
  assert.deepEqual(await runtime.list(), []);
});

test('runc refusals come through with their text', async () => {
  await prepareBusybox('bad');
  const refused = (args: readonly string[], text: RegExp): Promise<void> =>
    assert.rejects(
      runtime.createTask('bad', specOf(args), noStdio),
      (e) => e instanceof LinkspanError && e.code === 'runtimeFailed' && text.test(e.message),
    );
  await refused(['nosuch'], /exec: "nosuch": executable file not found in \$PATH/);
  await refused(['/nosuch'], /exec: "\/nosuch": stat \/nosuch: no such file or directory/);
  await refused(['/etc/passwd'], /exec: "\/etc\/passwd": permission denied/);
  await runtime.remove('bad');
  assert.deepEqual(await runtime.list(), []);
});

test('exec, kill, pause, pids, usage and rootfs files of a running task', async () => {
  await prepareBusybox('run');
  await run('run', ['sleep', '1000']);
  const [{ task } = { task: undefined }] = await runtime.list();
  assert.equal(task?.status, 'running');
  assert.deepEqual(await runtime.pids('run'), [task.pid]);

  await runtime.createExec('run', 'e1', processSpec(['sh', '-c', 'echo hi >/root/x; exit 5']), noStdio);
  await runtime.startExec('run', 'e1');
  assert.equal((await runtime.waitExec('run', 'e1')).exitCode, 5);
  await runtime.deleteExec('run', 'e1');
  await runtime.deleteExec('run', 'e1');
  assert.equal((await runtime.readRootfsFile('run', '/root/x'))?.toString(), 'hi\n');
  assert.match((await runtime.readRootfsFile('run', '/etc/passwd'))?.toString() ?? '', /^root:/);
  assert.equal(await runtime.readRootfsFile('run', '/etc/nosuch'), undefined);
  assert.ok((await runtime.usage('run')).writableBytes > 1_000_000);

  await runtime.pause('run');
  assert.equal((await runtime.list())[0]?.task?.status, 'paused');
  await runtime.resume('run');
  const waiting = runtime.waitTask('run');
  await runtime.kill('run', 9);
  assert.equal((await waiting).exitCode, 137);
  await runtime.kill('run', 9);
  await runtime.remove('run');
});

test('remove ends a paused task and a created one', async () => {
  await prepareBusybox('paused');
  await run('paused', ['sleep', '1000']);
  await runtime.pause('paused');
  await runtime.remove('paused');
  await prepareBusybox('created');
  await runtime.createTask('created', specOf(['sleep', '1000']), noStdio);
  assert.equal((await runtime.list())[0]?.task?.status, 'created');
  await runtime.remove('created');
  assert.deepEqual(await runtime.list(), []);
});

test('whichever step of a removal fails, the next one removes the views of images, too', async () => {
  const snapshots = async (): Promise<readonly string[]> => {
    const names: string[] = [];
    for await (const { info } of runtime.client.stream('Snapshots.List', {
      ...{ snapshotter: 'overlayfs', filters: [] },
    }))
      names.push(...info.map(({ name }) => name).filter((name) => name.startsWith('viewer')));
    return names;
  };
  let failures = 0;
  for (let at = 1; ; at += 1) {
    await runtime.prepare('viewer', '', {});
    for (const index of [0, 1]) await runtime.prepareView('viewer', index, '');
    assert.equal((await snapshots()).length, 3);
    seam.load({ at, action: { errno: 'EIO' } });
    seam.arm();
    const hasFailed = await runtime.remove('viewer').then(
      () => false,
      () => true,
    );
    seam.load({ at: 0, action: 'count' });
    await runtime.remove('viewer');
    assert.deepEqual(await snapshots(), [], `step ${at}`);
    if (!hasFailed) break;
    failures += 1;
  }
  assert.ok(failures >= 4, `only ${failures} steps`);
});

test('a sweep for lost shims spares a task that is created while it looks', async () => {
  await prepareBusybox('swept');
  const { client } = runtime;
  const created = Promise.withResolvers<void>();
  const calls = client as { call: (method: string, request: object) => Promise<unknown> };
  const before = calls.call;
  // Between its list of tasks and its list of shims the task comes, whole.
  calls.call = async (method, request) => {
    const answer = await before.call(client, method, request);
    if (method === 'Tasks.List') await created.promise;
    return answer;
  };
  try {
    const sweeping = runtime.sweep();
    await run('swept', ['sleep', '1000']);
    created.resolve();
    await sweeping;
  } finally {
    calls.call = before;
  }
  const { tasks } = await client.call('Tasks.List', {});
  assert.equal(tasks.find(({ id }) => id === 'swept')?.status, taskStatus.running);
  await runtime.remove('swept');
});

test('a new client adopts what runs, after the old one went away', async () => {
  await prepareBusybox('adopt');
  await run('adopt', ['sh', '-c', 'trap "exit 9" TERM; while :; do sleep 0.1; done']);
  const pid = readFileSync(pidPath, 'utf8');
  await runtime[Symbol.asyncDispose]();
  assert.ok(existsSync(`/proc/${pid.trim()}`), 'containerd stays while a container runs');
  runtime = await open();
  assert.equal(readFileSync(pidPath, 'utf8'), pid);
  assert.equal((await runtime.list())[0]?.task?.status, 'running');
  const waiting = runtime.waitTask('adopt');
  await runtime.kill('adopt', 15);
  assert.equal((await waiting).exitCode, 9);
  await runtime.remove('adopt');
});

test('containerd killed: it comes back, waits settle, exec works', async () => {
  await prepareBusybox('outage');
  await run('outage', ['sh', '-c', 'trap "exit 4" TERM; while :; do sleep 0.1; done']);
  const waiting = runtime.waitTask('outage');
  const changes: boolean[] = [];
  const back = Promise.withResolvers<void>();
  using _ = runtime.events.on('connection', ({ isUp }) => {
    changes.push(isUp);
    if (isUp) back.resolve();
  });
  const before = Number(readFileSync(pidPath, 'utf8'));
  process.kill(before, 'SIGKILL');
  await back.promise;
  assert.deepEqual(changes, [false, true]);
  assert.notEqual(Number(readFileSync(pidPath, 'utf8')), before);
  await runtime.createExec('outage', 'e', processSpec(['true']), noStdio);
  await runtime.startExec('outage', 'e');
  assert.equal((await runtime.waitExec('outage', 'e')).exitCode, 0);
  await runtime.kill('outage', 15);
  assert.equal((await waiting).exitCode, 4);
  await runtime.remove('outage');
  assert.deepEqual(await runtime.list(), []);
});

test('a pid file that names another process is not believed', async () => {
  await runtime[Symbol.asyncDispose]();
  assert.ok(!existsSync(pidPath), 'an idle containerd ends');
  for (const forged of ['0', '1', String(process.pid), '-1', 'x']) {
    writeFileSync(pidPath, forged);
    runtime = await open();
    assert.notEqual(readFileSync(pidPath, 'utf8').trim(), forged);
    await runtime[Symbol.asyncDispose]();
  }
  runtime = await open();
});

test('no shim and no mount is left', () => {
  const mounts = readFileSync('/proc/mounts', 'utf8');
  assert.doesNotMatch(mounts, /linkspan-test.*rootfs/);
  const shims = readdirSync('/proc').filter(
    (name) =>
      /^\d+$/.test(name) &&
      existsSync(`/proc/${name}/cmdline`) &&
      readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('containerd-shim'),
  );
  assert.deepEqual(shims, []);
});
