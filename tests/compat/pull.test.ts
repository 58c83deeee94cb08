/*
 * Pulling, from Debian's docker-registry and from registries that misbehave: what comes, what is said, and that
 * nothing is left of what failed. What a registry does to the daemon does not depend on the command line that asks: of
 * the errors, the second one shows one from before the first line of output and one from after it, and of the rest what
 * it shows or does itself.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, afterEach, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { openSeam } from '../../src/base/seam.ts';
import { type ContainerdClient, openClient } from '../../src/runtime/containerd/client.ts';
import { callApi } from './api.ts';
import { eventually } from './command.ts';
import { busyboxImage, type Daemon, startDaemon } from './daemonFixture.ts';
import { hostAddress, inHost } from './hosts.ts';
import { ownEngines } from './reference.ts';
import { type Filled, type Registries, startRegistries } from './registries.ts';

const real = '127.0.0.1:5000';
const faulty = '127.0.0.1:5001';

/** Everything that an image could leave in containerd. */
async function readContent(
  client: ContainerdClient,
): Promise<Readonly<Record<'blobs' | 'uploads' | 'images' | 'snapshots' | 'leases', readonly string[]>>> {
  const filters: readonly string[] = [];
  const blobs: string[] = [];
  for await (const { info } of client.stream('Content.List', { filters }))
    blobs.push(...info.map(({ digest }) => digest));
  const snapshots: string[] = [];
  for await (const { info } of client.stream('Snapshots.List', { snapshotter: 'overlayfs', filters }))
    snapshots.push(...info.map(({ name, parent, kind }) => `${name} ${parent} ${kind}`));
  const { statuses } = await client.call('Content.ListStatuses', { filters });
  const { images } = await client.call('Images.List', { filters });
  const { leases } = await client.call('Leases.List', { filters });
  return {
    blobs: blobs.toSorted(),
    uploads: statuses.map(({ ref }) => ref).toSorted(),
    images: images.map(({ name }) => name).toSorted(),
    snapshots: snapshots.toSorted(),
    leases: leases.map(({ id }) => id).toSorted(),
  };
}

const judged = ownEngines('how a registry is borne with is our own code');

for (const engine of judged) {
  const isFirst = engine === judged[0];

  describe(`pull: ${engine.name}`, () => {
    let daemon: Daemon;
    let registries: Registries;
    let filled: Filled;
    let client: ContainerdClient;
    let empty: unknown;

    before(async () => {
      daemon = await startDaemon(engine, [
        ...['--insecure-registry', `${hostAddress}:5000`],
        // Nobody answers at the first.
        ...['--registry-mirror', 'http://127.0.0.1:5998', '--registry-mirror', `http://${real}/`],
      ]);
      registries = await startRegistries();
      filled = registries.fill('lib/six', '1');
      client = await openClient(daemon.containerd.socketPath, openSeam());
      empty = await readContent(client);
    });
    after(async () => {
      registries[Symbol.dispose]();
      client[Symbol.dispose]();
      await daemon[Symbol.asyncDispose]();
    });

    // Each test starts without what the one before pulled, so that it can run alone.
    afterEach(async () => {
      const { stdout } = await daemon.cli(['images', '--format', '{{.Repository}} {{.ID}}']);
      const others = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('busybox '));
      const ids = new Set(others.map((line) => line.split(' ')[1] ?? ''));
      if (ids.size > 0) await daemon.cli(['rmi', '-f', ...ids]);
    });

    const pullSix = (): Promise<unknown> => daemon.cli(['pull', '-q', `${real}/lib/six:1`]);
    const assertNothingLeft = async (): Promise<void> => {
      let content: unknown;
      await eventually(async () => {
        content = await readContent(client);
        return isDeepStrictEqual(content, empty);
      }, 5000);
      assert.deepEqual(content, empty, daemon.logTail());
    };
    const remove = (name: string): Promise<unknown> => daemon.cli(['rmi', name]);

    test('an image comes in, layer by layer, with its digest', async () => {
      const { stdout } = await daemon.cli(['pull', `${real}/lib/six:1`]);
      const short = filled.layerDigests.map((digest) => digest.slice(7, 19));
      assert.match(stdout, /^1: Pulling from lib\/six$|^1: Pulling from 127\.0\.0\.1:5000\/lib\/six$/m);
      for (const id of short)
        for (const status of ['Pulling fs layer', 'Verifying Checksum', 'Download complete', 'Pull complete'])
          assert.ok(stdout.includes(`${id}: ${status}`), `${id}: ${status} in\n${stdout}`);
      assert.match(stdout, new RegExp(`^Digest: ${filled.indexDigest}$`, 'm'));
      assert.match(stdout, new RegExp(`^Status: Downloaded newer image for ${real}/lib/six:1$`, 'm'));
      assert.match(stdout, new RegExp(`\n${real}/lib/six:1$`));
    });

    test('it shows its digest and runs', async () => {
      const { cli } = daemon;
      const name = `${real}/lib/six`;
      await pullSix();
      await cli(['images', '--digests', '--format', '{{.Repository}}:{{.Tag}} {{.Digest}}', name], {
        stdout: `${name}:1 ${filled.indexDigest}`,
      });
      await cli(['image', 'inspect', '-f', '{{json .RepoDigests}} {{.Id}}', `${name}:1`], {
        stdout: `["${name}@${filled.indexDigest}"] ${filled.configDigest}`,
      });
      await cli(['run', '--rm', `${name}:1`, 'sh', '-c', 'wc -l < /layer0; wc -l < /layer4'], {
        stdout: '1000\n5000',
      });
      await cli(['run', '--rm', `${name}@${filled.indexDigest}`, 'echo', 'by digest'], {
        stdout: 'by digest',
      });
    });

    test('of an index with two platforms this machine’s comes, or the one that is asked for', async () => {
      const id = ['image', 'inspect', '-f', '{{.Id}} {{.Architecture}}', `${real}/lib/six:1`];
      await pullSix();
      const { stdout } = await daemon.cli(id);
      assert.ok(stdout.startsWith(`${filled.configDigest} `), stdout);
      await daemon.cli(['pull', '-q', '--platform', 'linux/s390x', `${real}/lib/six:1`]);
      await daemon.cli(id, { stdout: `${filled.foreignConfigDigest} s390x` });
      await daemon.cli(['pull', '--platform', 'linux/ppc64le', `${real}/lib/six:1`], {
        exitCode: 1,
        stderr: /no matching manifest for linux\/ppc64le in the manifest list entries/,
      });
      await daemon.cli(id, { stdout: `${filled.foreignConfigDigest} s390x` });
    });

    test('pulled again it is up to date', async () => {
      await pullSix();
      const { stdout } = await daemon.cli(['pull', `${real}/lib/six:1`]);
      assert.match(stdout, /^Status: Image is up to date for /m);
      assert.doesNotMatch(stdout, /Pulling fs layer|Download/);
    });

    test('layers that are here are not fetched again', async () => {
      registries.fill('lib/twin', '1');
      await daemon.cli(['pull', '-q', `${real}/lib/six:1`], { stdout: `${real}/lib/six:1` });
      const { stdout } = await daemon.cli(['pull', `${real}/lib/twin:1`]);
      // The same image under another name: known, so nothing is said of its layers.
      assert.match(stdout, /Status: Downloaded newer image for /);
      assert.doesNotMatch(stdout, /Pulling fs layer/);
      await remove(`${real}/lib/twin:1`);
      await daemon.cli(['images', '-q', `${real}/lib/six`], { stdout: /^[0-9a-f]{12}$/ });
      await remove(`${real}/lib/six:1`);
      await assertNothingLeft();
    });

    test('every tag of a repository comes', async () => {
      for (const tag of ['a', 'b']) registries.fill('lib/many', tag);
      const name = `${real}/lib/many`;
      const { stdout } = await daemon.cli(['pull', '-a', name]);
      for (const tag of ['a', 'b']) assert.match(stdout, new RegExp(`^${tag}: Pulling from ${name}$`, 'm'));
      assert.equal(stdout.match(/^Digest: sha256:/gm)?.length, 2);
      assert.ok(stdout.endsWith(`\nStatus: Downloaded newer image for ${name}\n${name}`), stdout);
      await daemon.cli(['images', '--format', '{{.Tag}}', name], { stdout: /^(a\nb|b\na)$/ });
      await daemon.cli(['pull', '-a', `${real}/lib/nothing`], {
        exitCode: 1,
        stderr: /not found|repository/,
      });
    });

    test('run pulls what is missing', async () => {
      const { stdout, stderr } = await daemon.cli(['run', '--rm', `${real}/lib/six:1`, 'echo', 'ran']);
      assert.equal(stdout, 'ran');
      assert.match(stderr, /^Unable to find image '127\.0\.0\.1:5000\/lib\/six:1' locally/);
      assert.match(stderr, /Status: Downloaded newer image/);
      await remove(`${real}/lib/six:1`);
      await assertNothingLeft();
    });

    test('a terminal shows bars', async () => {
      const words = `${engine.cli} -H unix://${daemon.socketPath} pull ${real}/lib/six:1`;
      const { stdout } = await daemon.host(['script', '-qec', words, '/dev/null']);
      assert.match(stdout, /Downloading +(\[=*> *\])? +[\d.]+[kM]?B\/[\d.]+[kM]?B/);
      assert.match(stdout, /Extracting/);
      assert.match(stdout, /Pull complete/);
      await remove(`${real}/lib/six:1`);
    });

    test('load and import show at a terminal what they send and unpack', async () => {
      const shown = async (...args: string[]): Promise<string> => {
        const words = [engine.cli, '-H', `unix://${daemon.socketPath}`, ...args].join(' ');
        return (await daemon.host(['script', '-qec', words, '/dev/null'])).stdout;
      };
      const loaded = await shown('load', '-i', busyboxImage());
      assert.match(
        loaded,
        /Loading layer +\[=*>? *\] +[\d.]+[kM]?B\/[\d.]+[kM]?B|Loading layer +[\d.]+[kM]?B/,
      );
      assert.match(loaded, /Loaded image: busybox:latest/);
      const imported = await shown('import', busyboxImage(), 'imported:1');
      assert.match(imported, /sha256:[0-9a-f]{64}/);
      if (engine.cli !== 'docker')
        for (const text of [loaded, imported]) assert.match(text, /Sending .*[\d.]+[kM]?B\/[\d.]+[kM]?B/);
      await remove('imported:1');
      await assertNothingLeft();
    });

    test('by digest alone it has no tag', async () => {
      const name = `${real}/lib/six@${filled.manifestDigest}`;
      await daemon.cli(['pull', name], { stdout: new RegExp(`Digest: ${filled.manifestDigest}`) });
      await daemon.cli(['images', '--format', '{{.Repository}} {{.Tag}}', '--no-trunc'], {
        stdout: new RegExp(`^${real}/lib/six <none>$`, 'm'),
      });
      await remove(name);
      await assertNothingLeft();
    });

    const refused: readonly { what: string; name: string; stderr: RegExp; status: number }[] = [
      {
        what: 'a tag that is not there',
        name: `${real}/lib/six:2`,
        stderr: /manifest for 127\.0\.0\.1:5000\/lib\/six:2 not found: manifest unknown: manifest unknown/,
        status: 404,
      },
      {
        what: 'a digest that is not there',
        name: `${real}/lib/six@sha256:${'0'.repeat(64)}`,
        stderr: /manifest for 127\.0\.0\.1:5000\/lib\/six@sha256:0+ not found: manifest unknown/,
        status: 404,
      },
      {
        what: 'a repository that may not be read',
        name: `${faulty}/fault/denied:1`,
        stderr:
          /pull access denied for 127\.0\.0\.1:5001\/fault\/denied, repository does not exist or may require 'docker login': denied: requested access to the resource is denied/,
        status: 404,
      },
      {
        what: 'a registry that is not there',
        name: '127.0.0.1:5999/x:1',
        stderr:
          /Get "http:\/\/127\.0\.0\.1:5999\/v2\/": dial tcp 127\.0\.0\.1:5999: connect: connection refused/,
        status: 500,
      },
      {
        what: 'a host that has no address',
        name: 'nosuch.invalid/x:1',
        stderr: /Get "https:\/\/nosuch\.invalid\/v2\/": dial tcp: lookup nosuch\.invalid.*: no such host/,
        status: 500,
      },
      {
        what: 'Docker Hub without a way to it',
        name: 'nosuch:1',
        stderr: /Get "https:\/\/registry-1\.docker\.io\/v2\/": dial tcp/,
        status: 500,
      },
      {
        what: 'an image for other machines only',
        name: `${faulty}/fault/arch:1`,
        stderr: /no matching manifest for linux\/\w+ in the manifest list entries/,
        status: 404,
      },
      {
        what: 'a manifest with another digest',
        name: `${faulty}/fault/manifest:1`,
        stderr: /manifest verification failed for digest sha256:[0-9a-f]{64}/,
        status: 400,
      },
      {
        what: 'a registry that wants a password',
        name: '127.0.0.1:5004/fault/none:1',
        stderr: /no basic auth credentials/,
        status: 500,
      },
      {
        what: 'a token that is not given',
        name: '127.0.0.1:5002/private/x:1',
        stderr: /unauthorized: authentication required/,
        status: 500,
      },
    ];
    for (const { what, name, stderr, status } of isFirst ? refused : refused.slice(0, 1))
      test(`${what} is an error`, async () => {
        await daemon.cli(['pull', name], { exitCode: 1, stderr });
        const [, image = '', tag = ''] = /^(.*?)[:@]((?:sha256:)?[^:/]+)$/.exec(name) ?? [];
        const path = `/images/create?fromImage=${encodeURIComponent(image)}&tag=${encodeURIComponent(tag)}`;
        const answer = await callApi(daemon.socketPath, 'POST', path);
        assert.equal(answer.status, status, answer.body);
        assert.match(answer.message, stderr);
        await assertNothingLeft();
      });

    const broken: readonly { what: string; name: string; stderr: RegExp }[] = [
      {
        what: 'a layer with another digest',
        name: 'digest',
        stderr: /filesystem layer verification failed for digest sha256:[0-9a-f]{64}/,
      },
      { what: 'a layer that is too long', name: 'long', stderr: /is longer than the \d+ bytes/ },
      {
        what: 'a layer that always breaks off',
        name: 'always',
        stderr: /Get ".*": .*(EOF|terminated|closed)/,
      },
      { what: 'a layer that is not there', name: 'gone', stderr: /blob unknown: blob unknown to registry/ },
      {
        what: 'a redirect to plain HTTP elsewhere',
        name: 'plain',
        stderr: /redirects to where no image may/,
      },
    ];
    for (const { what, name, stderr } of isFirst ? broken : broken.slice(0, 1))
      test(`${what} is an error and leaves nothing`, async () => {
        await daemon.cli(['pull', `${faulty}/fault/${name}:1`], { exitCode: 1, stderr });
        await assertNothingLeft();
      });

    test('a client that goes away ends the pull, and nothing is left', async () => {
      registries.seen.length = 0;
      const words = [...inHost('A'), engine.cli, '-H', `unix://${daemon.socketPath}`];
      const child = spawn(words[0] ?? '', [...words.slice(1), 'pull', `${faulty}/fault/slow:1`], {
        stdio: 'ignore',
      });
      const isAsked = (): boolean =>
        registries.seen.filter(({ path }) => path.includes('/blobs/')).length >= 2;
      assert.ok(await eventually(isAsked, 10_000), JSON.stringify(registries.seen));
      child.kill('SIGKILL');
      await assertNothingLeft();
    });

    test('a mirror gives what Docker Hub would, and one that is down is passed over', async () => {
      registries.fill('library/mirrored', '1');
      await daemon.cli(['pull', 'mirrored:1'], {
        stdout: /Status: Downloaded newer image for mirrored:1\n/,
      });
      await daemon.cli(['run', '--rm', 'mirrored:1', 'echo', 'ran'], { stdout: 'ran' });
      await remove('mirrored:1');
      await daemon.cli(['pull', '-a', 'mirrored'], {
        stdout: /Status: Downloaded newer image for mirrored\n/,
      });
      await remove('mirrored:1');
      await assertNothingLeft();
      const { stdout } = await daemon.cli(['info']);
      assert.match(stdout, new RegExp(`^ Insecure Registries:\n  ${hostAddress}:5000\n`, 'm'));
      assert.match(
        stdout,
        /^ Registry Mirrors:\n  http:\/\/127\.0\.0\.1:5998\/\n  http:\/\/127\.0\.0\.1:5000\/$/m,
      );
    });

    if (!isFirst) return;

    test('plain HTTP is spoken to a configured registry and to no other', async () => {
      await daemon.cli(['pull', '-q', `${hostAddress}:5000/lib/six:1`], { exitCode: 0 });
      await remove(`${hostAddress}:5000/lib/six:1`);
      registries.seen.length = 0;
      await daemon.cli(['pull', `${hostAddress}:5001/fault/none:1`], {
        exitCode: 1,
        stderr: new RegExp(`Get "https://${hostAddress}:5001/v2/": `),
      });
      assert.deepEqual(registries.seen, []);
      await assertNothingLeft();
    });

    test('a download that broke off goes on where it ended', async () => {
      registries.seen.length = 0;
      await daemon.cli(['pull', '-q', `${faulty}/fault/once:1`]);
      const ranges = registries.seen.filter(({ range }) => range !== undefined);
      assert.equal(ranges.length, 1, JSON.stringify(registries.seen));
      assert.match(ranges[0]?.range ?? '', /^bytes=[1-9]\d*-$/);
      await daemon.cli(['run', '--rm', `${faulty}/fault/once:1`, 'echo', 'whole'], { stdout: 'whole' });
      await remove(`${faulty}/fault/once:1`);
    });

    for (const name of ['norange', 'busy'])
      test(`a registry of the kind ${name} is borne with`, async () => {
        await daemon.cli(['pull', '-q', `${faulty}/fault/${name}:1`]);
        await daemon.cli(['run', '--rm', `${faulty}/fault/${name}:1`, 'echo', 'whole'], { stdout: 'whole' });
        await remove(`${faulty}/fault/${name}:1`);
        await assertNothingLeft();
      });

    test('a token is fetched, and a redirect to another host does not carry it', async () => {
      registries.seen.length = 0;
      await daemon.cli(['pull', '-q', '127.0.0.1:5002/open/x:1']);
      const tokens = registries.seen.filter(({ path }) => path.startsWith('/token?'));
      assert.match(tokens[0]?.path ?? '', /scope=repository%3Aopen%2Fx%3Apull/);
      const redirected = registries.seen.filter(({ port }) => port === 5003);
      assert.ok(redirected.length >= 2);
      assert.ok(registries.seen.some(({ authorization }) => authorization === 'Bearer the-token'));
      for (const { authorization } of redirected) assert.equal(authorization, undefined);
      await remove('127.0.0.1:5002/open/x:1');
      await assertNothingLeft();
    });

    test('credentials of the request open what is closed', async () => {
      const auth = Buffer.from(JSON.stringify({ username: 'ann', password: 'secret' })).toString('base64url');
      for (const name of ['127.0.0.1:5002/private/x', '127.0.0.1:5004/fault/none']) {
        const path = `/images/create?fromImage=${encodeURIComponent(name)}&tag=1`;
        const answer = await callApi(daemon.socketPath, 'POST', path, undefined, { 'X-Registry-Auth': auth });
        assert.equal(answer.status, 200, answer.body);
        assert.match(answer.body, /Status: Downloaded newer image/);
        await remove(`${name}:1`);
      }
      await assertNothingLeft();
    });
  });
}
