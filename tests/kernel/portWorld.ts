/*
 * For tests of published ports in a bridgeWorld: servers, and bindings set by hand as the engine would.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import type { FirewallBinding } from '../../src/firewall/binding.ts';
import { parseIp } from '../../src/net/ip.ts';
import type { Container, World } from './bridgeWorld.ts';

/** The host's address on the segment of client D. */
export const otherHostAddress = '198.51.100.1';

/** Servers in `where` that answer with the caller's address, on TCP ports of `local` and UDP ports. */
export async function serve(
  where: string,
  tcpPorts: readonly number[],
  udpPorts: readonly number[] = [],
  local = '0.0.0.0',
): Promise<AsyncDisposable> {
  const program = `
    const ready = [];
    for (const port of ${JSON.stringify(tcpPorts)})
      ready.push(new Promise((done) => require('node:net').createServer((s) => { s.on('error', () => {}); s.end(s.remoteAddress + '\\n'); }).listen(port, '${local}', done)));
    for (const port of ${JSON.stringify(udpPorts)})
      ready.push(new Promise((done) => { const u = require('node:dgram').createSocket('udp4'); u.on('message', (m, from) => u.send(from.address + '\\n', from.port, from.address)); u.bind(port, '0.0.0.0', done); }));
    Promise.all(ready).then(() => console.log('ready'));`;
  const words = [process.execPath, '-e', program];
  const child: ChildProcess =
    where === 'host'
      ? spawn(words[0] ?? '', words.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] })
      : spawn('nsenter', [`--net=/run/netns/${where}`, '--', ...words], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  child.unref();
  return { [Symbol.asyncDispose]: () => Promise.resolve(void child.kill('SIGKILL')) };
}

/** What a UDP server at `to` sees us by; undefined if nothing comes back within a second. */
export function udpAddressSeenBy(from: string, to: string, port: number, sourcePort = 0): string | undefined {
  const program = `const u = require('node:dgram').createSocket('udp4'); u.on('message', (m) => { console.log(String(m).trim()); process.exit(0); }); u.bind(${sourcePort}, () => { u.send('x', ${port}, '${to}'); setTimeout(() => process.exit(1), 1000); });`;
  const words = [process.execPath, '-e', program];
  const { stdout } =
    from === 'host'
      ? spawnSync(words[0] ?? '', words.slice(1), { encoding: 'utf8' })
      : spawnSync('nsenter', [`--net=/run/netns/${from}`, '--', ...words], { encoding: 'utf8' });
  return stdout.trim() === '' ? undefined : stdout.trim();
}

/** Every address of the host, TCP, unless `change` says otherwise. */
export function binding(
  container: Container,
  hostPort: number,
  port: number,
  change: Partial<FirewallBinding> = {},
): FirewallBinding {
  const target = parseIp(container.address);
  assert.ok(target);
  return {
    proto: 'tcp',
    hostIp: undefined,
    hostPort,
    count: 1,
    target,
    port,
    isRouted: false,
    sources: [],
    trustedLinks: [],
    ...change,
  };
}

/** What the container publishes from now on. */
export async function publish(
  world: World,
  container: Container,
  ...bindings: readonly FirewallBinding[]
): Promise<void> {
  await world.kernel.setHairpin(container.endpoint.hostInterfaceName, true);
  await world.firewall.publish(container.name, bindings);
}
