/*
 * `cp`: its words and flags. The work is loaded when it is wanted: the other commands start sooner without it.
 */
import { type Command, twoArguments } from '../command.ts';
import { flag } from '../flags.ts';

export const copyCommand: Command = {
  paths: ['cp', 'container cp'],
  summary: 'Copy files/folders between a container and the local filesystem',
  usage: '[OPTIONS] CONTAINER:SRC_PATH|SRC_PATH|- CONTAINER:DEST_PATH|DEST_PATH|-',
  arity: twoArguments,
  completes: 'container',
  flags: [
    flag('-a, --archive', 'bool', 'Archive mode (copy all uid/gid information)'),
    flag('-L, --follow-link', 'bool', 'Always follow symbol link in SRC_PATH'),
    flag(
      '-q, --quiet',
      'bool',
      'Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached',
    ),
  ],
  examples: [
    ['A file into a container', 'cp nginx.conf web:/etc/nginx/nginx.conf'],
    ['What is in a folder of a container', 'cp web:/var/log/. logs'],
    ['As a tar', 'cp web:/etc - | tar -t'],
  ],
  run: async ({ client, flags, args: [from = '', to = ''], io }) => {
    const { copyFiles } = await import('./copyFiles.ts');
    const isQuiet = flags.has('quiet') ? flags.bool('quiet') : !io.isOutTerminal;
    const options = { follows: flags.bool('follow-link'), asUser: flags.bool('archive') };
    await copyFiles({ client, io, isQuiet }, from, to, options);
  },
};
