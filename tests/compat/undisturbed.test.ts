/*
 * What nobody notices: the daemon is killed and comes back, or is stopped and started as an upgrade does, and a bridge
 * or an interface is deleted, while containers run. Connections that stand go on, published ports take new ones,
 * addresses stay, logs miss nothing, and names are answered again.
 *
 *   host C ── 8080 of host A ── [srv] echo ── n1 ── [cl] one connection to srv for ever, its echoes in its log
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { eventually } from './command.ts';
import { type Daemon, startDaemon } from './daemonFixture.ts';
import { hostAddress, inHost } from './hosts.ts';
import { ownEngines } from './reference.ts';

/** One connection from host C to the published port, which echoes. */
class Connection implements Disposable {
  readonly #child;
  #received = '';

  constructor() {
    const [program = '', ...args]: readonly string[] = [...inHost('C'), 'busybox', 'nc', hostAddress, '8080'];
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout.on('data', (data: Buffer) => {
      this.#received += data.toString();
    });
  }

  /** Sends a line and waits for it; fails when it does not come back. */
  async echoes(line: string): Promise<void> {
    this.#child.stdin.write(`${line}\n`);
    assert.ok(
      await eventually(async () => this.#received.includes(`${line}\n`), 10_000),
      `${line} comes back`,
    );
    assert.equal(this.#child.exitCode, null, 'it is the same connection');
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/** It waits until srv listens. */
const pinger =
  'until nc -w 1 srv 80 </dev/null; do sleep 0.1; done; i=0; while :; do echo $((i += 1)); sleep 0.1; done | nc srv 80';

for (const engine of ownEngines('its containers end with it, and it repairs nothing', 'docker')) {
  describe(`undisturbed: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
      await daemon.cli(['network', 'create', 'n1']);
      const detached = ['run', '-d', '--network', 'n1'];
      await daemon.cli([
        ...detached,
        ...['--name', 'srv', '-p', '8080:80', 'busybox', 'nc', '-ll', '-p', '80', '-e', 'cat'],
      ]);
      await daemon.cli([...detached, '--name', 'cl', 'busybox', 'sh', '-c', pinger]);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    const echoed = async (): Promise<readonly number[]> => {
      const { stdout } = await daemon.cli(['logs', 'cl']);
      return stdout
        .split('\n')
        .filter((line) => line !== '')
        .map(Number);
    };

    /** The connection inside goes on, and its log misses nothing since the container's start. */
    const logGoesOn = async (): Promise<void> => {
      const { length } = await echoed();
      assert.ok(await eventually(async () => (await echoed()).length > length, 10_000), 'more in the log');
      const all = await echoed();
      assert.deepEqual(
        all,
        all.map((_, i) => i + 1),
      );
    };

    const state = async (): Promise<string> => {
      const format = '{{.State.Pid}} {{.State.StartedAt}} {{json .NetworkSettings}}';
      const { stdout } = await daemon.cli(['inspect', '-f', format, 'srv', 'cl']);
      return stdout;
    };

    const namesAnswer = async (): Promise<void> => {
      const ask = ['exec', 'cl', 'nslookup', '-type=a', 'srv'];
      const isAnswered = async (): Promise<boolean> =>
        (await daemon.cli(ask, { exitCode: undefined })).stdout.includes('172.18.0.2');
      assert.ok(await eventually(isAnswered, 10_000), 'srv has an address');
    };

    for (const [what, signal] of [
      ['killed', 'SIGKILL'],
      ['stopped and started, as an upgrade does', 'SIGTERM'],
    ] as const) {
      test(`the daemon is ${what}: nobody notices`, async () => {
        using connection = new Connection();
        await connection.echoes('before');
        await logGoesOn();
        const known = await state();
        await daemon.kill(signal);
        await connection.echoes('while none runs');
        using second = new Connection();
        await second.echoes('a new one while none runs');
        await daemon.start();
        await connection.echoes('after');
        await second.echoes('after, the second');
        using third = new Connection();
        await third.echoes('a new one after');
        await namesAnswer();
        await logGoesOn();
        assert.equal(await state(), known);
      });
    }

    for (const [what, script] of [
      ['every firewall rule (37)', 'iptables -F; iptables -t nat -F; nft flush ruleset'],
      ['the bridge', 'ip link del $(ip -o link | grep -o "br-[0-9a-f]*" | head -n 1)'],
      [
        'every host end',
        'for end in $(ip -o link | grep -o "veth[0-9a-f]*" | sort -u); do ip link del $end; done',
      ],
    ] as const) {
      test(`somebody deletes ${what}: connections go on, ports, hairpin and names too`, async () => {
        using connection = new Connection();
        await connection.echoes('before');
        const known = await state();
        await daemon.host(['sh', '-c', script]);
        await connection.echoes('after');
        using second = new Connection();
        await second.echoes('a new one');
        await namesAnswer();
        const own = ['exec', '-i', 'srv', 'nc', '-w', '2', hostAddress, '8080'];
        const reachesItself = async (): Promise<boolean> =>
          (await daemon.cli(own, { input: 'me\n', exitCode: undefined })).stdout.includes('me');
        assert.ok(await eventually(reachesItself, 10_000), 'srv reaches its own published port');
        await logGoesOn();
        assert.equal(await state(), known);
      });
    }
  });
}
