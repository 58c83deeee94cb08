/*
 * The small init that `--init` puts before a container's command: Docker's docker-init, or tini built static, as which
 * Debian's package tini has it. One that is linked against libraries would not start in most images.
 */
import { closeSync, openSync, readSync, realpathSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { systemPath } from '../../base/programs.ts';

/** Where Engine 28 looks before PATH. */
const dockerFolders: readonly string[] = [
  '/usr/local/libexec/docker',
  '/usr/libexec/docker',
  '/usr/local/lib/docker',
  '/usr/lib/docker',
];

/** True for an ELF file; a script's interpreter is not in the container. */
function isProgram(path: string): boolean {
  try {
    const file = openSync(path, 'r');
    try {
      const magic = Buffer.alloc(4);
      readSync(file, magic);
      return magic.toString('latin1') === '\x7fELF';
    } finally {
      closeSync(file);
    }
  } catch {
    return false;
  }
}

/** The program's path, links followed; undefined if this machine has none. */
export function findInit(
  folders: readonly string[] = [...dockerFolders, ...systemPath().split(delimiter)],
): string | undefined {
  const paths = ['docker-init', 'tini-static'].flatMap((name) => folders.map((folder) => join(folder, name)));
  const found = paths.find(isProgram);
  return found === undefined ? undefined : realpathSync(found);
}
