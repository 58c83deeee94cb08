/*
 * Images of servers as Debian packages them, for tests that need more than busybox: the package's files, the libraries
 * that its programs load, and busybox for the rest. Packages that the machine lacks are unpacked beside it
 * (scripts/test-tools unpack). Each image is made once and kept as an archive in the test tools' cache.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { testCache } from './testCache.ts';

export interface DebianImage {
  /** What it is called when it is loaded, `nginx:debian`. */
  readonly reference: string;
  readonly packages: readonly string[];
  /** Files and folders of the packages; what is not there is an error. */
  readonly paths: readonly string[];
  /** More files, by path; those that begin with `#!` can be executed. */
  readonly files?: Readonly<Record<string, string>>;
  /** Empty folders that anybody may write to. */
  readonly folders?: readonly string[];
  /** Dockerfile instructions, as `import --change` takes them. */
  readonly changes: readonly string[];
}

const root = join(import.meta.dirname, '../..');
const made = join(testCache, 'made');
/** Raise when what is made of a package changes. */
const layout = 1;

const output = (program: string, ...args: readonly string[]): string =>
  execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

/** What a program loads, by the paths it is found at; none for scripts and static ones. */
function librariesOf(program: string, folders: readonly string[]): readonly string[] {
  try {
    const text = execFileSync('ldd', [program], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, LD_LIBRARY_PATH: folders.join(':') },
    });
    return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path]) => path ?? '');
  } catch {
    return [];
  }
}

function executables(folder: string): readonly string[] {
  return output('find', folder, '-type', 'f', '(', '-perm', '-u+x', '-o', '-name', '*.so*', ')')
    .split('\n')
    .filter((path) => path !== '');
}

function makeRoot(image: DebianImage, folder: string, unpacked: string): void {
  const put = (from: string, to: string): void => {
    mkdirSync(dirname(join(folder, to)), { recursive: true });
    cpSync(from, join(folder, to), { recursive: true, verbatimSymlinks: true });
  };
  for (const path of image.paths) put(existsSync(join(unpacked, path)) ? join(unpacked, path) : path, path);
  const libraryFolders = existsSync(join(unpacked, 'usr/lib'))
    ? output('find', join(unpacked, 'usr/lib'), '-name', '*.so*', '-printf', '%h\n').split('\n')
    : [];
  const libraries = new Set(
    executables(folder).flatMap((program) => librariesOf(program, [...new Set(libraryFolders)])),
  );
  for (const library of libraries) {
    const at = library.startsWith(unpacked) ? library.slice(unpacked.length) : library;
    mkdirSync(dirname(join(folder, at)), { recursive: true });
    copyFileSync(library, join(folder, at));
    chmodSync(join(folder, at), 0o755);
  }
  const busybox = output('sh', '-c', 'command -v busybox').trim();
  mkdirSync(join(folder, 'bin'), { recursive: true });
  copyFileSync(busybox, join(folder, 'bin/busybox'));
  for (const name of output(busybox, '--list').trim().split('\n'))
    if (!existsSync(join(folder, 'bin', name))) symlinkSync('/bin/busybox', join(folder, 'bin', name));
  const files = {
    '/etc/passwd':
      'root:x:0:0:root:/root:/bin/sh\nserver:x:999:999::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n',
    '/etc/group': 'root:x:0:\nserver:x:999:\nnogroup:x:65534:\nnobody:x:65533:\n',
    ...image.files,
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
    if (text.startsWith('#!')) chmodSync(join(folder, path), 0o755);
  }
  for (const path of ['/tmp', ...(image.folders ?? [])]) {
    mkdirSync(join(folder, path), { recursive: true });
    chmodSync(join(folder, path), 0o1777);
  }
}

/** The archive of the image's root, for `import`. */
export function rootArchive(image: DebianImage): string {
  const name = image.reference.replaceAll(/[^a-z0-9]/g, '-');
  const path = join(made, `${name}-${layout}.tar`);
  if (existsSync(path)) return path;
  const work = join(made, `${name}.new`);
  rmSync(work, { recursive: true, force: true });
  const unpacked = join(work, 'packages');
  mkdirSync(unpacked, { recursive: true });
  output(join(root, 'scripts/test-tools'), 'unpack', unpacked, ...image.packages);
  makeRoot(image, join(work, 'root'), unpacked);
  output(
    'tar',
    '-C',
    join(work, 'root'),
    '--owner=0',
    '--group=0',
    '-cf',
    `${path}.new`,
    ...readdirSync(join(work, 'root')),
  );
  renameSync(`${path}.new`, path);
  rmSync(work, { recursive: true });
  return path;
}

export const nginx: DebianImage = {
  reference: 'nginx:debian',
  packages: ['nginx'],
  paths: ['/usr/sbin/nginx', '/etc/nginx/mime.types'],
  files: {
    '/etc/nginx/nginx.conf': `worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log /dev/stderr;
events {}
http {
  access_log /dev/stdout;
  include /etc/nginx/mime.types;
  include /etc/nginx/conf.d/*.conf;
}
`,
    '/etc/nginx/conf.d/default.conf': `server {
  listen 80;
  root /usr/share/nginx/html;
}
`,
    '/usr/share/nginx/html/index.html': 'nginx of Debian\n',
  },
  folders: ['/var/lib/nginx', '/var/log/nginx'],
  changes: ['CMD ["/usr/sbin/nginx"]', 'EXPOSE 80', 'STOPSIGNAL SIGQUIT'],
};

export const redis: DebianImage = {
  reference: 'redis:debian',
  packages: ['redis-server', 'redis-tools'],
  // The server is another name of the checking program.
  paths: ['redis-server', 'redis-check-rdb', 'redis-cli'].map((name) => `/usr/bin/${name}`),
  folders: ['/data'],
  changes: [
    'CMD ["redis-server", "--dir", "/data", "--bind", "0.0.0.0", "--protected-mode", "no", "--appendonly", "yes"]',
    'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin',
    'EXPOSE 6379',
    'VOLUME /data',
    'WORKDIR /data',
    'USER server',
  ],
};

/** Makes its database at the first start, as the official image does. */
export const postgres: DebianImage = {
  reference: 'postgres:debian',
  packages: ['postgresql-15'],
  paths: [
    ...['initdb', 'postgres', 'psql', 'pg_isready'].map((name) => `/usr/lib/postgresql/15/bin/${name}`),
    ...['dict_snowball', 'plpgsql'].map((name) => `/usr/lib/postgresql/15/lib/${name}.so`),
    ...['/usr/share/postgresql/15', '/usr/share/zoneinfo/GMT', '/usr/share/zoneinfo/UTC'],
  ],
  files: {
    '/entry': `#!/bin/sh
set -e
if [ ! -s /data/db/PG_VERSION ]; then
  echo "$POSTGRES_PASSWORD" >/tmp/password
  initdb -D /data/db -U postgres --pwfile=/tmp/password --auth-host=scram-sha-256 --locale=C -E UTF8
  echo 'host all all all scram-sha-256' >>/data/db/pg_hba.conf
fi
exec postgres -D /data/db -c listen_addresses='*' -c unix_socket_directories=/tmp
`,
  },
  folders: ['/data'],
  changes: [
    'CMD ["/entry"]',
    'ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'EXPOSE 5432',
    'USER server',
    'STOPSIGNAL SIGINT',
  ],
};
