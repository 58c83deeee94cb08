/*
 * The daemon is killed with SIGKILL in the middle of 50 container starts. When it is back, what runs goes on running
 * with its addresses, and once every container is removed nothing is left: no link, namespace, lease, firewall
 * element, containerd container, snapshot or shim.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from './command.ts';
import { type Daemon, startDaemon } from './daemonFixture.ts';
import { type HostState, readHostState } from './hostState.ts';
import { ownEngines } from './reference.ts';

const containerCount = 50;

/** Starts containers, five at a time, and kills the daemon once `killAt` of them answered. */
async function startAndKill(daemon: Daemon, killAt: number): Promise<void> {
  let answered = 0;
  let next = 0;
  const killed = Promise.withResolvers<void>();
  const worker = async (): Promise<void> => {
    while (next < containerCount) {
      const name = `k${(next += 1)}`;
      await daemon.cli(['run', '-d', '--name', name, '--network', 'n1', 'busybox', 'sleep', '999'], {
        exitCode: undefined,
      });
      answered += 1;
      if (answered === killAt) daemon.kill('SIGKILL').then(killed.resolve, killed.reject);
    }
  };
  await Promise.all([worker(), worker(), worker(), worker(), worker()]);
  await killed.promise;
}

async function running(daemon: Daemon): Promise<readonly string[]> {
  const { stdout } = await daemon.cli(['ps', '--format', '{{.Names}}']);
  return stdout.split('\n').filter((name) => name !== '');
}

/** The containers' own word against the daemon's: address in the namespace, in inspect, and once only. */
async function checkAddresses(daemon: Daemon, names: readonly string[]): Promise<void> {
  const seen = new Set<string>();
  for (const name of names) {
    const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
    const { stdout: address } = await daemon.cli(['inspect', '-f', format, name]);
    await daemon.cli(['exec', name, 'ip', '-4', 'addr', 'show', 'eth0'], {
      stdout: new RegExp(`inet ${address.replaceAll('.', '\\.')}/16`),
    });
    assert.ok(!seen.has(address), `${address} is given twice`);
    seen.add(address);
  }
}

async function removeAll(daemon: Daemon): Promise<void> {
  const { stdout } = await daemon.cli(['ps', '-aq']);
  const ids = stdout.split('\n').filter((id) => id !== '');
  if (ids.length > 0) await daemon.cli(['rm', '-f', ...ids], { timeoutMs: 120_000 });
}

for (const engine of ownEngines(
  'containers end with it; namespaces, rules and shims stay behind',
  'docker',
)) {
  describe(`kill -9: ${engine.name}`, () => {
    test('during 50 starts leaves nothing behind, and what runs goes on', { timeout: 300_000 }, async () => {
      await using daemon = await startDaemon(engine);
      await daemon.cli(['network', 'create', 'n1']);
      const before = await readHostState(daemon);
      await startAndKill(daemon, 12);
      const startedAt = performance.now();
      await daemon.start();
      const backMs = Math.round(performance.now() - startedAt);
      process.stdout.write(`the daemon answered ${backMs} ms after its restart\n`);
      const names = await running(daemon);
      assert.ok(names.length >= 10, `only ${names.length} containers run after the restart`);
      await checkAddresses(daemon, names);
      await daemon.cli(['run', '--rm', '--network', 'n1', 'busybox', 'true']);
      await removeAll(daemon);
      let state: HostState = await readHostState(daemon);
      await eventually(async () => {
        state = await readHostState(daemon);
        return JSON.stringify(state) === JSON.stringify(before);
      }, 5000);
      assert.deepEqual(state, before);
      // Every lease is free again: the next container gets the first address.
      await daemon.cli(['run', '--rm', '--network', 'n1', 'busybox', 'ip', '-4', 'addr', 'show', 'eth0'], {
        stdout: /inet 172\.18\.0\.2\/16/,
      });
      await daemon.cli(['network', 'rm', 'n1']);
    });
  });
}
