/*
 * `system df` and `system prune`: what things take on the disk, and everything unused gone at once.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { notAsked } from '../arch/skips.ts';
import { testOnce } from './reference.ts';

interface DiskUsage {
  readonly LayersSize: number;
  readonly Images:
    | readonly { readonly Size: number; readonly SharedSize: number; readonly Containers: number }[]
    | null;
  readonly Containers: readonly { readonly Names: readonly string[]; readonly SizeRw?: number }[] | null;
  readonly Volumes:
    | readonly {
        readonly Name: string;
        readonly UsageData: { readonly RefCount: number; readonly Size: number };
      }[]
    | null;
  readonly BuildCache: readonly unknown[] | null;
}

for (const engine of engines()) {
  describe(`disk usage: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
      const fill =
        'head -c 1000000 /dev/zero > /v/a; ln -s / /v/away; ln /v/a /v/b; head -c 20000 /dev/zero > /x; sleep 1000';
      await daemon.cli([
        'run',
        '-d',
        '--name',
        'up',
        '-v',
        'vol:/v',
        '-v',
        '/anon',
        'busybox',
        'sh',
        '-c',
        fill,
      ]);
      await daemon.cli(['run', '--name', 'gone', '-v', 'other:/v', 'busybox', 'true']);
      await daemon.cli(['volume', 'create', 'spare']);
      await daemon.cli(['network', 'create', 'unused']);
      await daemon.cli(['exec', 'up', 'sh', '-c', 'while [ ! -s /x ]; do sleep 0.1; done']);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    const usage = async (query = ''): Promise<DiskUsage> =>
      JSON.parse((await callApi(daemon.socketPath, 'GET', `/v1.50/system/df${query}`)).body) as DiskUsage;

    testOnce(engine)(
      'each image, container and volume is measured, and nothing outside of them',
      async (t) => {
        if (daemon.isReference) return t.skip(notAsked('its figures are those of API 1.41'));
        const { LayersSize, Images, Containers, Volumes, BuildCache } = await usage();
        assert.deepEqual(
          [Images?.length, Images?.[0]?.SharedSize, Images?.[0]?.Containers, BuildCache],
          [1, 0, 2, []],
        );
        assert.equal(Images?.[0]?.Size, LayersSize);
        const up = Containers?.find(({ Names }) => Names[0] === '/up')?.SizeRw ?? 0;
        assert.ok(Containers?.length === 2 && up >= 20_000 && up < 60_000, String(up));
        const volumes = Object.fromEntries((Volumes ?? []).map(({ Name, UsageData }) => [Name, UsageData]));
        assert.deepEqual(volumes['vol'], { RefCount: 1, Size: 1_000_000 });
        assert.deepEqual(volumes['spare'], { RefCount: 0, Size: 0 });
        const part = await usage('?type=volume');
        assert.deepEqual([part.Images, part.Containers, part.Volumes?.length], [null, null, 4]);
        const { status } = await callApi(daemon.socketPath, 'GET', '/v1.50/system/df?type=x');
        assert.equal(status, 400);
      },
    );

    test('sums and tables', async () => {
      await daemon.cli(['system', 'df'], {
        stdout:
          /^TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE\nImages +1 +1 .*\nContainers +2 +1 .*\nLocal Volumes +4 +3 +1MB +0B \(0%\)\nBuild Cache +0 +0 +0B +0B$/,
      });
      await daemon.cli(['system', 'df', '-v'], {
        stdout:
          /^Images space usage:\n[^]*\nbusybox +latest [^]* up\n[^]*\nvol +1 +1MB\n[^]*\nBuild cache usage: 0B\n/,
      });
    });

    test('system prune takes what nothing uses, and volumes and images when told', async () => {
      await daemon.cli(['system', 'prune', '-f', '--filter', 'foo=bar'], {
        exitCode: 1,
        stderr: /nvalid filter/,
      });
      await daemon.cli(['system', 'prune'], {
        stdout: /^WARNING! This will remove:\n {2}- all stopped containers\n/,
      });
      await daemon.cli(['system', 'prune', '-f'], {
        stdout: /^Deleted Containers:\n[0-9a-f]{64}\n\nDeleted Networks:\nunused\n\nTotal reclaimed space: /,
      });
      await daemon.cli(['rm', '-f', 'up']);
      await daemon.cli(['system', 'prune', '-af', '--volumes'], {
        stdout:
          /^Deleted Volumes:\n[^]*Deleted Images:\nuntagged: busybox:latest\ndeleted: sha256:[^]*\nTotal reclaimed space: [\d.]+MB$/,
      });
      const { stdout } = await daemon.cli(['volume', 'ls', '-q']);
      if (!daemon.isReference) assert.deepEqual(stdout.split('\n').toSorted(), ['other', 'spare', 'vol']);
    });
  });
}
