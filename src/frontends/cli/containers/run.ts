/*
 * `run`: create, attach, wait, start, in the order that loses no output and no exit code.
 */
import { BareError, silentExit } from '../cliError.ts';
import { type Command, type Invocation, someArguments } from '../command.ts';
import { chosenDetachKeys } from '../configFile.ts';
import type { Hijacked } from '../http/apiClient.ts';
import { createContainer, withRunHelp } from './create.ts';
import { watchExit } from './exitStatus.ts';
import { createFlags, runOnlyFlags } from './runFlags.ts';
import { checkTty, followSize, forwardSignals, runStream } from './streams.ts';

interface Plan {
  readonly isTty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

function planRun({ flags }: Invocation): Plan {
  const names = flags.list('attach').map((name) => name.toLowerCase());
  const isDefault = names.length === 0;
  return {
    isTty: flags.bool('tty'),
    stdin: isDefault ? flags.bool('interactive') : names.includes('stdin'),
    stdout: isDefault || names.includes('stdout'),
    stderr: isDefault || names.includes('stderr'),
  };
}

async function runDetached(invocation: Invocation): Promise<void> {
  const { client, io } = invocation;
  if (invocation.flags.list('attach').length > 0)
    throw new BareError('conflicting options: cannot specify both --attach and --detach');
  const id = await createContainer(invocation, true);
  await client.text('POST', `/containers/${id}/start`);
  io.out(`${id}\n`);
}

function attach(invocation: Invocation, id: string, plan: Plan): Promise<Hijacked> {
  const query = {
    stream: '1',
    stdin: plan.stdin ? '1' : undefined,
    stdout: plan.stdout ? '1' : undefined,
    stderr: plan.stderr ? '1' : undefined,
    detachKeys: chosenDetachKeys(invocation) || undefined,
  };
  return invocation.client.hijack(`/containers/${id}/attach`, { query });
}

/** Runs to the end and returns the container's exit code. */
async function runAttached(invocation: Invocation): Promise<number> {
  const { client, io, flags } = invocation;
  const plan = planRun(invocation);
  checkTty(io, plan.stdin, plan.isTty);
  const id = await createContainer(invocation, false, plan.isTty ? io.size() : undefined);
  using _signals = flags.bool('sig-proxy') ? forwardSignals(client, id) : { [Symbol.dispose]: () => {} };
  const [hijacked, exitCode] = await Promise.all([
    attach(invocation, id, plan),
    watchExit(client, id, flags.bool('rm') ? 'removed' : 'next-exit'),
  ]);
  const options = { io, isTty: plan.isTty, hasStdin: plan.stdin, detachKeys: chosenDetachKeys(invocation) };
  const streamed = runStream(hijacked, options);
  // A failing start is reported first; the stream's own end must not be an unhandled one then.
  streamed.catch(() => {});
  try {
    await client.text('POST', `/containers/${id}/start`);
  } catch (error) {
    hijacked.socket.destroy();
    await streamed.catch(() => {});
    if (flags.bool('rm')) await exitCode().catch(() => {});
    throw error;
  }
  using _size =
    plan.isTty && io.isOutTerminal
      ? followSize(client, io, `/containers/${id}/resize`)
      : { [Symbol.dispose]: () => {} };
  return (await streamed) === 'detached' ? 0 : exitCode();
}

export const runCommand: Command = {
  paths: ['run', 'container run'],
  summary: 'Create and run a new container from an image',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  arity: someArguments,
  flags: [...createFlags, ...runOnlyFlags],
  stopsAtFirstArgument: true,
  completes: 'image',
  examples: [
    ['A web server on a network of yours', 'run -d --name web --network mynet busybox httpd -f -p 80 -h /'],
    ['A shell, removed when you leave it', 'run --rm -it busybox sh'],
    ['A fixed address', 'run --rm --network lab --ip 10.77.0.50 busybox ip addr'],
    ['Two networks', 'run -d --network name=mynet,alias=db --network lab busybox sleep 999'],
  ],
  run: async (invocation) => {
    let exitCode = 0;
    try {
      if (invocation.flags.bool('detach')) await runDetached(invocation);
      else exitCode = await runAttached(invocation);
    } catch (error) {
      throw withRunHelp(error, invocation.path, true);
    }
    if (exitCode !== 0) throw silentExit(exitCode);
  },
};
