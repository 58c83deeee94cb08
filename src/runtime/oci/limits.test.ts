import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mapDevices, parseDeviceRule } from './devices.ts';
import { checkLimits, withDefaultSwap } from './limitChecks.ts';
import { type Limits, resourcesOf } from './limits.ts';
import { everyLimit } from './limitStand.ts';
import type { LimitSupport } from './limitSupport.ts';

const support = everyLimit(4);

const mb = 1024 * 1024;
const rates = [{ path: '/dev/sdb', rate: 7 }];

for (const [limits, wanted] of [
  [{}, {}],
  [
    { memoryBytes: 64 * mb, memorySwapBytes: 128 * mb, memoryReservationBytes: 32 * mb, memorySwappiness: 0 },
    { memory: { limit: 64 * mb, reservation: 32 * mb, swap: 128 * mb, swappiness: 0 } },
  ],
  [
    { memoryBytes: 64 * mb, memorySwapBytes: -1, isOomKillDisabled: true },
    { memory: { limit: 64 * mb, disableOOMKiller: true } },
  ],
  [{ nanoCpus: 1_500_000_000 }, { cpu: { period: 100_000, quota: 150_000 } }],
  [{ nanoCpus: 10_000_000 }, { cpu: { period: 100_000, quota: 1000 } }],
  [
    { cpuShares: 512, cpuPeriodUs: 50_000, cpuQuotaUs: -1, cpusetCpus: '0,2', cpusetMems: '0' },
    { cpu: { shares: 512, period: 50_000, quota: -1, cpus: '0,2', mems: '0' } },
  ],
  [
    { cpuRealtimePeriodUs: 1000, cpuRealtimeRuntimeUs: 900 },
    { cpu: { realtimePeriod: 1000, realtimeRuntime: 900 } },
  ],
  [{ pidsLimit: 5 }, { pids: { limit: 5 } }],
  [{ pidsLimit: 0 }, { pids: { limit: -1 } }],
  [
    {
      blkioWeight: 300,
      blkioWeightDevices: [{ path: '/dev/sdb', weight: 20 }],
      readBytesPerS: rates,
      writeBytesPerS: rates,
      readOperationsPerS: rates,
      writeOperationsPerS: rates,
    },
    {
      blockIO: {
        weight: 300,
        weightDevice: [{ major: 8, minor: 16, weight: 20 }],
        throttleReadBpsDevice: [{ major: 8, minor: 16, rate: 7 }],
        throttleWriteBpsDevice: [{ major: 8, minor: 16, rate: 7 }],
        throttleReadIOPSDevice: [{ major: 8, minor: 16, rate: 7 }],
        throttleWriteIOPSDevice: [{ major: 8, minor: 16, rate: 7 }],
      },
    },
  ],
] as readonly (readonly [Limits, object])[]) {
  test(`limits ${JSON.stringify(limits)} in the runtime's words`, () => {
    assert.deepEqual(
      resourcesOf(limits, () => ({ major: 8, minor: 16 })),
      wanted,
    );
  });
}

for (const [limits, message, change = {}] of [
  [{ memoryBytes: 6 * mb - 1 }, 'Minimum memory limit allowed is 6MB'],
  [{ memoryBytes: -1 }, 'Minimum memory limit allowed is 6MB'],
  [
    { memoryBytes: 64 * mb, memorySwapBytes: 32 * mb },
    'Minimum memoryswap limit should be larger than memory limit, see usage',
  ],
  [
    { memorySwapBytes: 32 * mb },
    'You should always set the Memory limit when using Memoryswap limit, see usage',
  ],
  [{ memorySwappiness: 101 }, 'Invalid value: 101, valid memory swappiness range is 0-100'],
  [{ memoryReservationBytes: 1 }, 'Minimum memory reservation allowed is 6MB'],
  [
    { memoryBytes: 8 * mb, memoryReservationBytes: 9 * mb },
    'Minimum memory limit can not be less than memory reservation limit, see usage',
  ],
  [{ nanoCpus: 1, cpuPeriodUs: 1000 }, 'Conflicting options: Nano CPUs and CPU Period cannot both be set'],
  [{ nanoCpus: 1, cpuQuotaUs: 1000 }, 'Conflicting options: Nano CPUs and CPU Quota cannot both be set'],
  [{ nanoCpus: 4.1e9 }, 'range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available'],
  [{ nanoCpus: -1 }, 'range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available'],
  [
    { nanoCpus: 1 },
    'NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted',
    { cpuQuota: false },
  ],
  [{ cpuShares: -1 }, 'invalid CPU shares (-1): value must be a positive integer'],
  [
    { cpuPeriodUs: 999 },
    'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)',
  ],
  [{ cpuQuotaUs: 999 }, 'CPU cfs quota can not be less than 1ms (i.e. 1000)'],
  [{ cpuRealtimePeriodUs: 9 }, 'kernel does not support CPU real-time scheduler', { cpuRealtime: false }],
  [
    { cpuRealtimePeriodUs: 9, cpuRealtimeRuntimeUs: 10 },
    'cpu real-time runtime cannot be higher than cpu real-time period',
  ],
  [{ cpusetCpus: '0-4' }, 'Requested CPUs are not available - requested 0-4, available: 0-3'],
  [{ cpusetCpus: '3-1' }, 'Invalid value 3-1 for cpuset cpus: invalid format: 3-1'],
  [{ cpusetMems: '1' }, 'Requested memory nodes are not available - requested 1, available: 0'],
  [{ blkioWeight: 9 }, 'Range of blkio weight is from 10 to 1000'],
] as readonly (readonly [Limits, string, Partial<LimitSupport>?])[]) {
  test(`limits ${JSON.stringify(limits)} are refused: ${message}`, () => {
    assert.throws(() => checkLimits(limits, { ...support, ...change }, false), {
      code: 'containerConfigInvalid',
      message,
    });
  });
}

test('what the kernel cannot hold is left out, with a warning', () => {
  const limits: Limits = {
    memoryBytes: 64 * mb,
    memorySwappiness: 5,
    isOomKillDisabled: true,
    blkioWeight: 500,
    readBytesPerS: rates,
    pidsLimit: 0,
  };
  const lacking = {
    ...support,
    swap: false,
    swappiness: false,
    oomKillDisable: false,
    blkioWeight: false,
    blkioThrottle: false,
    pids: false,
  };
  assert.deepEqual(checkLimits(limits, lacking, false), {
    limits: { memoryBytes: 64 * mb, memorySwapBytes: -1 },
    warnings: [
      'Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.',
      'Your kernel does not support OomKillDisable. OomKillDisable discarded.',
      'Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.',
      'Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.',
      'Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.',
    ],
  });
  assert.deepEqual(checkLimits(limits, support, false), { limits, warnings: [] });
});

test('an OOM killer that is off without a limit on memory is warned of', () => {
  assert.match(
    checkLimits({ isOomKillDisabled: true }, support, false).warnings[0] ?? '',
    /running out of resources/,
  );
});

test('a limit on memory is one on as much swap, unless told', () => {
  assert.deepEqual(withDefaultSwap({ memoryBytes: 8 * mb }), {
    memoryBytes: 8 * mb,
    memorySwapBytes: 16 * mb,
  });
  assert.deepEqual(withDefaultSwap({ memoryBytes: 8 * mb, memorySwapBytes: -1 }), {
    memoryBytes: 8 * mb,
    memorySwapBytes: -1,
  });
  assert.deepEqual(withDefaultSwap({ cpuShares: 3 }), { cpuShares: 3 });
});

test('device rules are read as the kernel writes them', () => {
  assert.deepEqual(parseDeviceRule('c 10:* rw'), {
    allow: true,
    type: 'c',
    major: 10,
    minor: -1,
    access: 'rw',
  });
  for (const text of ['', 'c 10:200', 'x 1:2 rwm', 'c 1:2 rwmx', 'c -1:2 r'])
    assert.throws(() => parseDeviceRule(text), {
      code: 'containerConfigInvalid',
      message: `invalid device cgroup rule format: '${text}'`,
    });
});

test('a directory of devices keeps its order below the path inside', () => {
  const node = { type: 'c', major: 1, minor: 3, fileMode: 0o666, uid: 0, gid: 0 } as const;
  const mapping = { hostPath: '/dev/x', containerPath: '/dev/y', access: 'r' };
  const mapped = mapDevices(mapping, [{ ...node, path: '/dev/x/a' }]);
  assert.deepEqual(mapped, {
    nodes: [{ ...node, path: '/dev/y/a' }],
    rules: [{ allow: true, type: 'c', major: 1, minor: 3, access: 'r' }],
  });
});
