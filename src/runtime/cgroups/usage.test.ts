import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSystemCpu, usageOfV1, usageOfV2 } from './usage.ts';

const noLimit = 18_446_744_073_709_551_615n;

test('files of cgroup v1', () => {
  const usage = usageOfV1({
    cpuUsage: '123456789\n',
    perCpu: '100000000 23456789 \n',
    cpuTicks: 'user 7\nsystem 5\n',
    cpuStat: 'nr_periods 3\nnr_throttled 2\nthrottled_time 99\n',
    memory: '4096\n',
    memoryMax: '8192\n',
    memoryLimit: '9223372036854771712\n',
    memoryFailures: '1\n',
    memoryStat: 'cache 10\nrss 20\n',
    pids: '2\n',
    pidsLimit: 'max\n',
    blockBytes: '8:0 Read 512\n8:0 Write 0\n8:0 Total 512\nTotal 512\n',
    blockOperations: '',
  });
  assert.deepEqual(usage, {
    version: 1,
    cpu: {
      ...{ totalNs: 123_456_789n, kernelNs: 50_000_000n, userNs: 70_000_000n },
      perCpuNs: [100_000_000n, 23_456_789n],
      ...{ periods: 3n, throttledPeriods: 2n, throttledNs: 99n },
    },
    memory: {
      ...{ bytes: 4096n, maxBytes: 8192n, limitBytes: 9_223_372_036_854_771_712n, failures: 1n },
      stat: { cache: 10n, rss: 20n },
    },
    pids: { current: 2n },
    blockBytes: [
      { major: 8, minor: 0, operation: 'Read', value: 512n },
      { major: 8, minor: 0, operation: 'Write', value: 0n },
      { major: 8, minor: 0, operation: 'Total', value: 512n },
    ],
    blockOperations: [],
  });
});

test('files of cgroup v2', () => {
  const usage = usageOfV2({
    cpuStat: 'usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 1\nnr_throttled 1\nthrottled_usec 2\n',
    memory: '4096\n',
    memoryLimit: 'max\n',
    memoryEvents: 'low 0\nhigh 0\nmax 4\noom 3\noom_kill 2\n',
    memoryStat: 'anon 10\nfile 20\n',
    pids: '2\n',
    pidsLimit: 'max\n',
    ioStat: '254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n',
  });
  assert.deepEqual(usage, {
    version: 2,
    cpu: {
      ...{ totalNs: 9000n, kernelNs: 4000n, userNs: 5000n },
      ...{ periods: 1n, throttledPeriods: 1n, throttledNs: 2000n },
    },
    memory: { bytes: 4096n, limitBytes: noLimit, failures: 3n, stat: { anon: 10n, file: 20n } },
    pids: { current: 2n, limit: noLimit },
    blockBytes: [
      { major: 254, minor: 0, operation: 'read', value: 1n },
      { major: 254, minor: 0, operation: 'write', value: 2n },
    ],
    blockOperations: [],
  });
});

test('a cgroup that is gone has used nothing', () => {
  assert.deepEqual(usageOfV1({}), { version: 1, blockBytes: [], blockOperations: [] });
  assert.deepEqual(usageOfV2({}), { version: 2, blockBytes: [], blockOperations: [] });
});

test('time of all processors is counted in ticks, guests within users', () => {
  const stat = 'cpu  10 1 5 100 2 0 3 4 7 7\ncpu0 5 0 2 50 1 0 1 2 3 3\ncpu1 5 1 3 50 1 0 2 2 4 4\nintr 1\n';
  assert.deepEqual(parseSystemCpu(stat), { totalNs: 1_250_000_000n, onlineCpus: 2 });
});
