/*
 * What people do to containers that run: end them in every way, leave and join them at a terminal, several at once. And
 * what is refused then, in Docker's words.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { inHost } from './hosts.ts';
import { testOnce } from './reference.ts';

/** A program that talks with us; what it said so far. */
class Talk implements Disposable {
  said = '';
  readonly ended: Promise<number>;
  readonly #child: ChildProcess;

  constructor(words: readonly string[]) {
    const [program = '', ...args] = words;
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.said += text;
      });
    child.stdin.on('error', () => undefined);
    const ended = Promise.withResolvers<number>();
    child.once('close', (code) => ended.resolve(code ?? 255));
    this.ended = ended.promise;
    this.#child = child;
  }

  say(text: string): void {
    this.#child.stdin?.write(text);
  }

  async hears(what: RegExp): Promise<void> {
    const isSaid = await eventually(() => what.test(this.said), 15_000);
    assert.ok(isSaid, `${String(what)} was not said, but ${JSON.stringify(this.said)}`);
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

for (const engine of engines()) {
  describe(`running: ${engine.name}`, () => {
    const once = testOnce(engine);
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
      await daemon.cli(['run', '-d', '--name', 'runs', 'busybox', 'sleep', '600']);
      await daemon.cli(['create', '--name', 'stopped', 'busybox', 'true']);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const look = async (name: string, format: string): Promise<string> =>
      (await daemon.cli(['inspect', '-f', format, name])).stdout;
    const cliWords = (): readonly string[] => [
      ...inHost('A'),
      engine.cli,
      '-H',
      `unix://${daemon.socketPath}`,
    ];
    const plain = (...args: readonly string[]): Talk => new Talk([...cliWords(), ...args]);
    /** At a terminal of 33 lines of 77 characters. */
    const atTerminal = (...args: readonly string[]): Talk => {
      const line = [...cliWords().slice(inHost('A').length), ...args].join(' ');
      return new Talk([...inHost('A'), 'script', '-qec', `stty rows 33 cols 77; exec ${line}`, '/dev/null']);
    };

    once(
      'a container that ignores TERM is killed after the time that stop or the container gives',
      async () => {
        const deaf = ['busybox', 'sh', '-c', 'trap "" TERM USR1; while :; do sleep 0.1; done'];
        await daemon.cli(['run', '-d', '--name', 'deaf', ...deaf]);
        await daemon.cli([
          'run',
          '-d',
          '--name',
          'deafer',
          '--stop-timeout',
          '0',
          '--stop-signal',
          'USR1',
          ...deaf,
        ]);
        await daemon.cli(['stop', '-t', '1', 'deaf'], { stdout: 'deaf' });
        await daemon.cli(['stop', 'deafer'], { stdout: 'deafer' });
        assert.equal(await look('deaf', '{{.State.ExitCode}}'), '137');
        assert.equal(
          await look('deafer', '{{.State.ExitCode}} {{.Config.StopSignal}} {{.Config.StopTimeout}}'),
          '137 USR1 0',
        );
        const polite = 'trap "exit 5" USR1; echo ready; while :; do sleep 0.1; done';
        await daemon.cli([
          'run',
          '-d',
          '--name',
          'polite',
          '--stop-signal',
          'USR1',
          'busybox',
          'sh',
          '-c',
          polite,
        ]);
        assert.ok(await eventually(async () => (await daemon.cli(['logs', 'polite'])).stdout === 'ready'));
        await daemon.cli(['stop', 'polite']);
        assert.equal(await look('polite', '{{.State.ExitCode}}'), '5');
        await daemon.cli(['rm', 'deaf', 'deafer', 'polite']);
      },
    );

    once('what does not fit is refused in Docker’s words', async () => {
      const { cli, isReference } = daemon;
      const refused = async (args: readonly string[], exitCode: number, stderr: RegExp): Promise<void> =>
        void (await cli(args, { exitCode, stderr }));
      await refused(['kill', '-s', 'NOPE', 'runs'], 1, /invalid signal: NOPE/i);
      await refused(['run', '--stop-signal', 'NOPE', 'busybox'], 125, /invalid signal: NOPE/i);
      await refused(['exec', 'stopped', 'true'], 1, /container [0-9a-f]{64} is not running/i);
      await refused(['run', 'Bad:Ref:x'], 125, /invalid reference format/);
      await refused(['run', 'Busybox'], 125, /repository name (\(library\/Busybox\) )?must be lowercase/);
      await refused(
        ['create', '--name', 'runs', 'busybox'],
        1,
        /The container name "\/runs" is already in use by/,
      );
      await refused(['rename', 'stopped', 'runs'], 1, /The container name "\/runs" is already in use by/);
      await cli(['create', '--name', 'user', '-v', 'v1:/x', 'busybox']);
      await refused(['volume', 'rm', 'v1'], 1, /remove v1: volume is in use - \[[0-9a-f]{64}\]/);
      await refused(['volume', 'rm', '-f', 'v1'], 1, /remove v1: volume is in use/);
      await cli(['rm', 'user']);
      await cli(['volume', 'rm', 'v1']);
      await cli(['pause', 'runs']);
      await refused(
        ['exec', 'runs', 'true'],
        1,
        /Container runs is paused, unpause the container before exec/,
      );
      await refused(['attach', 'runs'], 1, /cannot attach to a paused container, unpause it first/);
      await refused(
        ['rm', 'runs'],
        1,
        /container is paused and must be unpaused first|Stop the container before/,
      );
      await cli(['unpause', 'runs']);
      await refused(['attach', 'stopped'], 1, /cannot attach to a stopped container, start it first/);
      if (isReference) return;
      for (const [method, path, message] of [
        ['POST', '/containers/runs/kill?signal=NOPE', 'cannot kill container: runs: invalid signal: NOPE'],
        ['POST', '/containers/runs/stop?signal=NOPE', 'cannot stop container: runs: invalid signal: NOPE'],
        [
          'POST',
          '/containers/runs/restart?signal=NOPE',
          'Cannot restart container runs: invalid signal: NOPE',
        ],
        [
          'POST',
          '/containers/runs/kill?signal=99',
          'cannot kill container: runs: the linux daemon does not support signal 99',
        ],
      ] as const) {
        const answer = await callApi(daemon.socketPath, method, path);
        assert.deepEqual([answer.status, answer.message], [400, message]);
      }
      assert.equal(await look('runs', '{{.State.Status}}'), 'running');
    });

    test('a terminal has its size at the first look, and the detach keys leave it', async () => {
      using run = atTerminal('run', '-it', '--name', 'term', 'busybox', 'sh', '-c', '"stty size; exec cat"');
      await run.hears(/33 77/);
      run.say('hello\r');
      await run.hears(/hello\r\nhello/);
      run.say('\x10\x11');
      await run.ended;
      assert.equal(await look('term', '{{.State.Status}} {{.HostConfig.ConsoleSize}}'), 'running [33 77]');

      using attach = atTerminal('attach', '--detach-keys', 'ctrl-x,q', 'term');
      attach.say('again\r');
      await attach.hears(/again\r\nagain/);
      attach.say('\x10\x11');
      attach.say('\x18q');
      await attach.ended;
      assert.match(attach.said, /read escape sequence/);

      using exec = atTerminal(
        'exec',
        '-it',
        '--detach-keys',
        'ctrl-a',
        'term',
        'sh',
        '-c',
        '"stty size; exec cat"',
      );
      await exec.hears(/33 77/);
      exec.say('\x01');
      await exec.ended;
      assert.equal(await look('term', '{{.State.Status}}'), 'running');

      await daemon.cli(['stop', '-t', '0', 'term']);
      using start = atTerminal('start', '-ai', 'term');
      await start.hears(/33 77/);
      start.say('\x10\x11');
      await start.ended;
      assert.equal(await look('term', '{{.State.Status}}'), 'running');
      await daemon.cli(['rm', '-f', 'term']);
    });

    once('several clients see the same, each is heard, and one that leaves disturbs nobody', async () => {
      await daemon.cli(['run', '-di', '--name', 'talk', 'busybox', 'cat']);
      const clients = [plain('attach', 'talk'), plain('attach', 'talk'), plain('attach', 'talk')];
      // Whoever has joined hears the others; before that there is nothing to wait for.
      for (const [i, client] of clients.entries()) {
        const isHeard = await eventually(() => {
          client.say(`from ${i}\n`);
          return clients.every(({ said }) => said.includes(`from ${i}`));
        }, 15_000);
        assert.ok(isHeard, JSON.stringify(clients.map(({ said }) => said.slice(-60))));
      }
      clients[1]?.[Symbol.dispose]();
      await clients[1]?.ended;
      clients[0]?.say('last\n');
      await clients[0]?.hears(/last/);
      await clients[2]?.hears(/last/);
      await daemon.cli(['rm', '-f', 'talk']);
      for (const client of clients) {
        client[Symbol.dispose]();
        await client.ended;
      }
    });

    // A real dockerd waits for every client for ever.
    if (engine.kind === 'dockerd') return;
    once('a client that does not read holds the others for some seconds, and no memory', async () => {
      const script = 'read x; head -c 50000000 /dev/zero | tr "\\\\0" "x"; echo; echo done';
      await daemon.cli([
        'run',
        '-di',
        '--log-driver',
        'none',
        '--name',
        'much',
        'busybox',
        'sh',
        '-c',
        script,
      ]);
      const stuck = await attachSilently(daemon.socketPath, 'much');
      using reader = plain('attach', 'much');
      const isDone = await eventually(() => {
        reader.say('go\n');
        return reader.said.endsWith('done\n');
      }, 60_000);
      assert.ok(isDone, String(reader.said.length));
      assert.ok(reader.said.length >= 50_000_000);
      stuck.destroy();
    });
  });
}

/** Joined, and reads nothing. */
function attachSilently(socketPath: string, name: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const headers = { Connection: 'Upgrade', Upgrade: 'tcp' };
    const path = `/containers/${name}/attach?stream=1&stdout=1`;
    const call = request({ socketPath, method: 'POST', path, headers });
    call.once('upgrade', (_response, socket) => {
      socket.pause();
      resolve(socket);
    });
    call.once('error', reject);
    call.end();
  });
}
