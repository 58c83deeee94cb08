import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandClock } from '../../base/handClock.ts';
import { silentLogger } from '../../base/logger.ts';
import type { Driver } from '../../drivers/interface.ts';
import type { FirewallBinding } from '../../firewall/binding.ts';
import { formatIp } from '../../net/ip.ts';
import { MemoryStore } from '../containers/fakes.ts';
import type { Container, Endpoint, Network, PortRequest } from '../model.ts';
import type { SandboxState } from '../networks/follower.ts';
import { PublishedPorts, type PublishedPortsDependencies, requestsOf } from './publishedPorts.ts';

const driver = {
  publishing: () => ({
    modes: { 4: 'nat', 6: 'nat' },
    bindingAddress: undefined,
    sources: [],
    trustedLinks: [],
  }),
} as unknown as Driver;

/** A host and a store on which the n-th step can be made to fail, and which a new daemon finds as they are. */
class Host {
  readonly store = new MemoryStore();
  readonly clock = new HandClock();
  /** What the firewall translates, by owner; and what sockets hold. */
  readonly published = new Map<string, readonly string[]>();
  readonly held = new Set<string>();
  readonly busy = new Set<string>();
  forgotten = 0;
  steps = 0;
  failAt = 0;

  #step<T>(work: () => T): Promise<T> {
    this.steps += 1;
    if (this.steps === this.failAt) return Promise.reject(new Error('injected'));
    return Promise.resolve(work());
  }

  open(): PublishedPorts {
    this.held.clear();
    const nameOf = ({
      proto,
      ip,
      port,
    }: {
      proto: string;
      ip: Parameters<typeof formatIp>[0];
      port: number;
    }): string => `${formatIp(ip)} ${port}/${proto}`;
    const publish = (owner: string, bindings: readonly FirewallBinding[]): void => {
      const texts = bindings.map(({ hostPort, count, target }) => `${hostPort}+${count} ${formatIp(target)}`);
      if (texts.length === 0) this.published.delete(owner);
      else this.published.set(owner, texts);
    };
    const deps: PublishedPortsDependencies = {
      store: new Proxy(this.store, {
        get: (store, name) =>
          name === 'txn'
            ? (txn: Parameters<MemoryStore['txn']>[0]) => this.#step(() => store.txn(txn))
            : Reflect.get(store, name, store).bind(store),
      }),
      drivers: new Map([['bridge', driver]]),
      firewall: {
        publish: (owner, bindings) => this.#step(() => publish(owner, bindings)),
        applyBindings: (all) =>
          this.#step(() => {
            this.published.clear();
            for (const [owner, bindings] of all) publish(owner, bindings);
          }),
      },
      kernel: {
        getSysctl: (key) => Promise.resolve(key.endsWith('range') ? '32768 60999' : ''),
        holdPorts: (ports) =>
          this.#step(() => {
            const refused = ports.find((port) => this.busy.has(nameOf(port)));
            if (refused !== undefined) return { port: refused, code: 'EADDRINUSE' };
            for (const port of ports) this.held.add(nameOf(port));
            return undefined;
          }),
        releasePorts: (ports) => Promise.resolve(ports.forEach((port) => this.held.delete(nameOf(port)))),
        forgetFlows: (filters) => this.#step(() => void (this.forgotten += filters.length)),
        setHairpin: () => this.#step(() => undefined),
      },
      clock: this.clock,
      logger: silentLogger,
    };
    return new PublishedPorts(deps);
  }

  async state(): Promise<unknown> {
    const { entries } = await this.store.list('bindings/');
    return {
      published: [...this.published],
      held: [...this.held].toSorted(),
      records: entries.map(({ value }) => value),
    };
  }
}

const exact = (port: number, count = 1, proto: PortRequest['proto'] = 'tcp'): PortRequest => ({
  proto,
  port,
  count,
  hostIp: '',
  hostPorts: { first: 8000 + port, last: 8000 + port + count - 1 },
  sources: [],
});

function stateOf(
  name: string,
  ports: readonly PortRequest[],
  address = '172.18.0.2',
  exposedPorts: readonly string[] = [],
): SandboxState {
  const container = {
    id: name,
    name,
    spec: { ports, publishesAllPorts: exposedPorts.length > 0 },
    process: { exposedPorts },
  } as unknown as Container;
  const endpoint = {
    id: `${name}-${address}`,
    ipv4: `${address}/16`,
    defaultRoutes: [4],
    hostInterfaceName: 'veth0',
  } as unknown as Endpoint;
  const network = { driver: 'bridge', pools: [], options: {} } as unknown as Network;
  const sandbox = { id: name, path: `/run/${name}` } as SandboxState['sandbox'];
  return { container, sandbox, attachments: [{ endpoint, network }] };
}

const settled = (work: Promise<void>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  );

test('whichever step of publishing, changing or moving fails, everything is as before', async () => {
  const before = [exact(80), exact(53, 2, 'udp')];
  for (const [what, from, to] of [
    ['publishing', [], before],
    ['changing', before, [exact(80), exact(90, 3, 'udp')]],
    ['taking back', before, []],
    ['moving to another endpoint', before, before],
    ['gaining the other family', before, before],
  ] as const) {
    let failures = 0;
    for (let failAt = 1; ; failAt++) {
      const host = new Host();
      const ports = host.open();
      await ports.apply(stateOf('web', from));
      const was = await host.state();
      host.steps = 0;
      host.failAt = failAt;
      const address = what.startsWith('moving') ? '172.19.0.2' : '172.18.0.2';
      const next = stateOf('web', to, address);
      const isDone = await settled(
        ports.apply(what.startsWith('gaining') ? withIpv6(next, 'fd00::2') : next),
      );
      if (isDone) {
        assert.ok(failures >= 3, `${what} has steps`);
        assert.notDeepEqual(await host.state(), was);
        break;
      }
      failures += 1;
      assert.deepEqual(await host.state(), was, `${what}: step ${failAt}`);
    }
  }
});

test('a release that fails half-way can be done again, and then nothing is left', async () => {
  for (let failAt = 1; failAt <= 3; failAt++) {
    const host = new Host();
    const ports = host.open();
    const state = stateOf('web', [exact(80), exact(53, 1, 'udp')]);
    await ports.apply(state);
    host.steps = 0;
    host.failAt = failAt;
    assert.equal(await settled(ports.release(state.container)), false);
    await ports.release(state.container);
    assert.deepEqual(await host.state(), { published: [], held: [], records: [] });
    await ports.release(state.container);
  }
});

test('another endpoint takes over with the same host ports, ephemeral ones too, and UDP flows are forgotten', async () => {
  const host = new Host();
  const ports = host.open();
  const wanted = [
    { ...exact(53, 1, 'udp') },
    { proto: 'tcp', port: 80, count: 1, hostIp: '', sources: [] } as const,
  ];
  await ports.apply(stateOf('web', wanted));
  assert.deepEqual(host.published.get('web'), ['32768+1 172.18.0.2', '8053+1 172.18.0.2']);
  const { forgotten } = host;
  await ports.apply(stateOf('web', wanted, '172.19.0.2'));
  assert.deepEqual(host.published.get('web'), ['32768+1 172.19.0.2', '8053+1 172.19.0.2']);
  assert.ok(host.forgotten > forgotten);
  const { steps } = host;
  await ports.apply(stateOf('web', wanted, '172.19.0.2'));
  assert.equal(host.steps, steps, 'nothing to do, nothing done');
});

/** The same sandbox with an endpoint that has its IPv6 default route. */
function withIpv6(state: SandboxState, address: string): SandboxState {
  const [first] = state.attachments;
  assert.ok(first);
  const endpoint = { ...first.endpoint, ipv6: `${address}/64`, defaultRoutes: [6] } as Endpoint;
  return { ...state, attachments: [first, { ...first, endpoint }] };
}

test('a network of the other family joins at the same host ports, and leaves', async () => {
  const wanted = [exact(80), { proto: 'tcp', port: 90, count: 1, hostIp: '', sources: [] } as const];
  const host = new Host();
  const ports = host.open();
  const four = stateOf('web', wanted);
  await ports.apply(four);
  const was = await host.state();
  await ports.apply(withIpv6(four, 'fd00::2'));
  assert.deepEqual([...host.held].toSorted(), [
    '0.0.0.0 32768/tcp',
    '0.0.0.0 8080/tcp',
    ':: 32768/tcp',
    ':: 8080/tcp',
  ]);
  await ports.apply(four);
  assert.deepEqual(await host.state(), was);
  // An ephemeral port that somebody has in the other family becomes another one.
  host.busy.add(':: 32768/tcp');
  await ports.apply(withIpv6(four, 'fd00::2'));
  assert.deepEqual([...host.held].toSorted(), [
    '0.0.0.0 32769/tcp',
    '0.0.0.0 8080/tcp',
    ':: 32769/tcp',
    ':: 8080/tcp',
  ]);
  await ports.apply(four);
  // An exact one is refused, and everything stays.
  host.busy.add(':: 8080/tcp');
  const before = await host.state();
  await assert.rejects(ports.apply(withIpv6(four, 'fd00::2')), { code: 'portUnavailable' });
  assert.deepEqual(await host.state(), before);
});

test('the next daemon adopts what lives, takes back what ended, and says what others took meanwhile', async () => {
  const host = new Host();
  const first = host.open();
  const web = stateOf('web', [exact(80)]);
  await first.apply(web);
  await first.apply(stateOf('gone', [exact(53, 1, 'udp')]));
  host.busy.add('0.0.0.0 8080/tcp');
  const second = host.open();
  await second.adopt([web]);
  assert.deepEqual([...host.published.keys()], ['web']);
  assert.equal(second.bindings(web.container.id).length, 1);
  assert.equal(host.forgotten, 2, 'of the one that is gone too');
  assert.deepEqual(
    second.conditions.map(({ id }) => id),
    ['ports.taken:0.0.0.0 8080/tcp'],
  );
  await assert.rejects(second.apply(stateOf('late', [exact(80)])), {
    code: 'portUnavailable',
    message: `driver failed programming external connectivity on endpoint late (late-172.18.0.2): Bind for 0.0.0.0:8080 failed: port is already allocated`,
  });
  await second.release(web.container);
  assert.deepEqual(second.conditions, []);
  second.close();
});

test('a port that others took is asked for until it is had, and no longer than it is published', async () => {
  const host = new Host();
  await host.open().apply(stateOf('web', [exact(80), exact(81)]));
  for (const name of ['0.0.0.0 8080/tcp', '0.0.0.0 8081/tcp']) host.busy.add(name);
  const ports = host.open();
  await ports.adopt([stateOf('web', [exact(80), exact(81)])]);
  await host.clock.advance(60_000);
  assert.equal(ports.conditions.length, 2);
  await ports.apply(stateOf('web', [exact(81)]));
  assert.equal(ports.conditions.length, 1);
  host.busy.clear();
  await host.clock.advance(60_000);
  assert.deepEqual([...host.held], ['0.0.0.0 8081/tcp']);
  assert.deepEqual(ports.conditions, []);
  await ports.release(stateOf('web', []).container);
  assert.deepEqual([...host.held], []);
});

test('a change that was recorded but not made is made at the next start', async () => {
  const host = new Host();
  await host.open().apply(stateOf('web', [exact(80)]));
  await host.open().adopt([stateOf('web', [exact(80), exact(81)])]);
  assert.deepEqual(host.published.get('web'), ['8080+2 172.18.0.2']);
});

test('-P publishes every exposed port that is not published yet', () => {
  const { container } = stateOf('web', [exact(80, 2)], '172.18.0.2', [
    '443/tcp',
    '81/tcp',
    '53/udp',
    '80/udp',
  ]);
  assert.deepEqual(
    requestsOf(container).map(({ proto, port, hostPorts }) => `${port}/${proto} ${hostPorts === undefined}`),
    ['80/tcp false', '53/udp true', '80/udp true', '443/tcp true'],
  );
});
