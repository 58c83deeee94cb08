/*
 * A real BuildKit for tests. Debian has none by itself, but dockerd has it inside: with containerd's image store its
 * POST /grpc is BuildKit's own API, with its own exporters. A socket that asks for that upgrade on each connection
 * looks like buildkitd's. It runs in host C, so that its bridge is not in the way of the engine under test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { eventually } from './command.ts';
import { ping, stopContainerd } from './daemonFixture.ts';
import { inHost } from './hosts.ts';

export interface BuildKit extends AsyncDisposable {
  readonly socketPath: string;
  /** Ends it at once, with every connection to it. */
  kill(): void;
  logTail(): string;
}

const ask = 'POST /grpc HTTP/1.1\r\nHost: buildkit\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n';

/** Hands the connections of `path` on to dockerd's `target`, without the heads of request and reply. */
function bridge(path: string, target: string): Server {
  const server = createServer((client) => {
    const upstream = connect(target);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
    upstream.write(ask);
    let head = Buffer.alloc(0);
    const read = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      upstream.off('data', read);
      client.write(head.subarray(end + 4));
      upstream.pipe(client);
      client.pipe(upstream);
    };
    upstream.on('data', read);
  });
  server.listen(path);
  return server;
}

/** `program` is a dockerd of version 28 or later; `socketPath` is where BuildKit is to be found. Hosts exist already; `registry` may be spoken to in clear. */
export async function startBuildKit(
  program: string,
  socketPath: string,
  registry: string,
): Promise<BuildKit> {
  mkdirSync('/run/compat', { recursive: true });
  const folder = mkdtempSync('/run/compat/b');
  const [log, sock] = [join(folder, 'log'), join(folder, 'docker.sock')];
  writeFileSync(
    join(folder, 'daemon.json'),
    JSON.stringify({
      features: { 'containerd-snapshotter': true },
      'insecure-registries': [registry],
      iptables: false,
      ip6tables: false,
    }),
  );
  const output = openSync(log, 'a');
  const words = [
    ...inHost('C'),
    program,
    ...['--config-file', join(folder, 'daemon.json'), '--data-root', join(folder, 'data')],
    ...['--exec-root', join(folder, 'exec'), '--pidfile', join(folder, 'pid'), '-H', `unix://${sock}`],
    ...['--cgroup-parent', `/${process.env['LINKSPAN_LANE_CGROUP'] ?? 'linkspan-compat'}`],
  ];
  const child: ChildProcess = spawn(words[0] ?? '', words.slice(1), { stdio: ['ignore', output, output] });
  closeSync(output);
  const logTail = (): string => readFileSync(log, 'utf8').split('\n').slice(-8).join('\n');
  if (!(await eventually(() => ping(sock), 30_000))) throw new Error(`dockerd did not come up\n${logTail()}`);
  const server = bridge(socketPath, sock);
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  return {
    socketPath,
    logTail,
    kill: () => {
      child.kill('SIGKILL');
      server.close();
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await gone;
      stopContainerd(join(folder, 'exec'));
      server.close();
    },
  };
}
