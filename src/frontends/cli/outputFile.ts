/*
 * The file that a tar from the daemon is written to (`export -o`, `save -o`).
 */
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** All or nothing: what is at `path` stays until the last byte has come. */
export async function writeFile(path: string, body: AsyncIterable<Uint8Array>): Promise<void> {
  const draft = join(dirname(path), `.docker_temp_${basename(path)}.${process.pid}`);
  const fd = openSync(draft, 'wx', 0o600);
  try {
    for await (const part of body)
      for (let at = 0; at < part.length; ) at += writeSync(fd, part, at, part.length - at);
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}
