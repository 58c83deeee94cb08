/*
 * Packets of UDP at a rate to somewhere that sends them back, counted: for tests of what changes under traffic. Not
 * busybox's ping: its socket's buffer holds some 20 answers, so that what waited and comes at once is lost there, in the
 * end, where no network is.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

export interface EchoProbe {
  readonly lost: Promise<number>;
}

const echo = `const s = require('node:dgram').createSocket('udp4');
s.on('message', (m, from) => s.send(m, from.port, from.address));
s.bind(0, () => console.log(s.address().port));`;

/** Arguments: address, port, count, interval. What comes later than two seconds after the last one was sent is lost. */
const probe = `const [address, port, count, everyMs] = process.argv.slice(1);
const s = require('node:dgram').createSocket('udp4');
const seen = new Set();
s.on('message', (m) => seen.add(m.readUInt32BE(0)));
let sent = 0;
s.bind(0, () => {
  console.log('begun');
  const timer = setInterval(() => {
    const m = Buffer.alloc(64);
    m.writeUInt32BE(sent++);
    s.send(m, Number(port), address, () => {});
    if (sent < Number(count)) return;
    clearInterval(timer);
    setTimeout(() => { console.log(Number(count) - seen.size); process.exit(0); }, 2000);
  }, Number(everyMs));
});`;

function startNode(
  words: readonly string[],
  script: string,
  ...args: readonly string[]
): ChildProcessByStdio<null, Readable, null> {
  const [program = '', ...more] = words;
  return spawn(program, [...more, process.execPath, '-e', script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Resolves when the first packets leave. */
export async function startEchoProbe({
  from,
  to,
  address,
  count,
  everyMs,
}: {
  /** Words that run a program where they are sent from. */
  readonly from: readonly string[];
  /** And where they are sent back. */
  readonly to: readonly string[];
  /** Of the latter, as the former sees it. */
  readonly address: string;
  readonly count: number;
  readonly everyMs: number;
}): Promise<EchoProbe> {
  const server = startNode(to, echo);
  const [port] = (await once(createInterface(server.stdout), 'line')) as [string];
  const client = startNode(from, probe, address, port, String(count), String(everyMs));
  const lines = createInterface(client.stdout);
  await once(lines, 'line');
  const lost = once(lines, 'line').then(([line]) => Number(line));
  return { lost: lost.finally(() => server.kill('SIGKILL')) };
}
