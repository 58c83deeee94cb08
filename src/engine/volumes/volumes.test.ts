import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { silentLogger } from '../../base/logger.ts';
import { openSeam, Seam } from '../../base/seam.ts';
import { FakeMounts, MemoryStore } from '../containers/fakes.ts';
import { EventLog } from '../events.ts';
import type { Container, ContainerId } from '../model.ts';
import type { CopyOutcome } from './folders.ts';
import { LocalVolumes } from './volumes.ts';

class World implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'linkspan-volumes-'));
  readonly store: MemoryStore = new MemoryStore();
  readonly events: EventLog = new EventLog();
  readonly mounts: FakeMounts = new FakeMounts();

  /** What a daemon start does. */
  async open(containers: readonly Container[] = [], seam: Seam = openSeam()): Promise<LocalVolumes> {
    const { store, events, folder } = this;
    const volumes = new LocalVolumes({
      ...{ store, events, folder, seam, clock: systemClock, logger: silentLogger },
      hostMounts: this.mounts,
    });
    await volumes.recover(containers);
    return volumes;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

const id = 'c1' as ContainerId;

function containerWith(...names: readonly string[]): Container {
  const mounts = names.map((name) => ({ type: 'volume', name, target: `/${name}`, isAnonymous: true }));
  return { id, mounts, state: 'exited', removesVolumes: true } as unknown as Container;
}

const named = (name: string): Parameters<LocalVolumes['create']>[0] => ({ name, driver: '' });

for (const [name, message] of [
  ['a', /^create a: volume name is too short/],
  ['.hidden', /includes invalid characters for a local volume name, only "\[a-zA-Z0-9\]/],
  ['a/b', /"a\/b" includes invalid characters/],
  ['..', /includes invalid characters/],
  ['a\nb', /includes invalid characters/],
  ['a'.repeat(256), /^create a{32}\.\.\.: volume name is too long, names should be at most 255 characters$/],
] as const) {
  test(`a volume cannot be called ${JSON.stringify(name.slice(0, 20))}`, async () => {
    using world = new World();
    const volumes = await world.open();
    await assert.rejects(volumes.create(named(name)), { code: 'volumeInvalid', message });
    assert.deepEqual([readdirSync(world.folder), [...world.store.entries.keys()]], [[], []]);
  });
}

test('a claim that is not confirmed takes back what it made, and nothing else', async () => {
  using world = new World();
  const volumes = await world.open();
  await volumes.create(named('old'));
  {
    await using claim = volumes.claim(id);
    await claim.take(named('old'));
    await claim.take(named('new'));
    await claim.take(named(''));
    assert.equal(readdirSync(world.folder).length, 3);
  }
  assert.deepEqual(readdirSync(world.folder), ['old']);
  assert.deepEqual([...world.store.entries.keys()], ['volumes/old']);
  assert.deepEqual(volumes.users('old'), []);
});

test('a daemon that dies before the container has its record leaves no anonymous volume', async () => {
  using world = new World();
  const volumes = await world.open();
  const claim = volumes.claim(id);
  const { name } = await claim.take(named(''));
  const after = await world.open();
  assert.deepEqual([after.list(), existsSync(join(world.folder, name))], [[], false]);
});

test('one that dies after it leaves the volume, with its user', async () => {
  using world = new World();
  const volumes = await world.open();
  const claim = volumes.claim(id);
  const { name } = await claim.take(named(''));
  await world.store.txn({ write: claim.writes });
  const after = await world.open([containerWith(name)]);
  assert.deepEqual(after.users(name), [id]);
  await assert.rejects(after.remove(name, true), {
    code: 'volumeInUse',
    message: `remove ${name}: volume is in use - [c1]`,
  });
  await after.release(containerWith(name));
  assert.deepEqual([after.list(), readdirSync(world.folder)], [[], []]);
});

test('whichever step of making and removing a volume fails, record and folder agree', async () => {
  for (let failAt = 1; failAt <= 2; failAt += 1) {
    using world = new World();
    const seam = new Seam({ at: failAt, action: { errno: 'ENOSPC' } });
    const volumes = await world.open([], seam);
    seam.arm();
    await volumes.create(named('data')).catch(() => {});
    await volumes.remove('data', false).catch(() => {});
    const names = volumes.list().map(({ name }) => name);
    assert.deepEqual(readdirSync(world.folder), names, `step ${failAt}`);
    assert.deepEqual(
      [...world.store.entries.keys()],
      names.map((name) => `volumes/${name}`),
    );
    await (await world.open()).create(named('data'));
  }
});

test('a removal that a restart interrupts is finished, unless a container has the volume', async () => {
  using world = new World();
  await (await world.open()).create(named('data'));
  const put = { name: 'data', state: 'removing', createdAt: '2026-01-01T00:00:00Z' };
  await world.store.txn({ write: [{ key: 'volumes/data', put }] });
  assert.equal((await world.open([containerWith('data')])).get('data').state, 'ready');
  await world.store.txn({ write: [{ key: 'volumes/data', put }] });
  assert.deepEqual((await world.open()).list(), []);
  assert.deepEqual(readdirSync(world.folder), []);
});

test('a folder whose record is lost is a volume again', async () => {
  using world = new World();
  mkdirSync(join(world.folder, 'found/_data'), { recursive: true });
  mkdirSync(join(world.folder, 'no-volume'));
  const volumes = await world.open();
  assert.deepEqual(
    volumes.list().map(({ name }) => name),
    ['found'],
  );
});

test('what a copy that a restart cut short has left goes away', async () => {
  using world = new World();
  await (await world.open()).create(named('data'));
  mkdirSync(join(world.folder, 'data/_copy'));
  await world.open();
  assert.deepEqual(readdirSync(join(world.folder, 'data')), ['_data']);
});

test('only an empty volume is filled, and a copy that fails leaves it empty', async () => {
  using world = new World();
  const volumes = await world.open();
  await volumes.create(named('data'));
  const write = (text: string) => (folder: string) => {
    writeFileSync(join(folder, text), text);
    return Promise.resolve('copied' as const);
  };
  const failing = async (folder: string): Promise<CopyOutcome> => {
    await write('half')(folder);
    throw new Error('no space');
  };
  await assert.rejects(volumes.fill('data', failing), /no space/);
  assert.deepEqual(readdirSync(join(world.folder, 'data')), ['_data']);
  assert.deepEqual(readdirSync(volumes.pathOf('data')), []);
  await volumes.fill('data', write('one'));
  await volumes.fill('data', write('two'));
  assert.deepEqual(readdirSync(volumes.pathOf('data')), ['one']);
});

test('a volume of 255 characters is made, and removed', async () => {
  using world = new World();
  const volumes = await world.open();
  await volumes.create(named('a'.repeat(255)));
  await volumes.remove('a'.repeat(255), false);
  assert.deepEqual(readdirSync(world.folder), []);
});

test('a volume of another container has two users, until the claim is given back', async () => {
  using world = new World();
  await (await world.open()).create(named('data'));
  const volumes = await world.open([containerWith('data')]);
  const other = 'c2' as ContainerId;
  {
    await using claim = volumes.claim(other);
    await claim.share('data');
    await volumes.release(containerWith('data'));
    await assert.rejects(volumes.remove('data', false), { code: 'volumeInUse', message: /in use - \[c2\]/ });
    await assert.rejects(claim.share('gone'), { code: 'volumeNotFound' });
  }
  assert.deepEqual([volumes.users('data'), readdirSync(world.folder)], [[], ['data']]);
  const claim = volumes.claim(other);
  await claim.share('data');
  assert.deepEqual(claim.writes, []);
  claim.confirm();
  await claim[Symbol.asyncDispose]();
  assert.deepEqual(volumes.users('data'), [other]);
});

test('a half-made volume that cannot be removed stops neither the start nor the others', async () => {
  using world = new World();
  const createdAt = '2026-01-01T00:00:00Z';
  const long = 'a'.repeat(300);
  for (const name of [long, 'half'])
    await world.store.txn({
      write: [{ key: `volumes/${name}`, put: { name, state: 'creating', createdAt } }],
    });
  const volumes = await world.open();
  assert.deepEqual(volumes.list(), []);
  assert.deepEqual([...world.store.entries.keys()], [`volumes/${long}`]);
});

test('what a removal that failed has left is not in the next volume of that name', async () => {
  using world = new World();
  const first = await world.open();
  await first.create(named('data'));
  writeFileSync(join(first.pathOf('data'), 'old'), '');
  const put = { name: 'data', state: 'removing', createdAt: '2026-01-01T00:00:00Z' };
  await world.store.txn({ write: [{ key: 'volumes/data', put }] });
  const seam = new Seam({ at: 1, action: { errno: 'EIO' } });
  seam.arm();
  const volumes = await world.open([], seam);
  assert.deepEqual([volumes.list(), existsSync(volumes.pathOf('data'))], [[], true]);
  await volumes.create(named('data'));
  assert.deepEqual(readdirSync(volumes.pathOf('data')), []);
});

for (const outcome of ['none', 'file'] as const) {
  test(`an empty volume stays the folder that it is where the outcome of the copy is ${outcome}`, async () => {
    using world = new World();
    const volumes = await world.open();
    await volumes.create(named('data'));
    chmodSync(volumes.pathOf('data'), 0o1777);
    const was = statSync(volumes.pathOf('data'));
    await volumes.fill('data', () => Promise.resolve(outcome));
    const { mode, ino } = statSync(volumes.pathOf('data'));
    assert.deepEqual({ mode, ino }, { mode: was.mode, ino: was.ino });
    assert.deepEqual(readdirSync(join(world.folder, 'data')), ['_data']);
  });
}

test('a start waits until the volume is filled, and what is filled later stays the folder', async () => {
  using world = new World();
  const volumes = await world.open();
  await volumes.create(named('data'));
  const { promise: copied, resolve } = Promise.withResolvers<CopyOutcome>();
  const filling = volumes.fill('data', () => copied);
  let hasBegun = false;
  const beginning = Promise.resolve(volumes.begin(containerWith('data'))).then(() => {
    hasBegun = true;
  });
  await new Promise(setImmediate);
  assert.equal(hasBegun, false);
  resolve('copied');
  await Promise.all([filling, beginning]);
  const { ino } = statSync(volumes.pathOf('data'));
  await volumes.fill('data', (folder) => {
    writeFileSync(join(folder, 'file'), 'of the image');
    mkdirSync(join(folder, 'link'));
    writeFileSync(join(folder, 'link', 'inner'), '');
    chmodSync(folder, 0o1777);
    // What the running container does meanwhile.
    symlinkSync(world.folder, join(volumes.pathOf('data'), 'link'));
    return Promise.resolve('copied');
  });
  const { mode, ino: inoNow } = statSync(volumes.pathOf('data'));
  assert.deepEqual([inoNow, mode & 0o7777], [ino, 0o1777]);
  assert.deepEqual(readdirSync(volumes.pathOf('data')), ['file', 'link']);
  assert.equal(lstatSync(join(volumes.pathOf('data'), 'link')).isSymbolicLink(), true);
  assert.deepEqual(readdirSync(world.folder), ['data']);
  assert.deepEqual(readdirSync(join(world.folder, 'data')), ['_data']);
});

test('a volume that a failed creation has made stays where somebody else asked for it meanwhile', async () => {
  using world = new World();
  const volumes = await world.open();
  {
    await using claim = volumes.claim(id);
    for (const name of ['data', 'asked', 'shared']) await claim.take(named(name));
    await volumes.create(named('asked'));
    const other = volumes.claim('c2' as ContainerId);
    await other.share('shared');
    await other[Symbol.asyncDispose]();
  }
  assert.deepEqual(
    volumes.list().map(({ name }) => name),
    ['asked', 'shared'],
  );
});

test('a volume with a device is mounted for its first run and unmounted after its last, whoever sees that', async () => {
  using world = new World();
  const volumes = await world.open();
  await volumes.create({ ...named('data'), options: { type: 'tmpfs', device: 'tmpfs', o: 'size=1m' } });
  const mounted = (): readonly string[] => [...world.mounts.mounted.keys()];
  const [one, two] = [containerWith('data'), { ...containerWith('data'), id: 'c2' as ContainerId }];
  await volumes.begin(one);
  await volumes.begin(two);
  assert.deepEqual(world.mounts.mounted.get(volumes.pathOf('data')), {
    ...{ type: 'tmpfs', source: 'tmpfs', options: ['size=1m'] },
  });
  await volumes.end(one);
  await volumes.end(one);
  assert.deepEqual(mounted(), [volumes.pathOf('data')]);
  await world.open([{ ...two, state: 'running' }]);
  assert.deepEqual(mounted(), [volumes.pathOf('data')]);
  await world.open([two]);
  assert.deepEqual(mounted(), []);
});

test('what an administrator has mounted on the folder of a volume stays over a start', async () => {
  using world = new World();
  const volumes = await world.open();
  await volumes.create(named('data'));
  const device = { type: 'tmpfs', device: 'tmpfs' };
  await volumes.create({ ...named('quick'), options: device });
  const disk = { type: 'ext4', source: '/dev/sdb1', options: [] };
  for (const name of ['data', 'quick', 'other'])
    world.mounts.mounted.set(join(world.folder, name, '_data'), disk);
  await world.open();
  assert.deepEqual(
    [...world.mounts.mounted.keys()],
    ['data', 'other'].map((name) => join(world.folder, name, '_data')),
  );
});

test('where a volume cannot be unmounted nothing of it is removed', async () => {
  using world = new World();
  const first = await world.open();
  await first.create({ ...named('data'), options: { type: 'none', device: '/x', o: 'bind' } });
  const file = join(first.pathOf('data'), 'of the device');
  writeFileSync(file, '');
  world.mounts.unmount = () => Promise.reject(new Error('device is busy'));
  await assert.rejects(first.remove('data', true), /device is busy/);
  // Nor by the removal that a start finishes, nor where the next of that name is made.
  const put = { ...first.get('data'), state: 'removing' };
  await world.store.txn({ write: [{ key: 'volumes/data', put }] });
  const volumes = await world.open();
  await assert.rejects(volumes.create(named('data')), /device is busy/);
  assert.equal(existsSync(file), true);
});

test('an anonymous volume is filled while its container is being created', async () => {
  using world = new World();
  const volumes = await world.open();
  const claim = volumes.claim(id);
  const { name } = await claim.take(named(''));
  await volumes.fill(name, (folder) => {
    writeFileSync(join(folder, 'file'), 'of the image');
    return Promise.resolve('copied');
  });
  assert.deepEqual(readdirSync(volumes.pathOf(name)), ['file']);
});
