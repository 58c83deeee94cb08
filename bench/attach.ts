/*
 * What one endpoint costs: a sandbox, its veth pair in a bridge, address, default route, port flags, one set element;
 * ours through the kernel worker, and a C program's in turns with it. Prints milliseconds as JSON. Run inside scripts/lane: it makes links in the namespace it starts in.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLogger } from '../src/base/logger.ts';
import { openSeam } from '../src/base/seam.ts';
import type { AttachSpec, ElementBatch } from '../src/kernel/kernel.ts';
import { openKernel } from '../src/kernel/openKernel.ts';
import { type Ip, ipFromBytes } from '../src/net/ip.ts';
import { randomMac } from '../src/net/mac.ts';
import {
  floorGateway as gateway,
  floorSubnetLength as subnetLength,
  prepareFloor,
  startFloor,
} from './floor.ts';
import { quantilesOf, timed } from './quantiles.ts';

const rounds = Number(process.argv[2] ?? 200);
const detachRounds = Math.min(rounds, 30);
const settleMs = 60;

function addressOf(host: number): Ip {
  return ipFromBytes(Uint8Array.of(10, 99, host >> 8, host & 0xff));
}

function specOf(round: number): AttachSpec {
  return {
    sandbox: `/run/netns/bench${round}`,
    hostName: `veth${round}`,
    bridge: 'bench0',
    alias: 'bench',
    mtuBytes: 1500,
    isHairpin: true,
    isIsolated: false,
    peerName: 'eth0',
    peerMac: randomMac(),
    addresses: [{ ip: addressOf(round + 2), length: subnetLength }],
    gateways: [gateway],
    sysctls: [],
  };
}

function elementOf(op: 'add' | 'destroy', { hostName, peerMac, addresses }: AttachSpec): ElementBatch {
  const ip = addresses[0]?.ip ?? gateway;
  const key = [
    { type: 'ifname', name: hostName },
    { type: 'mac', mac: peerMac },
    { type: 'ip', ip },
  ] as const;
  return { family: 'inet', table: 'bench', changes: [{ op, element: { set: 'sources', key } }] };
}

await using kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
await prepareFloor(kernel);

const namespace: number[] = [];
const attach: number[] = [];
const whole: number[] = [];
const floor: number[] = [];
const detach: number[] = [];
const specs = Array.from({ length: rounds }, (_, round) => specOf(round));

async function attachOne(spec: AttachSpec): Promise<void> {
  // As the daemon does: all is asked for in one go. What a part takes is from the answer before.
  let last = performance.now();
  const note = (samples: number[]) => (): void => {
    const now = performance.now();
    samples.push(now - last);
    last = now;
  };
  await timed(whole, () =>
    Promise.all([
      kernel.createNamespace(spec.sandbox).then(note(namespace)),
      kernel.attach(spec, elementOf('add', spec)).then(note(attach)),
    ]),
  );
}

await using floorProgram = startFloor();
async function floorOne(): Promise<void> {
  if (floorProgram === undefined) return;
  const sample = await floorProgram.next();
  floor.push(sample.namespace + sample.attach + sample.element);
}

for (const [round, spec] of specs.entries()) {
  if (round % 2 === 0) await floorOne();
  await attachOne(spec);
  if (round % 2 === 1) await floorOne();
}
for (const [round, spec] of specs.entries()) {
  const detachOne = async (): Promise<void> => {
    await kernel.changeElements(elementOf('destroy', spec));
    await kernel.delLink(spec.hostName);
  };
  if (round >= detachRounds) {
    await detachOne();
    continue;
  }
  await timed(detach, detachOne);
  // The kernel goes on clearing away for some 30 ms (rcu_barrier), which is not the next detach's cost.
  await sleep(settleMs);
}
for (const { sandbox } of specs) await kernel.removeNamespace(sandbox);
await kernel.nft('delete table inet bench');
await kernel.delLink('bench0');

const result = {
  rounds,
  namespace: quantilesOf(namespace),
  attach: quantilesOf(attach),
  whole: quantilesOf(whole),
  floor: floor.length === 0 ? undefined : quantilesOf(floor),
  detachUntilEvent: quantilesOf(detach),
};
process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
