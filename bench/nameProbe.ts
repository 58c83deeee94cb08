/*
 * Runs in a container's network namespace (bench/overlay.ts): for each name on stdin, asks the resolver until it knows it,
 * then connects to its address until it answers, if only by refusing. Prints a line: name, and when each was so, in
 * milliseconds since 1970.
 */
import { Resolver } from 'node:dns/promises';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const limitMs = 10_000;
const resolver = new Resolver({ timeout: 500, tries: 1 });
resolver.setServers(['127.0.0.11']);

const nowMs = (): number => performance.timeOrigin + performance.now();

/** True once its kernel answers; no program listens there. */
function answers(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: 9 });
    const done = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.setTimeout(20, () => done(false));
    socket.once('connect', () => done(true));
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code === 'ECONNREFUSED'));
  });
}

async function probe(name: string): Promise<readonly [namedMs: number, reachedMs: number]> {
  const endMs = nowMs() + limitMs;
  let address: string | undefined;
  while (address === undefined && nowMs() < endMs) {
    [address] = await resolver.resolve4(name).catch(() => []);
    if (address === undefined) await sleep(1);
  }
  const namedMs = nowMs();
  while (nowMs() < endMs) if (await answers(address ?? '')) return [namedMs, nowMs()];
  throw new Error(`${name} is not reached`);
}

process.stdout.write('ready\n');
for await (const name of createInterface({ input: process.stdin })) {
  const [namedMs, reachedMs] = await probe(name);
  process.stdout.write(`${name} ${namedMs} ${reachedMs}\n`);
}
