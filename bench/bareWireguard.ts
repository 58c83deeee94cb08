/*
 * Two namespaces on a segment with a wireguard-go each and nothing between it and their addresses: what bench/overlay.ts
 * compares encrypted networks with.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSeam } from '../src/base/seam.ts';
import { makeKey, publicKeyOf } from '../src/codec/wireguard/key.ts';
import { parseIp } from '../src/net/ip.ts';
import { parsePrefix } from '../src/net/prefix.ts';
import { UapiClient } from '../src/tunnels/uapiClient.ts';
import { eventually } from '../tests/compat/command.ts';
import { within } from './pathLoad.ts';

const port = 51_851;

export interface BareEnd {
  /** Below /run/netns, with an address of the segment. */
  readonly namespace: string;
  readonly outer: string;
  readonly inner: string;
}

function must<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new TypeError(what);
  return value;
}

/** `mtuBytes` as containers of encrypted networks have it. Ends with what is disposed of. */
export async function openBareWireguard(
  ends: readonly [BareEnd, BareEnd],
  mtuBytes: number,
): Promise<AsyncDisposable> {
  const parts = new AsyncDisposableStack();
  const keys = ends.map(() => makeKey());
  const all = must(parsePrefix('10.98.0.0/24'), 'a prefix');
  for (const [i, { namespace, inner }] of ends.entries()) {
    const name = `wg${namespace}`;
    const program = within(`/run/netns/${namespace}`, 'wireguard-go', '-f', name);
    const child = spawn('nsenter', program, { stdio: 'ignore', env: { ...process.env, LOG_LEVEL: 'error' } });
    parts.defer(async () => {
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    });
    const client = new UapiClient(name, openSeam());
    if (!(await eventually(() => client.connect()))) throw new Error('wireguard-go does not answer');
    const [other, otherKey] = [must(ends[1 - i], 'an end'), must(keys[1 - i], 'a key')];
    await client.set({
      ...{ privateKey: must(keys[i], 'a key').reveal(), port },
      peers: [
        {
          publicKey: publicKeyOf(otherKey),
          endpoint: { ip: must(parseIp(other.outer), 'an address'), port },
          allowedIps: [all],
        },
      ],
    });
    client[Symbol.dispose]();
    const ip = (...words: readonly string[]): void => void execFileSync('ip', ['-n', namespace, ...words]);
    ip('address', 'add', `${inner}/24`, 'dev', name);
    ip('link', 'set', name, 'mtu', String(mtuBytes), 'up');
  }
  return parts;
}
