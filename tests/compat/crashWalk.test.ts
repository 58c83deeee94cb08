/*
 * Walks through every durable step, kernel call and runtime call of making a network, creating, starting, stopping and
 * removing a container, and removing the network: at each, once the daemon is killed, once the call fails. After the
 * restart (or the error) the kernel, the store and containerd agree with what the API says, and once everything that
 * it says is removed, nothing is left.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { type HostState, readHostState } from './hostState.ts';

const faultFile = '/run/linkspan-fault';
let daemon: Daemon;
let baseline: HostState;

interface Answer {
  /** 0 = the daemon went away before it answered. */
  readonly status: number;
  readonly body: unknown;
}

function call(method: string, path: string, body?: unknown): Promise<Answer> {
  return new Promise((resolve) => {
    const out = request(
      { socketPath: daemon.socketPath, method, path, headers: { 'content-type': 'application/json' } },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) }),
        );
        response.on('error', () => resolve({ status: 0, body: undefined }));
      },
    );
    out.on('error', () => resolve({ status: 0, body: undefined }));
    out.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function order(text: string): Promise<string> {
  writeFileSync(faultFile, text);
  process.kill(daemon.pid(), 'SIGUSR2');
  await eventually(() => Promise.resolve(/^(armed|count \d+)$/.test(readFileSync(faultFile, 'utf8'))), 5000);
  return readFileSync(faultFile, 'utf8');
}

const createNetwork = (): Promise<Answer> =>
  call('POST', '/networks/create', { Name: 'walk', Driver: 'bridge' });
const createContainer = (): Promise<Answer> =>
  call('POST', '/containers/create?name=walker', {
    Image: 'busybox',
    Cmd: ['sleep', '600'],
    HostConfig: { NetworkMode: 'walk' },
    NetworkingConfig: { EndpointsConfig: { walk: {} } },
  });
const start = (): Promise<Answer> => call('POST', '/containers/walker/start');
const stop = (): Promise<Answer> => call('POST', '/containers/walker/stop?t=0');
const removeContainer = (): Promise<Answer> => call('DELETE', '/containers/walker?force=1');
const removeNetwork = (): Promise<Answer> => call('DELETE', '/networks/walk');

/** Each operation with what must be there before it. */
const operations: readonly {
  readonly name: string;
  readonly setUp: readonly (() => Promise<Answer>)[];
  readonly run: () => Promise<Answer>;
}[] = [
  { name: 'network create', setUp: [], run: createNetwork },
  { name: 'container create', setUp: [createNetwork], run: createContainer },
  { name: 'start (attach)', setUp: [createNetwork, createContainer], run: start },
  { name: 'stop (detach)', setUp: [createNetwork, createContainer, start], run: stop },
  { name: 'container remove', setUp: [createNetwork, createContainer, start, stop], run: removeContainer },
  {
    name: 'forced remove of a running container',
    setUp: [createNetwork, createContainer, start],
    run: removeContainer,
  },
  { name: 'network remove', setUp: [createNetwork], run: removeNetwork },
];

/** What the API says there is. */
async function said(): Promise<{
  readonly networks: readonly string[];
  readonly containers: readonly { id: string; isRunning: boolean; ip: string }[];
}> {
  const networks = (await call('GET', '/networks')).body as { Name: string; Id: string }[];
  const containers = (await call('GET', '/containers/json?all=1')).body as {
    Id: string;
    State: string;
    NetworkSettings: { Networks: Record<string, { IPAddress: string }> };
  }[];
  return {
    networks: networks.filter(({ Name }) => Name === 'walk').map(({ Id }) => Id),
    containers: containers.map(({ Id, State, NetworkSettings }) => ({
      id: Id,
      isRunning: State === 'running',
      ip: NetworkSettings.Networks['walk']?.IPAddress ?? '',
    })),
  };
}

/** The kernel and containerd hold exactly what the API says, on top of the baseline. */
async function assertAgreement(where: string): Promise<void> {
  const { networks, containers } = await said();
  const running = containers.filter(({ isRunning }) => isRunning);
  const expected = {
    bridges: networks.map((id) => `br-${id.slice(0, 12)}`),
    veths: running.length,
    namespaces: running.length,
    containers: containers.map(({ id }) => id).toSorted(),
    shims: running.length,
  };
  const look = async () => {
    const state = await readHostState(daemon);
    const extra = state.links.filter((link) => !baseline.links.includes(link));
    return {
      bridges: extra.filter((link) => link.startsWith('br-')),
      veths: extra.filter((link) => link.startsWith('veth')).length,
      namespaces: state.namespaceMounts,
      containers: state.containers,
      shims: state.shims,
    };
  };
  // Links of a dying namespace go after the answer; what stays is the point.
  await eventually(async () => JSON.stringify(await look()) === JSON.stringify(expected), 3000);
  assert.deepEqual(await look(), expected, `${where}\n${daemon.logTail()}`);
  for (const { ip } of running) assert.match(ip, /^\d+\.\d+\.\d+\.\d+$/, where);
}

async function cleanUp(where: string): Promise<void> {
  const { containers } = await said();
  for (const { id } of containers) {
    const { status, body } = await call('DELETE', `/containers/${id}?force=1`);
    assert.equal(
      status,
      204,
      `${where}: clean-up of a container: ${JSON.stringify(body)}\n${daemon.logTail()}`,
    );
  }
  if ((await said()).networks.length > 0) {
    const { status, body } = await removeNetwork();
    assert.equal(
      status,
      204,
      `${where}: clean-up of the network: ${JSON.stringify(body)}\n${daemon.logTail()}`,
    );
  }
  await eventually(
    async () => JSON.stringify(await readHostState(daemon)) === JSON.stringify(baseline),
    3000,
  );
  assert.deepEqual(await readHostState(daemon), baseline, `${where}\n${daemon.logTail()}`);
}

async function setUp(steps: readonly (() => Promise<Answer>)[]): Promise<void> {
  for (const step of steps) {
    const { status, body } = await step();
    assert.ok(status >= 200 && status < 300, `${JSON.stringify(body)}\n${daemon.logTail()}`);
  }
}

before(async () => {
  process.env['LINKSPAN_FAULT_FILE'] = faultFile;
  const [engine] = engines('docker');
  if (engine === undefined) throw new Error('no engine to judge');
  daemon = await startDaemon(engine);
  await setUp([createNetwork, createContainer, start, removeContainer, removeNetwork]);
  baseline = await readHostState(daemon);
});

after(async () => {
  await daemon?.[Symbol.asyncDispose]();
});

/** What walks clean; the others are marked until they do. */
const provenOperations: readonly string[] = ['network create'];

for (const { name, setUp: steps, run } of operations) {
  let count = 0;
  const todo = !provenOperations.includes(name) && 'the walk over this operation is not clean yet';

  test(`${name}: passes the seam`, { todo }, async () => {
    await setUp(steps);
    await order('count');
    const { status } = await run();
    assert.ok(status >= 200 && status < 300, daemon.logTail());
    count = Number(/^count (\d+)$/.exec(await order('report'))?.[1]);
    assert.ok(count >= 2, `${name} passed only ${count} steps`);
    await assertAgreement(name);
    await cleanUp(name);
  });

  test(`${name}: killed at each step, the restart leaves what the API says`, { todo }, async () => {
    for (let n = 1; n <= count; n++) {
      const where = `${name}, killed at step ${n} of ${count}`;
      await setUp(steps);
      await order(`crash@${n}`);
      await run();
      await daemon.kill('SIGKILL');
      await daemon.start();
      await assertAgreement(where);
      await cleanUp(where);
    }
  });

  test(`${name}: each step failing in turn leaves what the API says`, { todo }, async () => {
    for (let n = 1; n <= count; n++) {
      const where = `${name}, step ${n} of ${count} fails`;
      await setUp(steps);
      await order(`EIO@${n}`);
      await run();
      await order('report');
      await assertAgreement(where);
      await cleanUp(where);
    }
  });
}
