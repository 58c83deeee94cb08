/*
 * Execs that a daemon was starting when it was killed: the shim waits for somebody to open their outputs, for as long as
 * the request had, and answers nothing about the container meanwhile. Whoever opens them lets it go on.
 */
import { closeSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openForReading } from '../../runtime/stdio/fifo.ts';

const output = /^[0-9a-f]{64}-(stdout|stderr)$/;

function filesBelow(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Opens what is left below `fifoFolder`, a folder for each container. Disposing closes and removes it. */
export function openLeftExecs(fifoFolder: string): Disposable {
  const paths = filesBelow(fifoFolder).flatMap((id) =>
    filesBelow(join(fifoFolder, id))
      .filter((name) => output.test(name))
      .map((name) => join(fifoFolder, id, name)),
  );
  const open = paths.flatMap((path) => {
    try {
      return [openForReading(path)];
    } catch {
      return [];
    }
  });
  return {
    [Symbol.dispose]: () => {
      for (const fd of open) closeSync(fd);
      for (const path of paths) rmSync(path, { force: true });
    },
  };
}
