/*
 * The libraries that programs speak to Docker with: dockerode for Node and docker-py (dockerPy.py has its steps).
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import Docker from 'dockerode';
import { createRunner, eventually } from './command.ts';
import { pythonModules } from './composeTools.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { inHost } from './hosts.ts';

const [engine] = engines().filter(({ cli }) => cli === 'docker');

if (engine !== undefined)
  describe('client libraries', () => {
    let daemon: Daemon;
    let docker: Docker;
    before(async () => {
      daemon = await startDaemon(engine);
      docker = new Docker({ socketPath: daemon.socketPath });
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    test('docker-py: containers, exec, attach, logs, events, networks, files, images', async () => {
      const run = createRunner([...inHost('A'), '/usr/bin/python3'], daemon.transcript, {
        env: { PYTHONPATH: pythonModules(), DOCKER_HOST: `unix://${daemon.socketPath}` },
        shown: 'python3',
        hint: () => daemon.logTail(),
      });
      await run([join(import.meta.dirname, 'dockerPy.py')], { stdout: /done$/, timeoutMs: 180_000 });
      assert.deepEqual(await docker.listContainers({ all: true }), []);
    });

    test('dockerode: run, with both outputs apart, and its code', async () => {
      const [out, err] = [new PassThrough(), new PassThrough()];
      const said = Promise.all([text(out), text(err)]);
      const line = 'echo out; echo err >&2; exit 5';
      const [{ StatusCode }, container] = (await docker.run('busybox', ['sh', '-c', line], [out, err], {
        Tty: false,
      })) as [{ StatusCode: number }, Docker.Container];
      out.end();
      err.end();
      assert.equal(StatusCode, 5);
      assert.deepEqual(await said, ['out\n', 'err\n']);
      await container.remove();
      await assert.rejects(container.inspect(), { statusCode: 404, reason: 'no such container' });
    });

    test('dockerode: attach with input, exec, logs that follow, stats, events, networks', async () => {
      const events = await docker.getEvents({ filters: { type: ['container'] } });
      const seen: string[] = [];
      events.on('data', (chunk: Buffer) => {
        for (const row of chunk.toString().split('\n').filter(Boolean))
          seen.push((JSON.parse(row) as { Action: string }).Action);
      });
      const network = await docker.createNetwork({
        Name: 'node',
        IPAM: { Driver: 'default', Config: [{ Subnet: '10.79.1.0/24' }] },
      });
      const container = await docker.createContainer({
        ...{ Image: 'busybox', Cmd: ['cat'], name: 'cat', OpenStdin: true, StdinOnce: true },
        HostConfig: { NetworkMode: 'node', Memory: 32 << 20 },
      });
      const stream = await container.attach({
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        hijack: true,
      });
      const out = new PassThrough();
      docker.modem.demuxStream(stream, out, new PassThrough());
      stream.once('end', () => out.end());
      await container.start();
      const { NetworkSettings } = await container.inspect();
      assert.equal(NetworkSettings.Networks['node']?.IPAddress, '10.79.1.2');
      assert.equal(Object.keys((await network.inspect()).Containers ?? {}).length, 1);
      const { memory_stats: memory } = await container.stats({ stream: false });
      assert.equal(memory.limit, 32 << 20);

      const exec = await container.exec({
        Cmd: ['sh', '-c', 'cat; exit 4'],
        AttachStdin: true,
        AttachStdout: true,
      });
      const inside = await exec.start({ hijack: true, stdin: true });
      const answer = new PassThrough();
      docker.modem.demuxStream(inside, answer, new PassThrough());
      inside.once('end', () => answer.end());
      inside.write('question\n');
      inside.end();
      assert.equal(await text(answer), 'question\n');
      assert.ok(await eventually(async () => (await exec.inspect()).ExitCode === 4));

      const logged = new PassThrough();
      const follow = await container.logs({ follow: true, stdout: true, stderr: true });
      docker.modem.demuxStream(follow, logged, new PassThrough());
      follow.once('end', () => logged.end());
      stream.write('first\n');
      stream.end('last\n');
      assert.equal(await text(out), 'first\nlast\n');
      assert.equal((await container.wait()).StatusCode, 0);
      assert.equal(await text(logged), 'first\nlast\n');
      await container.remove();
      await network.remove();
      assert.ok(await eventually(() => Promise.resolve(seen.includes('destroy'))));
      for (const action of ['create', 'attach', 'start', 'die', 'destroy'])
        assert.ok(seen.includes(action), action);
      (events as unknown as { destroy: () => void }).destroy();
    });
  });
