/*
 * Builds a small image from the machine's own static busybox, so that labs, tests and the demo need no registry:
 * a root file system tar (busybox, a symlink per applet, /etc/passwd and the usual folders) and a docker-save
 * tar `busybox:latest` around it. Output depends on the busybox binary only, so its digests are stable.
 * Run: scripts/node src/frontends/lab/busyboxImage.ts [--tag NAME:TAG] [--rootfs FILE] [--save FILE]
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { parseArgs, promisify } from 'node:util';
import { type Pack, pack } from 'tar-stream';

const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
const candidatePaths: readonly string[] = [
  '/bin/busybox',
  '/usr/bin/busybox',
  '/usr/local/bin/busybox',
  // Where scripts/setup unpacks one when the machine's own needs libraries.
  join(process.env['LINKSPAN_TEST_CACHE'] ?? join(cache, 'linkspan'), 'busybox/bin/busybox'),
];
/** Every file's time; a fixed one keeps digests stable. */
const epoch = new Date('2024-01-01T00:00:00Z');

const passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
`;
const group = `root:x:0:
daemon:x:1:
bin:x:2:
adm:x:4:
tty:x:5:
www-data:x:33:
utmp:x:43:
staff:x:50:
nobody:x:65534:
`;

/** True if an ELF 64-bit little-endian file has a PT_INTERP program header, that is, needs shared libraries. */
function isDynamic(elf: Buffer): boolean {
  const tableOffset = Number(elf.readBigUInt64LE(32));
  const entrySize = elf.readUInt16LE(54);
  const entryCount = elf.readUInt16LE(56);
  for (let i = 0; i < entryCount; i++) if (elf.readUInt32LE(tableOffset + i * entrySize) === 3) return true;
  return false;
}

async function readBusybox(): Promise<{ readonly binary: Buffer; readonly applets: readonly string[] }> {
  for (const path of candidatePaths) {
    const binary = await readFile(path).catch(() => undefined);
    if (binary === undefined) continue;
    if (isDynamic(binary)) continue;
    const { stdout } = await promisify(execFile)(path, ['--list']);
    return { binary, applets: stdout.split('\n').filter((name) => name !== '' && name !== 'busybox') };
  }
  throw new Error(
    `no statically linked busybox at ${candidatePaths.join(', ')}; install the package busybox-static`,
  );
}

function addDirectory(tar: Pack, name: string, mode = 0o755): void {
  tar.entry({ name: `${name}/`, type: 'directory', mode, mtime: epoch });
}

function addFile(tar: Pack, name: string, content: string | Buffer, mode = 0o644): void {
  tar.entry({ name, mode, mtime: epoch }, content);
}

function addSymlink(tar: Pack, name: string, linkname: string): void {
  tar.entry({ name, type: 'symlink', linkname, mode: 0o777, mtime: epoch });
}

/** The root file system as an uncompressed tar of about 2 MB. Throws if there is no static busybox. */
export async function buildBusyboxRootfs(): Promise<Buffer> {
  const { binary, applets } = await readBusybox();
  const tar = pack();
  for (const name of ['bin', 'dev', 'etc', 'home', 'proc', 'sys', 'usr', 'usr/bin', 'usr/sbin', 'var'])
    addDirectory(tar, name);
  addDirectory(tar, 'root', 0o700);
  addDirectory(tar, 'tmp', 0o1777);
  addDirectory(tar, 'var/www');
  addFile(tar, 'bin/busybox', binary, 0o755);
  for (const applet of applets) addSymlink(tar, `bin/${applet}`, 'busybox');
  addSymlink(tar, 'usr/bin/env', '../../bin/busybox');
  addFile(tar, 'etc/passwd', passwd);
  addFile(tar, 'etc/group', group);
  tar.finalize();
  return await buffer(tar);
}

/** What the image says beside its one layer. */
export interface BusyboxImageOptions {
  /** Default `busybox:latest`. */
  readonly tag?: string;
  /** Fields of the image config's `config` object, over `Cmd: ["sh"]` and PATH. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** A docker-save tar (the form of Docker 20.10: manifest.json, config, layer.tar) around `rootfs`. */
export async function buildBusyboxImage(rootfs: Buffer, options: BusyboxImageOptions = {}): Promise<Buffer> {
  const layerDigest = createHash('sha256').update(rootfs).digest('hex');
  const config = JSON.stringify({
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    created: epoch.toISOString(),
    config: {
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      Cmd: ['sh'],
      ...options.config,
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${layerDigest}`] },
    history: [{ created: epoch.toISOString(), created_by: 'busybox of this machine' }],
  });
  const configName = `${createHash('sha256').update(config).digest('hex')}.json`;
  const tar = pack();
  addFile(tar, configName, config);
  addDirectory(tar, layerDigest);
  addFile(tar, `${layerDigest}/layer.tar`, rootfs);
  addFile(
    tar,
    'manifest.json',
    JSON.stringify([
      {
        Config: configName,
        RepoTags: [options.tag ?? 'busybox:latest'],
        Layers: [`${layerDigest}/layer.tar`],
      },
    ]),
  );
  tar.finalize();
  return await buffer(tar);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { rootfs: { type: 'string' }, save: { type: 'string' }, tag: { type: 'string' } },
  });
  if (values.rootfs === undefined && values.save === undefined)
    throw new Error('usage: busyboxImage.ts [--tag NAME:TAG] [--rootfs FILE] [--save FILE]');
  const rootfs = await buildBusyboxRootfs();
  if (values.rootfs !== undefined) await writeFile(values.rootfs, rootfs);
  if (values.save !== undefined)
    await writeFile(
      values.save,
      await buildBusyboxImage(rootfs, values.tag === undefined ? {} : { tag: values.tag }),
    );
}

if (import.meta.main) await main();
