/*
 * Random histories of a swarm: claims and releases, networks that come and go, sessions that break, daemons and managers
 * that die, disks that fail, nodes that are cut off or removed. Whatever happens, no address has two holders, no table is
 * another than the store's, and no earlier session writes.
 * LINKSPAN_HISTORIES says how many (500 unless told; `npm run soak` runs many more); a failure prints the history and the seed.
 */
import { test } from 'node:test';
import fc from 'fast-check';
import { SimulatedManagers } from './simulatedManagers.ts';
import { SimulatedSwarm } from './simulatedSwarm.ts';

const histories = Number(process.env['LINKSPAN_HISTORIES'] ?? 500);
const hostCount = 3;

const who = fc.nat(hostCount - 1);
const which = fc.nat(9);

const anyStep = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constant('claim' as const), who, which) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('claimByName' as const), who, which) },
  { weight: 5, arbitrary: fc.tuple(fc.constant('release' as const), who, which) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('amend' as const), who, which) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('follow' as const), who, which) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('unfollow' as const), who, which) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('createNetwork' as const), who, which) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('removeNetwork' as const), who, which) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('breakLink' as const), who, which) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('cutOff' as const), who, which) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('killDaemon' as const), who, which) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('killManager' as const), who, which) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('removeNode' as const), who, fc.nat(20)) },
);

type Step = readonly [op: Parameters<typeof act>[1], who: number, which: number];

function act(
  swarm: SimulatedSwarm,
  op:
    | 'claim'
    | 'claimByName'
    | 'release'
    | 'amend'
    | 'follow'
    | 'unfollow'
    | 'createNetwork'
    | 'removeNetwork'
    | 'breakLink'
    | 'cutOff'
    | 'killDaemon'
    | 'killManager'
    | 'removeNode',
  who: number,
  which: number,
): void {
  switch (op) {
    case 'claim':
      return swarm.claim(who, which, undefined);
    case 'claimByName':
      return swarm.claim(who, which, which);
    case 'breakLink':
      return swarm.breakLink(who, which < 3);
    case 'createNetwork':
      return swarm.createNetwork();
    case 'removeNetwork':
      return swarm.removeNetwork(which);
    case 'killManager':
      return swarm.killManager();
    case 'removeNode':
      // Seldom: what is removed takes no part any more.
      return which === 0 ? swarm.removeNode(who) : undefined;
    case 'cutOff':
    case 'killDaemon':
      return swarm[op](who);
    case 'release':
    case 'amend':
    case 'follow':
    case 'unfollow':
      return swarm[op](who, which);
  }
}

interface Kind {
  readonly name: string;
  readonly waitsMs: readonly number[];
  readonly blockBits?: number;
}

const kinds: readonly Kind[] = [
  { name: 'histories', waitsMs: [0, 0, 1, 5, 20, 300, 3000] },
  // So long that what nobody uses goes back.
  { name: 'histories of networks with blocks', waitsMs: [0, 0, 1, 5, 20, 300, 3000, 200_000], blockBits: 2 },
];

for (const { name, waitsMs, blockBits } of kinds)
  test(`${histories} ${name}`, { timeout: 60_000 + histories * 1000 }, async () => {
    const steps = fc.array(fc.tuple(anyStep, fc.constantFrom(...waitsMs)), { minLength: 5, maxLength: 60 });
    const anyHistory = fc.record({ seed: fc.integer({ min: 1, max: 2 ** 31 }), steps });
    await fc.assert(
      fc.asyncProperty(anyHistory, async ({ seed, steps }) => {
        const swarm = new SimulatedSwarm(seed, hostCount, blockBits);
        await swarm.begin();
        swarm.createNetwork();
        swarm.createNetwork();
        await swarm.pass(1000);
        for (const [[op, who, which], waitMs] of steps as readonly (readonly [Step, number])[]) {
          act(swarm, op, who, which);
          await swarm.pass(waitMs);
        }
        await swarm.settle();
      }),
      { numRuns: histories, endOnFailure: process.env['LINKSPAN_SHRINK'] !== '1' },
    );
  });

const anyManagerStep = fc.tuple(
  fc.constantFrom(
    'claim',
    'claim',
    'claimByName',
    'release',
    'stop',
    'createNetwork',
    'removeNetwork',
    'restart',
  ),
  fc.nat(2),
  fc.nat(9),
  fc.constantFrom(0, 0, 0, 1, 3, 50),
);

test(`${histories} histories of three managers on one store`, {
  timeout: 60_000 + histories * 1000,
}, async () => {
  const anyManagers = fc.record({
    seed: fc.integer({ min: 1, max: 2 ** 31 }),
    steps: fc.array(anyManagerStep, { minLength: 15, maxLength: 60 }),
  });
  await fc.assert(
    fc.asyncProperty(anyManagers, async ({ seed, steps }) => {
      const managers = new SimulatedManagers(seed, 3);
      await managers.begin();
      for (const [op, manager, which, waitMs] of steps) {
        managers.act(op, manager, which);
        await managers.pass(waitMs);
      }
      await managers.pass(10_000);
    }),
    { numRuns: histories, endOnFailure: process.env['LINKSPAN_SHRINK'] !== '1' },
  );
});
