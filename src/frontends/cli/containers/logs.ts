/*
 * `logs`.
 */

import { CliError } from '../cliError.ts';
import { type Command, oneArgument } from '../command.ts';
import { flag } from '../flags.ts';
import { parseTimestamp } from '../text/goTime.ts';
import { getContainer } from './attach.ts';
import { printStream } from './streams.ts';

/** `since`/`until` for the API; undefined when not given. Throws CliError naming the flag. */
export function timestampOf(text: string, flagName: string, nowMs: number): string | undefined {
  if (text === '') return undefined;
  try {
    return parseTimestamp(text, nowMs);
  } catch (error) {
    throw new CliError(
      `invalid value for "${flagName}": ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

export const logsCommand: Command = {
  paths: ['logs', 'container logs'],
  summary: 'Fetch the logs of a container',
  usage: '[OPTIONS] CONTAINER',
  arity: oneArgument,
  completes: 'container',
  flags: [
    flag('--details', 'bool', 'Show extra details provided to logs'),
    flag('-f, --follow', 'bool', 'Follow log output'),
    flag(
      '--since',
      'string',
      'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    ),
    flag('-n, --tail', 'string', 'Number of lines to show from the end of the logs', 'all'),
    flag('-t, --timestamps', 'bool', 'Show timestamps'),
    flag(
      '--until',
      'string',
      'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    ),
  ],
  examples: [
    ['The last ten lines, then what comes', 'logs -f --tail 10 web'],
    ['The last minutes, with times', 'logs -t --since 5m web'],
  ],
  run: async ({ client, flags, args, io }) => {
    const name = args[0] ?? '';
    const info = await getContainer(client, name);
    const { body } = await client.request('GET', `/containers/${info.Id}/logs`, {
      query: {
        stdout: '1',
        stderr: '1',
        details: flags.bool('details') ? '1' : undefined,
        follow: flags.bool('follow') ? '1' : undefined,
        timestamps: flags.bool('timestamps') ? '1' : undefined,
        since: timestampOf(flags.text('since'), 'since', io.nowMs()),
        until: timestampOf(flags.text('until'), 'until', io.nowMs()),
        tail: flags.text('tail'),
      },
    });
    await printStream(body, info.Config.Tty, io);
  },
};
