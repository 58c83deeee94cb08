/*
 * `create`, and the part of `run` that makes the container: body, pull of a missing image, warnings, `--cidfile`.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { BareError, CliError, isDaemonStatus } from '../cliError.ts';
import { type Command, type Invocation, someArguments } from '../command.ts';
import { proxyVariables } from '../configFile.ts';
import { programName } from '../help.ts';
import { formatReference, pullImage } from '../images/pull.ts';
import { nullIfEmpty } from '../text/nullIfEmpty.ts';
import { type ConsoleSize, containerCreateBody } from './createRequest.ts';
import { exitCodeOfStartFailure } from './exitStatus.ts';
import { createFlags } from './runFlags.ts';

/** A failure of `run` or `create` in Docker's form: the program's name before it, a hint after it. */
export function withRunHelp(error: unknown, path: string, mapsCodes: boolean): unknown {
  if (!(error instanceof CliError) || error instanceof BareError || error.isSilent) return error;
  const code = mapsCodes ? exitCodeOfStartFailure(error.message, 125) : error.exitCode;
  const command = path.split(' ').at(-1) ?? path;
  return new CliError(
    `${programName}: ${error.message}\n\nRun '${programName} ${command} --help' for more information`,
    code,
  );
}

function checkPullMode(mode: string): void {
  if (!['always', 'missing', 'never', ''].includes(mode))
    throw new CliError(`invalid pull option: '${mode}': must be one of "always", "missing" or "never"`, 125);
}

/** Refuses early when the file exists; the returned function writes the id. */
function prepareCidFile(path: string): (id: string) => void {
  if (path === '') return () => {};
  if (existsSync(path))
    throw new CliError(
      `container ID file found, make sure the other container isn't running or delete ${path}`,
      125,
    );
  return (id) => writeFileSync(path, id);
}

/** Makes the container and returns its id. Throws CliError; a DaemonError passes unchanged. */
export async function createContainer(
  { client, flags, args, io, config }: Invocation,
  isDetached: boolean,
  console?: ConsoleSize,
): Promise<string> {
  const pull = flags.text('pull');
  checkPullMode(pull);
  const body = containerCreateBody(flags, args, io.env, isDetached, console);
  const proxies = proxyVariables(config, client.host, flags.list('env'));
  const json = { ...body, Env: nullIfEmpty([...(body.Env ?? []), ...proxies]) };
  const writeCid = prepareCidFile(flags.text('cidfile'));
  const image = args[0] ?? '';
  const platform = flags.text('platform');
  const fetchImage = (): Promise<void> =>
    pullImage({ client, io, reference: image, platform, isQuiet: flags.bool('quiet'), toStderr: true });
  const create = (): Promise<{ Id: string; Warnings: string[] | null }> =>
    client.json('POST', '/containers/create', {
      query: { name: flags.text('name') || undefined, platform: platform || undefined },
      json,
    });
  if (pull === 'always') await fetchImage();
  const created = await create().catch(async (error: unknown) => {
    if (!isDaemonStatus(error, 404) || !/no such image/i.test(error.message) || pull !== 'missing')
      throw error;
    if (!flags.bool('quiet')) io.err(`Unable to find image '${formatReference(image)}' locally\n`);
    await fetchImage();
    return create();
  });
  for (const warning of created.Warnings ?? []) io.err(`WARNING: ${warning}\n`);
  writeCid(created.Id);
  return created.Id;
}

export const createCommand: Command = {
  paths: ['create', 'container create'],
  summary: 'Create a new container',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  arity: someArguments,
  flags: createFlags,
  stopsAtFirstArgument: true,
  completes: 'image',
  examples: [['Make a container now, start it later', 'create --name web --network mynet busybox httpd -f']],
  run: async (invocation) => {
    try {
      invocation.io.out(`${await createContainer(invocation, false)}\n`);
    } catch (error) {
      // Docker gives the daemon's refusals of `create` as they are, with code 1.
      throw error instanceof CliError && error.exitCode === 125
        ? withRunHelp(error, invocation.path, false)
        : error;
    }
  },
};
