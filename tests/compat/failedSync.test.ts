/*
 * A disk that does not keep what was written: the kernel says so once, and yes to what follows. From then on every change
 * is refused with the reason, what runs goes on, and a daemon that is started again takes up what there is.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { callApi } from './api.ts';
import { eventually } from './command.ts';
import { type Daemon, startDaemon } from './daemonFixture.ts';
import { ownEngines } from './reference.ts';

const faultFile = '/run/linkspan-fault';
process.env['LINKSPAN_FAULT_FILE'] = faultFile;

/** The daemon's step of that number from now on fails. */
async function failAt(daemon: Daemon, plan: string): Promise<void> {
  writeFileSync(faultFile, plan);
  process.kill(daemon.pid(), 'SIGUSR2');
  assert.ok(await eventually(() => Promise.resolve(readFileSync(faultFile, 'utf8') === 'armed'), 5000));
}

async function hasCondition({ socketPath }: Daemon): Promise<boolean> {
  const { body } = await callApi(socketPath, 'GET', '/linkspan/v1/conditions');
  return body.includes('"store.sync"');
}

/** The sync is one of the first steps of a network's creation, beside the driver's. */
async function failSync(daemon: Daemon): Promise<void> {
  for (let n = 1; n < 20; n++) {
    await failAt(daemon, `EIO@${n}`);
    await daemon.cli(['network', 'create', 'tried'], { exitCode: undefined });
    if (await hasCondition(daemon)) return;
    await daemon.cli(['network', 'rm', '-f', 'tried']);
  }
  assert.fail('no step of a creation is a sync');
}

for (const engine of ownEngines('its store has another form', 'docker')) {
  describe(`failed sync: ${engine.name}`, () => {
    test('changes are refused with the reason until another daemon has taken up what there is', {
      timeout: 300_000,
    }, async () => {
      await using daemon = await startDaemon(engine);
      const { cli, socketPath } = daemon;
      await cli(['run', '-d', '--name', 'w1', 'busybox', 'sleep', '999']);
      await failSync(daemon);
      const { status, message } = await callApi(
        socketPath,
        'POST',
        '/networks/create',
        JSON.stringify({ Name: 'later' }),
      );
      assert.equal(status, 503);
      assert.match(
        message,
        /the disk did not keep what was written \(.*EIO.*\).* until the disk was checked/,
      );
      await cli(['create', '--name', 'w2', 'busybox'], { exitCode: 1, stderr: /started again/ });
      await cli(['info'], { stderr: /WARNING: the disk did not keep what was written/ });
      await cli(['exec', 'w1', 'true']);
      await cli(['network', 'ls', '--format', '{{.Name}}'], { stdout: /^bridge$/m });

      await daemon.kill('SIGTERM');
      await daemon.start();
      assert.equal(await hasCondition(daemon), false);
      await cli(['network', 'create', 'later']);
      await cli(['rm', '-f', 'w1']);
      await cli(['network', 'rm', 'later']);
    });
  });
}
