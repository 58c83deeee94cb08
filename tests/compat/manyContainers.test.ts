/*
 * Many containers, started eight at a time: each runs, no two have one address, one knows the names of all, and when
 * all are removed nothing is left. LINKSPAN_MANY says how many (60 unless told, 300 is what is promised); what a bridge
 * can hold at most is tests/kernel/bridge.test.ts's.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from './command.ts';
import { engines, startDaemon } from './daemonFixture.ts';
import { type HostState, readHostState } from './hostState.ts';

const count = Number(process.env['LINKSPAN_MANY'] ?? 60);
const atOnce = 8;

for (const engine of engines('docker')) {
  describe(`many: ${engine.name}`, () => {
    test(`${count} containers, ${atOnce} at a time`, { timeout: 600_000 }, async () => {
      await using daemon = await startDaemon(engine);
      await daemon.cli(['network', 'create', 'n1']);
      const before = await readHostState(daemon);
      let next = 0;
      const worker = async (): Promise<void> => {
        while (next < count) {
          const name = `m${(next += 1)}`;
          await daemon.cli(['run', '-d', '--name', name, '--network', 'n1', 'busybox', 'sleep', '999'], {
            timeoutMs: 120_000,
          });
        }
      };
      await Promise.all(Array.from({ length: atOnce }, worker));
      const { stdout: running } = await daemon.cli(['ps', '-q', '--filter', 'status=running']);
      assert.equal(running.split('\n').filter((line) => line !== '').length, count);
      const { stdout } = await daemon.cli([
        ...['network', 'inspect', 'n1', '-f'],
        '{{range .Containers}}{{println .IPv4Address .MacAddress .Name}}{{end}}',
      ]);
      const lines = stdout.split('\n').filter((line) => line !== '');
      for (const field of [0, 1])
        assert.equal(new Set(lines.map((line) => line.split(' ')[field])).size, count, 'given once each');
      const addresses = new Map(lines.map((line) => [line.split(' ')[2], line.split('/')[0]]));
      const ask = `for i in $(seq 1 ${count}); do echo m$i $(nslookup m$i | sed -n 's/^Address: //p'); done`;
      const answers = await daemon.cli(['exec', 'm1', 'sh', '-c', ask], { timeoutMs: 120_000 });
      for (const line of answers.stdout.split('\n')) {
        const [name, ...found] = line.split(' ');
        assert.deepEqual(found, [addresses.get(name)], `the address of ${name}`);
      }
      const names = Array.from({ length: count }, (_, i) => `m${i + 1}`);
      await daemon.cli(['rm', '-f', ...names], { timeoutMs: 300_000 });
      let state: HostState = await readHostState(daemon);
      await eventually(async () => {
        state = await readHostState(daemon);
        return JSON.stringify(state) === JSON.stringify(before);
      }, 10_000);
      assert.deepEqual(state, before);
      await daemon.cli(['network', 'rm', 'n1']);
    });
  });
}
