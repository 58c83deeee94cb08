/*
 * Makes an HTTP server listen on a unix socket or a TCP port. A unix socket is created closed to everyone and opened
 * to its mode and group after that, so that there is no moment when anybody may connect.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { dirname } from 'node:path';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { ListenAddress } from './apiServer.ts';

/** True if somebody accepts connections on the socket at `path`. */
async function isAnswered(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect(path);
  probe.once('connect', () => resolve(true));
  probe.once('error', () => resolve(false));
  const answered = await promise;
  probe.destroy();
  return answered;
}

async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket())
    throw new LinkspanError('daemonRunning', `cannot listen on ${path}: there is a file that is no socket`);
  if (await isAnswered(path))
    throw new LinkspanError('daemonRunning', `cannot listen on ${path}: another daemon answers there`);
  rmSync(path, { force: true });
}

async function started(server: Server, start: () => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.once('listening', resolve);
  start();
  await promise;
  server.off('error', reject);
}

async function listenUnix(
  server: Server,
  path: string,
  mode: number,
  gid: number | undefined,
): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  await removeStale(path);
  await started(server, () => {
    const before = process.umask(0o177);
    // Binding happens before listen returns.
    server.listen(path);
    process.umask(before);
  });
  if (gid !== undefined) chownSync(path, process.getuid?.() ?? 0, gid);
  chmodSync(path, mode);
}

/** Resolves with the address as `unix:///path` or `tcp://host:port`. Throws code daemonRunning, or the system's error. */
export async function listenOn(server: Server, address: ListenAddress): Promise<string> {
  if ('socketPath' in address) {
    await listenUnix(server, address.socketPath, address.mode, address.gid);
    return `unix://${address.socketPath}`;
  }
  await started(server, () => void server.listen(address.port, address.host));
  const { port } = server.address() as AddressInfo;
  return `tcp://${address.host.includes(':') ? `[${address.host}]` : address.host}:${port}`;
}
