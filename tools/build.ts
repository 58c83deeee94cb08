/*
 * Bundles each program and worker thread into one file under dist/, through esbuild. Started by scripts/build, which
 * decides whether a build is due. Koffi stays outside: its native part is loaded from node_modules at run time.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const entries: Readonly<Record<string, string>> = {
  linkspand: 'src/daemon/main.ts',
  linkspan: 'src/frontends/cli/main.ts',
  busyboxImage: 'src/frontends/lab/busyboxImage.ts',
  dnsWorker: 'src/dns/dnsWorker.ts',
  kernelWorker: 'src/kernel/kernelWorker.ts',
  nftWorker: 'src/kernel/nftWorker.ts',
  storeWorker: 'src/store/storeWorker.ts',
};

/**
 * Node keeps a program's text, with two bytes a character as soon as one of them is not ASCII: megabytes of the idle
 * daemon's memory. esbuild escapes strings, but not regular expressions; write those with \\u.
 */
function checkAscii(name: string): void {
  const text = readFileSync(join(fresh, `${name}.js`), 'latin1');
  const found = /[\x80-\xff].*/.exec(text);
  if (found === null) return;
  const line = text.slice(0, found.index).split('\n').length;
  throw new Error(`build: dist/${name}.js:${line}: not ASCII: write it as \\uXXXX in the source`);
}

/** Libraries in CommonJS form ask for `require`, which an ES module has to make for itself. */
const banner =
  "import { createRequire as $createRequire } from 'node:module'; const require = $createRequire(import.meta.url);";

const present = Object.entries(entries).filter(([, source]) => existsSync(join(root, source)));
for (const [name, source] of Object.entries(entries)) {
  if (!existsSync(join(root, source)))
    process.stderr.write(`build: ${source} does not exist; no dist/${name}.js\n`);
}

// Built beside and moved into place, so that a program starting meanwhile never reads half a file.
const startedAt = new Date();
const fresh = join(root, 'dist/.new');
rmSync(fresh, { recursive: true, force: true });
mkdirSync(fresh, { recursive: true });
/** Whether the bundle was made; its errors are on stderr. */
async function bundle(name: string, source: string): Promise<boolean> {
  try {
    await build({
      absWorkingDir: root,
      entryPoints: { [name]: source },
      outdir: fresh,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node26',
      external: ['koffi'],
      banner: { js: banner },
      loader: { '.proto': 'text' },
      sourcemap: 'linked',
      keepNames: true,
      legalComments: 'none',
      logLevel: 'error',
    });
    checkAscii(name);
    return true;
  } catch (error) {
    // esbuild has printed its own.
    if (error instanceof Error && error.message.startsWith('build: '))
      process.stderr.write(`${error.message}\n`);
    return false;
  }
}

const made = await Promise.all(present.map(([name, source]) => bundle(name, source)));
for (const file of readdirSync(fresh)) renameSync(join(fresh, file), join(root, 'dist', file));
rmSync(fresh, { recursive: true });
if (made.includes(false)) process.exit(1);
// What Node compiled of the earlier ones (bin/linkspand).
rmSync(join(root, 'dist/.compile-cache'), { recursive: true, force: true });
const stamp = join(root, 'dist/.built');
writeFileSync(stamp, `${startedAt.toISOString()}\n`);
// A source that was saved while esbuild ran counts as newer.
utimesSync(stamp, startedAt, startedAt);
