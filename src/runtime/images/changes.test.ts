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
      Env: ['B=two words', 'A=three words'],
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
    ['HEALTHCHECK NONE', /HEALTHCHECK is not supported/],
  ];
  for (const [change, message] of table) assert.throws(() => applyChanges([change]), message, change);
});
