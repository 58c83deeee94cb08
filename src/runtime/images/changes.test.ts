import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyChanges } from './changes.ts';

test('applyChanges builds a config from every instruction', () => {
  assert.deepEqual(
    applyChanges([
      'CMD ["httpd","-f"]',
      'entrypoint echo hi',
      'ENV A=1 B="two words"',
      'ENV A three words',
      'EXPOSE 80 81-82/udp',
      'VOLUME ["/a b"]',
      'VOLUME /c /d',
      'USER nobody:nogroup',
      'WORKDIR /srv',
      'WORKDIR ../var/www',
      "LABEL a=1 b='x y'",
      'STOPSIGNAL SIGINT',
      'ONBUILD RUN true',
      '# nothing',
    ]),
    {
      Cmd: ['httpd', '-f'],
      Entrypoint: ['/bin/sh', '-c', 'echo hi'],
      Env: ['A=three words', 'B=two words'],
      ExposedPorts: { '80/tcp': {}, '81/udp': {}, '82/udp': {} },
      Volumes: { '/a b': {}, '/c': {}, '/d': {} },
      User: 'nobody:nogroup',
      WorkingDir: '/var/www',
      Labels: { a: '1', b: 'x y' },
      StopSignal: 'SIGINT',
      OnBuild: ['RUN true'],
    },
  );
});

test('applyChanges refuses what an image config cannot take', () => {
  const table: readonly (readonly [string, RegExp])[] = [
    ['RUN true', /run is not a valid change command/],
    ['FOO x', /dockerfile parse error on line 1: unknown instruction: FOO/],
    ['ENV A', /ENV must have two arguments/],
    ['ENV A=1 B', /can't find = in "B"/],
    ['EXPOSE 70000', /invalid containerPort: 70000/],
    ['EXPOSE', /EXPOSE requires exactly one argument/],
    ['ENV A="x', /matching double-quote/],
    ['HEALTHCHECK', /HEALTHCHECK requires at least one argument/],
    ['HEALTHCHECK CMD', /Missing command after HEALTHCHECK CMD/],
    ['HEALTHCHECK NONE x', /HEALTHCHECK NONE takes no arguments/],
    ['HEALTHCHECK RUN x', /Unknown type "RUN" in HEALTHCHECK \(try CMD\)/],
    ['HEALTHCHECK --interval=1us CMD x', /Interval "interval" cannot be less than 1ms/],
    ['HEALTHCHECK --interval=9 CMD x', /time: invalid duration "9"/],
    ['HEALTHCHECK --often=1s CMD x', /unknown flag: often/],
  ];
  for (const [change, message] of table) assert.throws(() => applyChanges([change]), message, change);
});

test('applyChanges takes health checks in every form', () => {
  for (const [change, wanted] of [
    ['HEALTHCHECK NONE', { Test: ['NONE'] }],
    ['HEALTHCHECK CMD test -f /x || exit 1', { Test: ['CMD-SHELL', 'test -f /x || exit 1'] }],
    [
      'HEALTHCHECK --interval=1m1.5s --timeout=500ms --start-period=1h --start-interval=1s --retries=4 CMD ["a", "b"]',
      {
        ...{ Test: ['CMD', 'a', 'b'], Interval: 61_500_000_000, Timeout: 500_000_000, Retries: 4 },
        ...{ StartPeriod: 3_600_000_000_000, StartInterval: 1_000_000_000 },
      },
    ],
  ] as const)
    assert.deepEqual(applyChanges([change]).Healthcheck, wanted);
});

test('applyChanges changes what is there', () => {
  const base = { Cmd: ['sh'], Entrypoint: ['old'], Env: ['A=1', 'B=2'], Labels: { a: '1' } };
  const table = [
    [['ENV B=3 C=4'], { ...base, Env: ['A=1', 'B=3', 'C=4'] }],
    [['LABEL b=2'], { ...base, Labels: { a: '1', b: '2' } }],
    // The command was meant for the entrypoint before.
    [['ENTRYPOINT ["new"]'], { Entrypoint: ['new'], Env: base.Env, Labels: base.Labels }],
    [['CMD ["own"]', 'ENTRYPOINT ["new"]'], { ...base, Cmd: ['own'], Entrypoint: ['new'] }],
  ] as const;
  for (const [changes, expected] of table)
    assert.deepEqual(applyChanges(changes, base), expected, changes.join());
  assert.deepEqual(base.Env, ['A=1', 'B=2']);
});
