/*
 * Builds and drives bench/attachFloor.c, the least that an attach can cost on this machine: one endpoint on request, so
 * that it takes turns with ours and both meet the same load. Needs a C compiler; without one there is no floor.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Kernel } from '../src/kernel/kernel.ts';
import { type Ip, ipFromBytes } from '../src/net/ip.ts';
import { randomMac } from '../src/net/mac.ts';

/** Of the bridge and of what is attached to it. */
export const floorSubnetLength = 16;
export const floorGateway: Ip = ipFromBytes(Uint8Array.of(10, 99, 0, 1));

/** Milliseconds of one endpoint's parts. */
export interface FloorSample {
  readonly namespace: number;
  readonly attach: number;
  readonly element: number;
}

export interface Floor extends AsyncDisposable {
  next(): Promise<FloorSample>;
}

function buildFloor(): string | undefined {
  const program = '/run/attachFloor';
  const source = join(import.meta.dirname, 'attachFloor.c');
  try {
    execFileSync('cc', ['-O2', '-o', program, source], { stdio: ['ignore', 'inherit', 'inherit'] });
    return program;
  } catch {
    process.stderr.write('bench: no C compiler (cc), so no floor to compare with\n');
    return undefined;
  }
}

/** The bridge and the table that attachFloor.c expects, in this namespace. */
export async function prepareFloor(kernel: Kernel): Promise<void> {
  await kernel.ensureBridge({ name: 'bench0', mtuBytes: 1500, alias: 'bench', mac: randomMac() });
  await kernel.ensureAddress('bench0', { ip: floorGateway, length: floorSubnetLength });
  await kernel.nft('table inet bench { set sources { type ifname . ether_addr . ipv4_addr; }; }');
}

/** Expects bridge and table as attachFloor.c says, in this namespace. Its namespaces and links are the lane's to end. */
export function startFloor(): Floor | undefined {
  const program = buildFloor();
  if (program === undefined) return undefined;
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    next: async () => {
      child.stdin.write('\n');
      const { value, done } = await lines.next();
      if (done === true) throw new Error('bench: the floor program ended');
      const [namespace = 0, attach = 0, element = 0] = value.split(' ').map((text) => Number(text) / 1000);
      return { namespace, attach, element };
    },
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    },
  };
}
