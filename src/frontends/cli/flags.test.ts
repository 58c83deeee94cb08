import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DetachScanner, parseDetachKeys } from './containers/detachKeys.ts';
import { flag, flagAlias, parseFlags } from './flags.ts';
import { alignColumns } from './text/columns.ts';
import { formatBinarySize, formatDuration, formatSize, parseMemoryBytes } from './text/units.ts';

const network = flag('--network', 'network', '');
const specs = [
  flag('-i, --interactive', 'bool', ''),
  flag('-t, --tty', 'bool', ''),
  flag('-e, --env', 'list', ''),
  flag('--subnet', 'strings', ''),
  flag('--sig-proxy', 'bool', '', 'true'),
  network,
  flagAlias('net', network),
];

test('flags end at the first argument where the rest belongs to the container', () => {
  const { flags, args } = parseFlags(specs, ['-it', '-e', 'A=b', '-eC=d', 'img', '-e', 'x'], false);
  assert.deepEqual(args, ['img', '-e', 'x']);
  assert.deepEqual(
    [flags.bool('interactive'), flags.bool('tty'), flags.list('env')],
    [true, true, ['A=b', 'C=d']],
  );
});

test('--net, the one-dash -net and =values mean the same flag', () => {
  for (const argv of [['--network', 'n'], ['--net=n'], ['-net', 'n'], ['-net=n']])
    assert.deepEqual(parseFlags(specs, argv, true).flags.list('network'), ['n']);
});

test('booleans take =false, lists split at commas where Docker does, -- ends flags', () => {
  const { flags, args } = parseFlags(specs, ['a', '--sig-proxy=false', '--subnet=a,b', '--', '-z'], true);
  assert.deepEqual([flags.bool('sig-proxy'), flags.list('subnet'), args], [false, ['a', 'b'], ['a', '-z']]);
});

test('flags that do not fit are refused with exit code 125', () => {
  for (const [argv, message] of [
    [['--zip'], 'unknown flag: --zip'],
    [['-iz'], "unknown shorthand flag: 'z' in -z"],
    [['-e'], "flag needs an argument: 'e' in -e"],
    [['--network'], 'flag needs an argument: --network'],
  ] as const)
    assert.throws(() => parseFlags(specs, argv, true), { message, exitCode: 125 });
});

test('sizes and durations read as Docker prints them', () => {
  assert.deepEqual([formatSize(4426751, 3), formatSize(0), formatSize(12345)], ['4.43MB', '0B', '12.35kB']);
  assert.equal(formatBinarySize(2 ** 31), '2GiB');
  assert.deepEqual(
    [parseMemoryBytes('64m'), parseMemoryBytes('1.5g'), parseMemoryBytes('x')],
    [67108864, 1610612736, undefined],
  );
  for (const [seconds, text] of [
    [0.5, 'Less than a second'],
    [1, '1 second'],
    [75, 'About a minute'],
    [3600, 'About an hour'],
    [47 * 3600, '47 hours'],
    [10 * 86400, '10 days'],
    [40 * 86400, '5 weeks'],
    [100 * 86400, '3 months'],
    [800 * 86400, '2 years'],
  ] as const)
    assert.equal(formatDuration(seconds), text);
});

test('columns are padded by three, at least ten wide, and only among adjacent lines', () => {
  assert.deepEqual(alignColumns(['A\tB\tC', 'a long cell\tb\tc']), [
    'A             B         C',
    'a long cell   b         c',
  ]);
});

test('the detach keys are found across pieces and everything else passes', () => {
  const scanner = new DetachScanner(parseDetachKeys('ctrl-p,ctrl-q'));
  assert.deepEqual(scanner.push(Buffer.from('a\x10')), { pass: Buffer.from('a'), isDetach: false });
  assert.deepEqual(scanner.push(Buffer.from('b\x10')), { pass: Buffer.from('\x10b'), isDetach: false });
  assert.deepEqual(scanner.push(Buffer.from('\x11z')), { pass: Buffer.from(''), isDetach: true });
});
