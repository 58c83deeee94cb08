/*
 * `attach` and `start -a`: joining a container that exists.
 */
import { CliError, silentExit } from '../cliError.ts';
import { type Command, type Invocation, oneArgument, someArguments } from '../command.ts';
import { chosenDetachKeys } from '../configFile.ts';
import { forEachName } from '../eachName.ts';
import { flag } from '../flags.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { watchExit } from './exitStatus.ts';
import { checkTty, followSize, forwardSignals, runStream } from './streams.ts';

interface ContainerInfo {
  readonly Id: string;
  readonly Config: { readonly Tty: boolean; readonly OpenStdin: boolean };
  readonly HostConfig: { readonly AutoRemove: boolean };
  readonly State: { readonly Running: boolean; readonly Paused: boolean; readonly Restarting: boolean };
}

export function getContainer(client: ApiClient, name: string): Promise<ContainerInfo> {
  return client.json<ContainerInfo>('GET', `/containers/${encodeURIComponent(name)}/json`);
}

const nothing: Disposable = { [Symbol.dispose]: () => {} };

interface Joined {
  readonly hasStdin: boolean;
  readonly proxiesSignals: boolean;
  readonly condition: 'next-exit' | 'removed' | 'not-running';
  /** Done once the streams and the wait are in place. */
  readonly begin: () => Promise<void>;
}

/** Attaches, begins, prints to the end; returns the container's exit code, or undefined when the user detached. */
async function join(
  invocation: Invocation,
  info: ContainerInfo,
  joined: Joined,
): Promise<number | undefined> {
  const { client, io } = invocation;
  const isTty = info.Config.Tty;
  checkTty(io, joined.hasStdin, isTty);
  const query = {
    stream: '1',
    stdin: joined.hasStdin ? '1' : undefined,
    stdout: '1',
    stderr: '1',
    detachKeys: chosenDetachKeys(invocation) || undefined,
  };
  using _signals = joined.proxiesSignals ? forwardSignals(client, info.Id) : nothing;
  const [hijacked, exitCode] = await Promise.all([
    client.hijack(`/containers/${info.Id}/attach`, { query }),
    watchExit(client, info.Id, joined.condition),
  ]);
  const options = { io, isTty, hasStdin: joined.hasStdin, detachKeys: chosenDetachKeys(invocation) };
  const streamed = runStream(hijacked, options);
  streamed.catch(() => {});
  try {
    await joined.begin();
  } catch (error) {
    hijacked.socket.destroy();
    await streamed.catch(() => {});
    throw error;
  }
  using _size = isTty && io.isOutTerminal ? followSize(client, io, `/containers/${info.Id}/resize`) : nothing;
  return (await streamed) === 'detached' ? undefined : exitCode();
}

function endWith(exitCode: number | undefined): void {
  if (exitCode !== undefined && exitCode !== 0) throw silentExit(exitCode);
}

export const attachCommand: Command = {
  paths: ['attach', 'container attach'],
  summary: 'Attach local standard input, output, and error streams to a running container',
  usage: '[OPTIONS] CONTAINER',
  arity: oneArgument,
  completes: 'container',
  flags: [
    flag('--detach-keys', 'string', 'Override the key sequence for detaching a container'),
    flag('--no-stdin', 'bool', 'Do not attach STDIN'),
    flag('--sig-proxy', 'bool', 'Proxy all received signals to the process', 'true'),
  ],
  examples: [['See what a container prints, leave it with Ctrl-P Ctrl-Q', 'attach web']],
  run: async (invocation) => {
    const { client, args, flags } = invocation;
    const info = await getContainer(client, args[0] ?? '');
    if (!info.State.Running) throw new CliError('cannot attach to a stopped container, start it first');
    if (info.State.Paused) throw new CliError('cannot attach to a paused container, unpause it first');
    if (info.State.Restarting)
      throw new CliError('cannot attach to a restarting container, wait until it is running');
    const hasStdin = !flags.bool('no-stdin') && info.Config.OpenStdin;
    const proxiesSignals = flags.bool('sig-proxy') && !info.Config.Tty;
    const exitCode = await join(invocation, info, {
      hasStdin,
      proxiesSignals,
      condition: 'not-running',
      begin: () => Promise.resolve(),
    });
    if (exitCode === undefined) throw new CliError('read escape sequence');
    endWith(exitCode);
  },
};

async function startAttached(invocation: Invocation): Promise<void> {
  const { client, args, flags } = invocation;
  if (args.length > 1) throw new CliError('you cannot start and attach multiple containers at once');
  const info = await getContainer(client, args[0] ?? '');
  const exitCode = await join(invocation, info, {
    hasStdin: flags.bool('interactive') && info.Config.OpenStdin,
    proxiesSignals: !info.Config.Tty,
    condition: info.HostConfig.AutoRemove ? 'removed' : 'next-exit',
    begin: async () => void (await client.text('POST', `/containers/${info.Id}/start`)),
  });
  endWith(exitCode);
}

export const startCommand: Command = {
  paths: ['start', 'container start'],
  summary: 'Start one or more stopped containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  arity: someArguments,
  completes: 'container',
  flags: [
    flag('-a, --attach', 'bool', 'Attach STDOUT/STDERR and forward signals'),
    flag('-i, --interactive', 'bool', "Attach container's STDIN"),
    flag('--detach-keys', 'string', 'Override the key sequence for detaching a container'),
  ],
  examples: [['Start again and see the output', 'start -a web']],
  run: async (invocation) => {
    const { client, args, flags, io } = invocation;
    if (flags.bool('attach') || flags.bool('interactive')) return startAttached(invocation);
    const failed: string[] = [];
    const start = async (name: string): Promise<string> => {
      try {
        await client.text('POST', `/containers/${encodeURIComponent(name)}/start`);
        return name;
      } catch (error) {
        failed.push(name);
        throw error;
      }
    };
    try {
      await forEachName(io, args, start);
    } catch (error) {
      if (!(error instanceof CliError) || !error.isSilent) throw error;
      throw new CliError(`Error: failed to start containers: ${failed.join(', ')}`);
    }
  },
};
