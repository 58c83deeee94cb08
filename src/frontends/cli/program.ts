/*
 * The program: global flags, finding the command, its flags and arguments, and turning failures into a text on
 * stderr and an exit code, in the forms that the docker CLI uses.
 */
import { CliError } from './cliError.ts';
import { type Arity, arityProblem, type Command, type Group } from './command.ts';
import { absentPaths, commands, commonPaths, groups } from './commandTable.ts';
import { loadConfig } from './configFile.ts';
import { type FlagSpec, flag, parseFlags } from './flags.ts';
import { formatCommandHelp, formatGroupHelp, formatRootHelp, helpColumns, programName } from './help.ts';
import { ApiClient } from './http/apiClient.ts';
import { chooseHost, defaultHost } from './http/host.ts';
import type { Io } from './io.ts';
import { clientVersion } from './system/version.ts';

const helpFlag = flag('--help', 'bool', 'Print usage');

const globalFlags: readonly FlagSpec[] = [
  flag(
    '-H, --host',
    'string',
    `Daemon socket to connect to (LINKSPAN_HOST and DOCKER_HOST do the same; default ${defaultHost})`,
  ),
  flag(
    '--config',
    'string',
    'Location of client config files (DOCKER_CONFIG does the same; default ~/.docker)',
  ),
  flag('-D, --debug', 'bool', 'Show where an internal failure comes from'),
  flag('-v, --version', 'bool', 'Print version information and quit'),
];

/** Flags of the docker CLI that change nothing here. */
const ignoredFlags: readonly FlagSpec[] = [flag('-l, --log-level', 'string', '')].map((spec) => ({
  ...spec,
  isHidden: true,
}));

function findCommand(path: string): Command | undefined {
  return commands.find((command) => command.paths.includes(path));
}

function membersOf(group: Group): Command[] {
  return commands.filter((command) => command.paths.some((path) => path.startsWith(`${group.name} `)));
}

function runHint(path: string): string {
  return `Run '${[programName, path].filter(Boolean).join(' ')} --help' for more information`;
}

function usageLines(command: Command, path: string): string {
  return `Usage:  ${programName} ${path} ${command.usage}`.trimEnd();
}

function unknownCommand(path: string, parent: string): CliError {
  if (absentPaths.has(path))
    return new CliError(`${programName}: '${programName} ${path}' is not implemented yet`);
  const usage = parent === '' ? '' : `\n\nUsage:  ${programName} ${parent}`;
  return new CliError(
    `${programName}: unknown command: ${programName} ${path}${usage}\n\n${runHint(parent)}`,
  );
}

function rootHelp(io: Io): string {
  const row = (path: string): [string, string] => [path, findCommand(path)?.summary ?? ''];
  const rest = commands
    .map(({ paths }) => paths[0])
    .filter((path) => !path.includes(' ') && !commonPaths.includes(path))
    .sort();
  return formatRootHelp(
    [
      { title: 'Common Commands', rows: commonPaths.map(row) },
      { title: 'Management Commands', rows: groups.map((group) => [group.name, group.summary] as const) },
      { title: 'Commands', rows: rest.map(row) },
    ],
    globalFlags,
    helpColumns(io.size()?.columns),
  );
}

function checkArity(arity: Arity, count: number, command: Command, path: string): void {
  const problem = arityProblem(arity, count);
  if (problem === undefined) return;
  const hint = arity.type === 'atLeast' ? runHint(path).replace('Run', 'See') : runHint(path);
  throw new CliError(
    `${programName}: '${programName} ${path}' ${problem}\n\n${usageLines(command, path)}\n\n${hint}`,
  );
}

interface Found {
  readonly command: Command;
  readonly path: string;
  readonly rest: readonly string[];
}

/** `help network ls` and `network ls --help` mean the same. */
function showHelp(io: Io, words: readonly string[]): void {
  const path = words.join(' ');
  const group = groups.find(({ name }) => name === path);
  const command = findCommand(path);
  if (path === '') io.out(rootHelp(io));
  else if (group !== undefined) io.out(formatGroupHelp(group, membersOf(group)));
  else if (command !== undefined) io.out(formatCommandHelp(command, path, helpColumns(io.size()?.columns)));
  else throw new CliError(`unknown help topic: ${path}`);
}

type Wanted = Found | { readonly help: readonly string[] };

/** The command that the words name, or the topic that help was asked for. */
function locate(words: readonly string[]): Wanted {
  const [first = '', second = '', ...rest] = words;
  if (first === '' || first === '--help') return { help: [] };
  if (first === 'help') return { help: words.slice(1) };
  const group = groups.find(({ name }) => name === first);
  if (group === undefined) {
    const longer = findCommand(`${first} ${second}`);
    if (longer !== undefined) return { command: longer, path: `${first} ${second}`, rest };
    const command = findCommand(first);
    if (command === undefined) throw unknownCommand(first, '');
    return { command, path: first, rest: words.slice(1) };
  }
  if (second === '' || second === '--help' || second === '-h') return { help: [first] };
  if (second === 'help') return { help: [first, ...rest] };
  const path = `${first} ${second}`;
  const command = findCommand(path);
  if (command === undefined) throw unknownCommand(path, first);
  return { command, path, rest };
}

function parseCommandLine(found: Found): ReturnType<typeof parseFlags> {
  const { command, path, rest } = found;
  try {
    return parseFlags([...command.flags, helpFlag], rest, command.stopsAtFirstArgument !== true);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(
      `${error.message}\n\n${usageLines(command, path)}\n\n${runHint(path)}`,
      error.exitCode,
    );
  }
}

function parseGlobal(argv: readonly string[]): ReturnType<typeof parseFlags> {
  try {
    return parseFlags([...globalFlags, ...ignoredFlags, helpFlag], argv, false);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(
      `${error.message}\n\nUsage:  ${programName} [OPTIONS] COMMAND [ARG...]\n\n${runHint('')}`,
      error.exitCode,
    );
  }
}

async function runWords(argv: readonly string[], io: Io): Promise<void> {
  const global = parseGlobal(argv);
  if (global.flags.bool('version')) return io.out(`Linkspan version ${clientVersion}\n`);
  if (global.flags.bool('help')) return showHelp(io, global.args);
  const found = locate(global.args);
  if ('help' in found) return showHelp(io, found.help);
  const { flags, args } = parseCommandLine(found);
  const { command, path } = found;
  if (flags.bool('help')) return showHelp(io, path.split(' '));
  checkArity(command.arity, args.length, command, path);
  const host = chooseHost(global.flags.text('host'), io.env);
  const folder = global.flags.text('config');
  const ownIo = folder === '' ? io : { ...io, env: { ...io.env, DOCKER_CONFIG: folder } };
  const config = loadConfig(ownIo);
  const client = new ApiClient(host, config.HttpHeaders);
  await command.run({ path, flags, args, client, io: ownIo, config });
}

/** Runs one command line (without the program's name) and returns the exit code. Prints every failure itself. */
export async function runProgram(argv: readonly string[], io: Io): Promise<number> {
  try {
    await runWords(argv, io);
    return 0;
  } catch (error) {
    if (!(error instanceof CliError)) {
      const isDebug = argv[0] === '-D' || argv[0] === '--debug';
      io.err(`${error instanceof Error ? (isDebug ? error.stack : error.message) : String(error)}\n`);
      return 1;
    }
    if (!error.isSilent) io.err(`${error.message}\n`);
    return error.exitCode;
  }
}
