/*
 * `exec`.
 */
import { CliError, DaemonError, silentExit } from '../cliError.ts';
import { type Command, type Invocation } from '../command.ts';
import { chosenDetachKeys } from '../configFile.ts';
import { checkedBy, flag } from '../flags.ts';
import { nullIfEmpty } from '../text/nullIfEmpty.ts';
import { exitCodeOfStartFailure } from './exitStatus.ts';
import { checkVariable } from './flagValues.ts';
import { checkTty, followSize, runStream } from './streams.ts';
import { readEnvironment } from './variableFiles.ts';

const nothing: Disposable = { [Symbol.dispose]: () => {} };

/** The terminal's size, zero where there is none; only with `-t`. */
function consoleSize({ flags, io }: Invocation): { readonly ConsoleSize?: readonly number[] } {
  const size = io.size();
  return flags.bool('tty') ? { ConsoleSize: [size?.rows ?? 0, size?.columns ?? 0] } : {};
}

function execBody(invocation: Invocation): Record<string, unknown> {
  const { flags, args, io } = invocation;
  const isDetached = flags.bool('detach');
  return {
    User: flags.text('user'),
    Privileged: flags.bool('privileged'),
    Tty: flags.bool('tty'),
    ...consoleSize(invocation),
    AttachStdin: !isDetached && flags.bool('interactive'),
    AttachStderr: !isDetached,
    AttachStdout: !isDetached,
    Detach: isDetached,
    DetachKeys: chosenDetachKeys(invocation),
    Env: readEnvironment(flags.list('env-file'), flags.list('env'), io.env, 1),
    WorkingDir: flags.text('workdir'),
    Cmd: nullIfEmpty(args.slice(1)),
  };
}

async function runExec(invocation: Invocation, execId: string): Promise<number> {
  const { client, flags, io } = invocation;
  const isTty = flags.bool('tty');
  const json = { Detach: false, Tty: isTty, ...consoleSize(invocation) };
  const hijacked = await client.hijack(`/exec/${execId}/start`, { json });
  using _size = isTty && io.isOutTerminal ? followSize(client, io, `/exec/${execId}/resize`) : nothing;
  const options = {
    io,
    isTty,
    hasStdin: flags.bool('interactive'),
    detachKeys: chosenDetachKeys(invocation),
  };
  if ((await runStream(hijacked, options)) === 'detached') throw new CliError('read escape sequence');
  const { ExitCode } = await client.json<{ ExitCode: number | null }>('GET', `/exec/${execId}/json`);
  return ExitCode ?? 0;
}

export const execCommand: Command = {
  paths: ['exec', 'container exec'],
  summary: 'Execute a command in a running container',
  usage: '[OPTIONS] CONTAINER COMMAND [ARG...]',
  arity: { type: 'atLeast', count: 2 },
  stopsAtFirstArgument: true,
  completes: 'container',
  flags: [
    flag('-d, --detach', 'bool', 'Detached mode: run command in the background'),
    flag('--detach-keys', 'string', 'Override the key sequence for detaching a container'),
    checkedBy(flag('-e, --env', 'list', 'Set environment variables'), checkVariable),
    flag('--env-file', 'list', 'Read in a file of environment variables'),
    flag('-i, --interactive', 'bool', 'Keep STDIN open even if not attached'),
    flag('--privileged', 'bool', 'Give extended privileges to the command'),
    flag('-t, --tty', 'bool', 'Allocate a pseudo-TTY'),
    flag('-u, --user', 'string', 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
    flag('-w, --workdir', 'string', 'Working directory inside the container'),
  ],
  examples: [
    ['A shell in a running container', 'exec -it web sh'],
    ['Its addresses', 'exec web ip addr'],
  ],
  run: async (invocation) => {
    const { client, flags, args, io } = invocation;
    const name = encodeURIComponent(args[0] ?? '');
    if (!flags.bool('detach')) checkTty(io, flags.bool('interactive'), flags.bool('tty'));
    const { Id } = await client.json<{ Id: string }>('POST', `/containers/${name}/exec`, {
      json: execBody(invocation),
    });
    if (flags.bool('detach')) {
      const json = { Detach: true, Tty: flags.bool('tty'), ...consoleSize(invocation) };
      await client.text('POST', `/exec/${Id}/start`, { json });
      return;
    }
    try {
      const exitCode = await runExec(invocation, Id);
      if (exitCode !== 0) throw silentExit(exitCode);
    } catch (error) {
      if (!(error instanceof DaemonError)) throw error;
      throw new CliError(error.message, exitCodeOfStartFailure(error.message, 1));
    }
  },
};
