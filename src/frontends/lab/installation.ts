/*
 * Where our own programs are: beside the bundle that runs, or in the checkout that it runs from.
 */
import { existsSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';

function findRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'bin/linkspand')) && folder !== dirname(folder)) folder = dirname(folder);
  return folder;
}

/** `bin`, with linkspan and linkspand in it. */
export function programFolder(): string {
  return join(findRoot(), 'bin');
}

/** The words that run the image builder (busyboxImage.ts), a bundle of its own. */
export function imageBuilder(): readonly string[] {
  const file = join(import.meta.dirname, `busyboxImage${extname(import.meta.filename)}`);
  return [process.execPath, '--disable-warning=ExperimentalWarning', file];
}
