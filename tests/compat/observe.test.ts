/*
 * What an operator sees of a running daemon: metrics, doctor, the firewall's text, and a line in the log per change.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { type Daemon, startDaemon } from './daemonFixture.ts';
import { ownEngines } from './reference.ts';
import { readHostState } from './hostState.ts';

interface Report {
  readonly severity: string;
  readonly kernel: readonly { readonly name: string; readonly isPresent: boolean }[];
  readonly conflicts: readonly { readonly text: string }[];
  readonly leaks: readonly { readonly kind: string; readonly name: string }[];
  readonly repairs: {
    readonly counts: Readonly<Record<string, number>>;
    readonly recent: readonly { readonly cause: string }[];
  };
}

for (const engine of ownEngines('metrics, doctor and log are our own').filter(({ name }) =>
  name.startsWith('linkspan'),
)) {
  describe(`observing: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    const doctor = async (exitCode: number): Promise<Report> => {
      const { stdout } = await daemon.cli(['doctor', '--format', 'json'], { exitCode });
      return JSON.parse(stdout) as Report;
    };

    test('doctor is content with a fresh daemon, and changes nothing of the machine', async () => {
      const before = await readHostState(daemon);
      const { kernel, leaks, severity } = await doctor(0);
      assert.deepEqual(await readHostState(daemon), before);
      assert.deepEqual([severity, leaks], ['ok', []]);
      for (const name of ['bridge', 'veth', 'nf_tables inet nat', 'conntrack'])
        assert.ok(kernel.find((feature) => feature.name === name)?.isPresent, name);
      await daemon.cli(['doctor'], { stdout: /^Kernel:\n {2}bridge +yes\n[^]*Result: ok$/ });
      await daemon.cli(['doctor', '--format', 'xml'], { exitCode: 1, stderr: /text or 'json'/ });
    });

    test('doctor names a leak, a repair, and a foreign chain that drops', async () => {
      await daemon.cli(['network', 'create', 'seen']);
      const { stdout } = await daemon.host(['ip', '-j', 'link', 'show', 'docker0']);
      const [bridge] = JSON.parse(stdout) as readonly { readonly ifalias: string }[];
      const stray = (bridge?.ifalias ?? '').replace(/[^:]*$/, 'f'.repeat(64));
      await daemon.host(['ip', 'link', 'add', 'stray0', 'type', 'bridge']);
      await daemon.host(['ip', 'link', 'set', 'stray0', 'alias', stray]);
      await daemon.host(['nft', 'delete', 'table', 'inet', 'linkspan']);
      await daemon.host([
        'nft',
        'add table ip mine; add chain ip mine f { type filter hook forward priority 0; policy drop; }',
      ]);
      for (let i = 0; i < 50; i++) {
        const { repairs, conflicts } = await doctor(1);
        if ((repairs.counts['firewall'] ?? 0) > 0 && conflicts.length > 0) break;
      }
      const { leaks, repairs, conflicts } = await doctor(1);
      assert.deepEqual(leaks, [
        { kind: 'link', name: 'stray0', text: 'the interface stray0 has our mark and no owner' },
      ]);
      assert.ok(repairs.recent.some(({ cause }) => cause === 'the table was gone'));
      assert.match(conflicts[0]?.text ?? '', /ip mine f/);
      await daemon.host(['ip', 'link', 'del', 'stray0']);
      await daemon.host(['nft', 'delete', 'table', 'ip', 'mine']);
      await daemon.cli(['network', 'rm', 'seen']);
    });

    test('metrics count what there is, by labels that no user chooses', async () => {
      await daemon.cli([
        'run',
        '-d',
        '--name',
        'counted',
        '-p',
        '127.0.0.1:8000-8002:80-82',
        'busybox',
        'sleep',
        '999',
      ]);
      await callApi(daemon.socketPath, 'GET', '/v1.50/containers/absent/json');
      const { status, body } = await callApi(daemon.socketPath, 'GET', '/metrics');
      assert.equal(status, 200);
      for (const line of [
        'linkspan_containers{state="running"} 1',
        'linkspan_endpoints{state="attached"} 1',
        'linkspan_leases{family="4"} 1',
        'linkspan_published_ports{protocol="tcp"} 3',
        'linkspan_dns_queries_total{result="own"} 0',
        'linkspan_kernel_operation_seconds_count{verb="attach",result="ok"} 1',
        'linkspan_api_request_seconds_count{method="GET",route="/containers/:id/json",status="404"} 1',
      ])
        assert.ok(body.includes(`\n${line}\n`), line);
      assert.ok(/\nlinkspan_repairs_total\{kind="firewall"\} [1-9]/.test(body), 'repairs are counted');
      assert.doesNotMatch(body, /counted|absent/);
      await daemon.cli(['rm', '-f', 'counted']);
    });

    test('firewall dump prints our tables; there is nothing to release', async () => {
      const list = async (family: string): Promise<string> =>
        (await daemon.host(['nft', 'list', 'table', family, 'linkspan'])).stdout;
      const stdout = [await list('inet'), await list('bridge')].join('\n');
      await daemon.cli(['firewall', 'dump'], { stdout });
      await daemon.cli(['firewall', 'release'], { exitCode: 1, stderr: /nothing to release/ });
    });

    test('the log has a line for each change, with what and why, and no secret', async () => {
      await daemon.cli(['run', '--name', 'told', '-e', 'SECRET=hush', 'busybox', 'sh', '-c', 'exit 3'], {
        exitCode: 3,
      });
      await daemon.cli(['rm', 'told']);
      const lines = daemon
        .log()
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      const told = lines.filter((line) => line['container'] === 'told');
      assert.deepEqual(
        told.map((line) => line['message']),
        [
          'created a container',
          'attached an endpoint',
          'started a container',
          'a container ended',
          'detached an endpoint',
          'removed a container',
        ],
      );
      assert.equal(told.find((line) => line['message'] === 'a container ended')?.['exitCode'], 3);
      assert.doesNotMatch(daemon.log(), /hush/);
    });
  });
}
