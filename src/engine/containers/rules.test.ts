import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import type { ImageConfig } from '../../runtime/images/images.ts';
import { plain } from './containerStand.ts';
import { checkName, inventName } from './names.ts';
import { resolveProcess } from './resolvedProcess.ts';
import { parseSignal } from './signals.ts';
import { translateStartError } from './startError.ts';
import { parsePs } from './top.ts';
import { adjectives, surnames } from './words.ts';

test('names begin with a letter or digit and have two characters at least', () => {
  for (const name of ['ab', 'a.b', '0_-x', 'A'.repeat(100)]) assert.equal(checkName(name), name);
  assert.equal(checkName('/ab'), 'ab');
  for (const name of ['a', '-ab', 'a b', 'a/b', '//ab', '', '\u00e4b']) {
    assert.throws(
      () => checkName(name),
      /^LinkspanError: Invalid container name \(.*\), only \[a-zA-Z0-9\]\[a-zA-Z0-9_.-\] are allowed$/,
    );
  }
});

test('invented names are valid and unlike those taken', () => {
  for (const word of [...adjectives, ...surnames]) assert.match(word, /^[a-z]+$/);
  assert.equal(new Set(surnames).size, surnames.length);
  const taken = new Set<string>();
  for (let i = 0; i < 200; i += 1) taken.add(checkName(inventName((name) => taken.has(name))));
  assert.equal(taken.size, 200);
  assert.match(
    inventName((name) => /^[a-z_]+$/.test(name)),
    /\d$/,
  );
});

test('signals by name and number', () => {
  const table: readonly [string, number][] = [
    ['KILL', 9],
    ['SIGTERM', 15],
    ['sigint', 2],
    ['9', 9],
    ['RTMIN', 34],
    ['SIGRTMIN+3', 37],
    ['RTMAX-1', 63],
    ['64', 64],
  ];
  for (const [text, number] of table) assert.equal(parseSignal(text), number, text);
  for (const text of ['', '0', '65', '-1', 'KILLED', 'SIG', 'RTMIN+99']) {
    assert.throws(
      () => parseSignal(text),
      (error) => hasCode(error, 'requestInvalid'),
      text,
    );
  }
});

test('what runs: the user over the image', () => {
  const image: ImageConfig = {
    env: ['A=image', 'B=image'],
    entrypoint: ['/entry'],
    command: ['default'],
    workingDir: '/image',
    user: 'www',
    exposedPorts: ['80/tcp'],
    volumes: [],
    labels: { a: 'image', b: 'image' },
    stopSignal: 'SIGQUIT',
  };
  const args = (change: Parameters<typeof resolveProcess>[0]): readonly string[] =>
    resolveProcess(change, image).args;
  assert.deepEqual(args(plain), ['/entry', 'default']);
  assert.deepEqual(args({ ...plain, command: ['x'] }), ['/entry', 'x']);
  assert.deepEqual(args({ ...plain, entrypoint: ['/own'] }), ['/own']);
  assert.deepEqual(args({ ...plain, entrypoint: ['/own'], command: ['x'] }), ['/own', 'x']);
  assert.deepEqual(args({ ...plain, entrypoint: [''], command: ['x'] }), ['x']);
  assert.throws(() => args({ ...plain, entrypoint: [''] }), /no command specified/);
  const resolved = resolveProcess(
    { ...plain, env: ['B=own', 'A', 'C=own'], labels: { b: 'own' }, exposedPorts: ['53/udp'], user: 'me' },
    image,
  );
  assert.deepEqual(resolved.env, ['B=own', 'C=own']);
  assert.deepEqual(resolved.labels, { a: 'image', b: 'own' });
  assert.deepEqual(resolved.exposedPorts, ['53/udp', '80/tcp']);
  assert.deepEqual([resolved.user, resolved.workingDir, resolved.stopSignal], ['me', '/image', 'SIGQUIT']);
});

test('exit codes of refused starts', () => {
  const table: readonly [string, string, number][] = [
    ['exec: "x": executable file not found in $PATH: unknown', 'x', 127],
    ['exec: "/x": stat /x: no such file or directory: unknown', '/x', 127],
    // Not about the command: a bind source, say.
    ['mounting "/src": no such file or directory: unknown', 'sleep', 128],
    ['exec: "/x": permission denied: unknown', '/x', 126],
    ['error mounting "/a" to rootfs at "/b": not a directory: unknown', 'x', 127],
    ['the kernel is tired', 'x', 128],
  ];
  for (const [text, command, exitCode] of table) {
    const failure = translateStartError(new LinkspanError('runtimeFailed', text), command, 128);
    assert.equal(failure.exitCode, exitCode, text);
    assert.equal(failure.error.code, exitCode === 128 ? 'runtimeFailed' : 'containerStartFailed');
  }
});

test('ps output is cut to the container\u2019s processes', () => {
  const output = `UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 21:55 ?        00:00:00 init
root       28383   28354  0 21:55 ?        00:00:00 sh -c while :; do sleep 1; done
`;
  assert.deepEqual(parsePs(output, new Set([28383])), {
    titles: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'],
    processes: [['root', '28383', '28354', '0', '21:55', '?', '00:00:00', 'sh -c while :; do sleep 1; done']],
  });
  assert.throws(() => parsePs('USER CMD\nroot x\n', new Set([1])), /Couldn't find PID field in ps output/);
});
