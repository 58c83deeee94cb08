/*
 * Wrong input gets Docker's status and words, and leaves nothing behind: the host, the networks, the containers and
 * the images are afterwards what they were. `older` gives the words of 20.10 where they differ from Engine 28's.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { openSeam } from '../../src/base/seam.ts';
import { type ContainerdClient, openClient } from '../../src/runtime/containerd/client.ts';
import { notAsked } from '../arch/skips.ts';
import { callApi } from './api.ts';
import { forgedArchives } from './archives.ts';
import { busyboxImage, type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { readHostState } from './hostState.ts';

interface Refusal {
  readonly what: string;
  readonly args: readonly string[];
  readonly exitCode: number;
  readonly stderr: RegExp;
  /** 20.10's words; `accepted` where it lets the input through. */
  readonly older?: RegExp | 'accepted';
}

/** With network n1 (10.80.0.0/30, full with container w1) and n2 (10.84.0.0/24, w2 at .5). */
const refusals: readonly Refusal[] = [
  {
    what: 'a network name that is taken',
    args: ['network', 'create', 'n1'],
    exitCode: 1,
    stderr: /network with name n1 already exists/,
  },
  {
    what: 'an unknown driver',
    args: ['network', 'create', '-d', 'nope', 'x'],
    exitCode: 1,
    stderr: /plugin "nope" not found/,
    older: /legacy plugin: plugin not found|plugin "nope" not found/,
  },
  {
    what: 'an overlay without a cluster',
    args: ['network', 'create', '-d', 'overlay', 'x'],
    exitCode: 1,
    stderr: /This node is not a swarm manager\. Use "docker swarm init" or "docker swarm join"/,
  },
  {
    what: 'a subnet that is none',
    args: ['network', 'create', '--subnet', 'banana', 'x'],
    exitCode: 1,
    stderr: /invalid CIDR address: banana|invalid subnet banana/,
  },
  {
    what: 'a subnet with host bits',
    args: ['network', 'create', '--subnet', '10.81.0.1/24', 'x'],
    exitCode: 1,
    stderr: /invalid subnet 10\.81\.0\.1\/24: it should be 10\.81\.0\.0\/24/,
    older: 'accepted',
  },
  {
    what: 'a subnet that overlaps another network',
    args: ['network', 'create', '--subnet', '10.80.0.0/16', 'x'],
    exitCode: 1,
    stderr: /Pool overlaps with other one on this address space/,
  },
  {
    what: 'a gateway outside its subnet',
    args: ['network', 'create', '--subnet', '10.82.0.0/24', '--gateway', '10.83.0.1', 'x'],
    exitCode: 1,
    stderr: /no matching subnet for gateway/,
  },
  {
    what: 'a driver option with a senseless value',
    args: ['network', 'create', '-o', 'com.docker.network.driver.mtu=many', 'x'],
    exitCode: 1,
    stderr: /failed to parse com\.docker\.network\.driver\.mtu value: many/,
    older: /Invalid value|invalid syntax/i,
  },
  {
    what: 'a predefined name',
    args: ['network', 'create', 'bridge'],
    exitCode: 1,
    stderr: /operation is not permitted on predefined bridge network/,
  },
  {
    what: 'a full pool',
    args: ['run', '-d', '--network', 'n1', 'busybox', 'true'],
    exitCode: 125,
    stderr: /no available IPv4 addresses on this network's address pools: n1 \([0-9a-f]{64}\)/,
  },
  {
    what: 'an unknown network on run',
    args: ['run', '-d', '--network', 'nope', 'busybox', 'true'],
    exitCode: 125,
    stderr: /network nope not found/,
  },
  {
    what: 'an unknown network on inspect',
    args: ['network', 'inspect', 'nope'],
    exitCode: 1,
    stderr: /network nope not found/,
  },
  {
    what: 'an unknown network on rm',
    args: ['network', 'rm', 'nope'],
    exitCode: 1,
    stderr: /network nope not found/,
  },
  {
    what: 'a network in use on rm',
    args: ['network', 'rm', 'n1'],
    exitCode: 1,
    stderr: /error while removing network: network n1 .*has active endpoints/,
  },
  {
    what: 'a predefined network on rm',
    args: ['network', 'rm', 'bridge'],
    exitCode: 1,
    stderr: /bridge is a pre-defined network and cannot be removed/,
  },
  {
    what: 'an address on the default network',
    args: ['run', '-d', '--ip', '172.17.0.9', 'busybox', 'true'],
    exitCode: 125,
    stderr: /user[- ]specified IP address is supported on user[- ]defined networks only/,
  },
  {
    what: 'an address outside the network',
    args: ['run', '-d', '--network', 'n2', '--ip', '10.99.0.1', 'busybox', 'true'],
    exitCode: 125,
    stderr: /no configured subnet contains IP address 10\.99\.0\.1/,
    older: /It does not belong to any of this network's subnets/,
  },
  {
    what: 'an address that is taken',
    args: ['run', '-d', '--network', 'n2', '--ip', '10.84.0.5', 'busybox', 'true'],
    exitCode: 125,
    stderr: /Address already in use/,
  },
  {
    what: 'a container name that is taken',
    args: ['run', '-d', '--name', 'w1', 'busybox', 'true'],
    exitCode: 125,
    stderr: /Conflict\. The container name "\/w1" is already in use by container "[0-9a-f]{64}"/,
  },
  {
    what: 'a container name with a space',
    args: ['run', '-d', '--name', 'w 1', 'busybox', 'true'],
    exitCode: 125,
    stderr: /Invalid container name \(w 1\), only \[a-zA-Z0-9\]\[a-zA-Z0-9_\.-\]+ are allowed/i,
  },
  {
    what: 'an image that is not there',
    args: ['run', '--pull', 'never', 'nosuch:1', 'true'],
    exitCode: 125,
    stderr: /No such image: nosuch:1/,
  },
  {
    what: 'a command that is not there',
    args: ['run', 'busybox', '/nosuch'],
    exitCode: 127,
    stderr: /\/nosuch.*no such file or directory/,
  },
  {
    what: 'a command that is not in PATH',
    args: ['run', 'busybox', 'nosuch'],
    exitCode: 127,
    stderr: /"nosuch": executable file not found in \$PATH/,
  },
  {
    what: 'a command that cannot be executed',
    args: ['run', 'busybox', '/etc/passwd'],
    exitCode: 126,
    stderr: /\/etc\/passwd.*permission denied/,
  },
  {
    what: 'an unknown container',
    args: ['inspect', 'nope'],
    exitCode: 1,
    stderr: /No such (object|container): nope/,
  },
  {
    what: 'an unknown filter',
    args: ['network', 'ls', '--filter', 'foo=bar'],
    exitCode: 1,
    stderr: /invalid filter 'foo'/i,
  },
];

for (const engine of engines()) {
  const isReference = engine.kind === 'dockerd';
  describe(`bad input: ${engine.name}`, () => {
    let daemon: Daemon;
    let client: ContainerdClient | undefined;
    let was: unknown;
    /** Read after each refusal, so without programs where that can be. */
    const inventory = async (): Promise<unknown> => {
      const state = await readHostState(daemon, client);
      const ids = async (path: string): Promise<readonly string[]> => {
        const { status, body } = await callApi(daemon.socketPath, 'GET', path);
        assert.equal(status, 200, body);
        return (JSON.parse(body) as { Id: string }[]).map(({ Id }) => Id).toSorted();
      };
      // 20.10 lets go of namespaces and shims some time after the container is gone.
      const late = isReference ? { shims: 0, namespaceMounts: 0, overlayMounts: 0, snapshots: [] } : {};
      return { ...state, ...late, networks: await ids('/networks'), images: await ids('/images/json') };
    };
    before(async () => {
      daemon = await startDaemon(engine);
      if (!isReference) client = await openClient(daemon.containerd.socketPath, openSeam());
      await daemon.cli(['network', 'create', '--subnet', '10.80.0.0/30', 'n1']);
      await daemon.cli(['network', 'create', '--subnet', '10.84.0.0/24', 'n2']);
      await daemon.cli(['run', '-d', '--name', 'w1', '--network', 'n1', 'busybox', 'sleep', '999']);
      const fixed = ['--network', 'n2', '--ip', '10.84.0.5'];
      await daemon.cli(['run', '-d', '--name', 'w2', ...fixed, 'busybox', 'sleep', '999']);
      was = await inventory();
    });
    after(async () => {
      client?.[Symbol.dispose]();
      await daemon[Symbol.asyncDispose]();
    });

    /** Created containers stay after a failed start, as Docker's do; the user removes them. */
    const removeOthers = async (): Promise<void> => {
      const { stdout } = await daemon.cli(['ps', '-a', '--format', '{{.Names}}']);
      const others = stdout.split('\n').filter((name) => !['w1', 'w2', ''].includes(name));
      if (others.length > 0) await daemon.cli(['rm', '-f', ...others]);
    };

    for (const { what, args, exitCode, stderr, older } of refusals) {
      const skip = isReference && older === 'accepted' && notAsked('it accepts that');
      test(`${what} is refused`, { skip }, async () => {
        const expected = isReference && older instanceof RegExp ? older : stderr;
        await daemon.cli(args, { exitCode, stderr: expected });
        await removeOthers();
        assert.deepEqual(await inventory(), was);
      });
    }

    test('the last line of a missing network’s inspect is [] on stdout', async () => {
      await daemon.cli(['network', 'inspect', 'nope'], { exitCode: 1, stdout: '[]' });
    });

    for (const { what, make, stderr, command } of forgedArchives) {
      const skip = isReference && notAsked('it takes some of these and cuts the paths off');
      test(`${what} is refused`, { skip }, async () => {
        const path = '/run/compat/forged.tar';
        writeFileSync(path, await make(readFileSync(busyboxImage())));
        const args = command === 'load' ? ['load', '-i', path] : ['import', path, 'forged:1'];
        await daemon.cli(args, { exitCode: 1, stderr });
        assert.deepEqual(await inventory(), was);
      });
    }

    test('malformed and oversized bodies are refused', async () => {
      for (const [body, status] of [
        ['{"Name":', 400],
        ['[]', 400],
        ['{"Name": 7}', 400],
      ] as const) {
        const answer = await callApi(daemon.socketPath, 'POST', '/networks/create', body);
        assert.equal(answer.status, status, `${body}: ${answer.body}`);
        assert.notEqual(answer.message, '');
      }
      if (isReference) return;
      const huge = JSON.stringify({ Name: 'x', Labels: { a: 'b'.repeat(64 * 1024 * 1024) } });
      const answer = await callApi(daemon.socketPath, 'POST', '/networks/create', huge);
      assert.ok([400, 413].includes(answer.status), `${answer.status} ${answer.body}`);
      assert.deepEqual(await inventory(), was);
    });

    test('unknown versions, routes and features say so', async () => {
      const { socketPath } = daemon;
      const newer = await callApi(socketPath, 'GET', '/v9.99/networks');
      assert.equal(newer.status, 400);
      assert.match(
        newer.message,
        /client version 9\.99 is too new\. Maximum supported API version is 1\.\d+/,
      );
      const older = await callApi(socketPath, 'GET', '/v1.10/networks');
      assert.equal(older.status, 400);
      if (!isReference)
        assert.match(
          older.message,
          /client version 1\.10 is too old\. Minimum supported API version is 1\.\d+/,
        );
      assert.equal((await callApi(socketPath, 'GET', '/nosuch')).status, 404);
      assert.equal((await callApi(socketPath, 'GET', '/v1.41/networks')).status, 200);
      assert.equal((await callApi(socketPath, 'GET', '/networks')).status, 200);
      if (isReference) return;
      const absent = await callApi(socketPath, 'POST', '/services/create', '{}');
      assert.equal(absent.status, 501);
      assert.notEqual(absent.message, '');
    });
  });
}
