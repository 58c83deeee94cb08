/*
 * `lab exec` and `lab docker`: commands in a host, and at its daemon.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { programFolder } from '../../lab/installation.ts';
import { socketUrl } from '../../lab/labDaemon.ts';
import { inHost } from '../../lab/namespaces.ts';
import { runAttached, toolEnvironment } from '../../lab/tools.ts';
import { silentExit } from '../cliError.ts';
import { type Command, someArguments } from '../command.ts';
import { folderFlag, hostArgument, ownLab, standingLab } from './labCommand.ts';

/** Both command lines ask that host's daemon; ours is on PATH. */
function environmentAt(folder: string, host: string): NodeJS.ProcessEnv {
  const { DOCKER_TLS_VERIFY: _tls, DOCKER_CONTEXT: _context, ...env } = toolEnvironment();
  const url = socketUrl(folder, host);
  const PATH = [programFolder(), env['PATH'] ?? ''].join(delimiter);
  return { ...env, PATH, DOCKER_HOST: url, LINKSPAN_HOST: url };
}

/** The docker CLI on PATH, else our own. */
function commandLine(env: NodeJS.ProcessEnv): string {
  const paths = (env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'docker'));
  const found = paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  return found ?? join(programFolder(), 'linkspan');
}

/** nsenter leaves for the root of the host's mounts; the same folder is there too, but for most of /run. */
const keepFolder = ['sh', '-c', 'cd "$1" 2>/dev/null; shift; exec "$@"', 'lab'];

async function endAs(exitCode: Promise<number>): Promise<void> {
  const code = await exitCode;
  if (code !== 0) throw silentExit(code);
}

export const labExecCommand: Command = {
  paths: ['lab exec'],
  summary: 'Run a command in a host, where linkspan and docker ask its daemon',
  usage: '[OPTIONS] HOST COMMAND [ARG...]',
  arity: { type: 'atLeast', count: 2 },
  completes: 'labHost',
  stopsAtFirstArgument: true,
  flags: [folderFlag],
  examples: [
    ['Another host by its name', 'lab exec host1 ping -c 1 host2'],
    ['A shell', 'lab exec host1 bash'],
  ],
  run: async (invocation) => {
    const lab = ownLab(invocation);
    const [first, ...command] = invocation.args;
    const host = hostArgument(lab, first);
    const words = [...inHost(lab.folder, host), ...keepFolder, process.cwd(), ...command];
    await endAs(runAttached(words, environmentAt(lab.folder, host)));
  },
};

export const labDockerCommand: Command = {
  paths: ['lab docker'],
  summary: 'Run the docker command line at the daemon of a host; ours where there is no docker',
  usage: '[OPTIONS] HOST [ARG...]',
  arity: someArguments,
  completes: 'labHost',
  stopsAtFirstArgument: true,
  flags: [folderFlag],
  examples: [['A container on a host', 'lab docker host1 run --rm busybox hostname']],
  run: async (invocation) => {
    const lab = standingLab(invocation);
    const [first, ...args] = invocation.args;
    const env = environmentAt(lab.folder, hostArgument(lab, first));
    await endAs(runAttached([commandLine(env), ...args], env));
  },
};
