/*
 * `completion bash|zsh`: scripts made from the command table. Words and flags are in the script; names of containers,
 * networks, volumes and images are asked of the daemon when Tab is pressed.
 */

import { CliError } from '../cliError.ts';
import type { Command } from '../command.ts';
import { oneArgument } from '../command.ts';
import { programName } from '../help.ts';

function flagWords(command: Command): string {
  return command.flags
    .filter((spec) => spec.isHidden !== true)
    .flatMap((spec) => [`--${spec.name}`, ...(spec.short === '' ? [] : [`-${spec.short}`])])
    .concat('--help')
    .sort()
    .join(' ');
}

const nameQueries: Readonly<Record<string, string>> = {
  container: `${programName} ps -a --format '{{.Names}}'`,
  network: `${programName} network ls --format '{{.Name}}'`,
  node: `${programName} node ls --format '{{.Hostname}}'`,
  labHost: `${programName} lab ls -q`,
  volume: `${programName} volume ls -q`,
  image: `${programName} images --format '{{.Repository}}:{{.Tag}}'`,
};

function kindsOf(command: Command): string[] {
  const { completes } = command;
  if (completes === undefined) return [];
  switch (completes) {
    case 'object':
      return ['container', 'network', 'image', 'volume'];
    case 'networkThenContainer':
      return ['network', 'container'];
    case 'container':
    case 'network':
    case 'volume':
    case 'node':
    case 'labHost':
    case 'image':
      return [completes];
  }
}

/** First words, and second words by group. */
function wordsOf(commands: readonly Command[]): { top: string[]; groups: Map<string, string[]> } {
  const groups = new Map<string, string[]>();
  const top = new Set<string>();
  for (const path of commands.flatMap((command) => command.paths)) {
    const [first = '', second] = path.split(' ');
    top.add(first);
    if (second !== undefined) groups.set(first, [...(groups.get(first) ?? []), second]);
  }
  return { top: [...top, 'help'].sort(), groups };
}

function shellFunctions(commands: readonly Command[]): string {
  const { top, groups } = wordsOf(commands);
  const groupCases = [...groups].map(([name, words]) => `    ${name}) echo '${words.sort().join(' ')}' ;;`);
  const flagCases = commands.map(
    (command) => `    ${command.paths.map((path) => `'${path}'`).join('|')}) echo '${flagWords(command)}' ;;`,
  );
  const nameCases = commands
    .filter((command) => command.completes !== undefined)
    .map((command) => {
      const queries = kindsOf(command).map((kind) => `${nameQueries[kind] ?? ''} 2>/dev/null`);
      return `    ${command.paths.map((path) => `'${path}'`).join('|')}) ${queries.join('; ')} ;;`;
    });
  return `_${programName}_words() {
  case "$1" in
    '') echo '${top.join(' ')}' ;;
${groupCases.join('\n')}
  esac
}
_${programName}_flags() {
  case "$1" in
${flagCases.join('\n')}
  esac
}
_${programName}_names() {
  case "$1" in
${nameCases.join('\n')}
  esac
}
_${programName}_candidates() {
  # $1: word being typed, $2: word before it, then the words after the program's name
  local current="$1" previous="$2" group='' path=''
  shift 2
  case "$previous" in
    --network|--net) ${nameQueries['network'] ?? ''} 2>/dev/null; return ;;
  esac
  while [ $# -gt 0 ]; do
    case "$1" in
      -H|--host) shift ;;
      -*) ;;
      *)
        if [ -n "$group" ]; then path="$group $1"; break; fi
        if [ -n "$(_${programName}_words "$1")" ]; then group="$1"; else path="$1"; break; fi ;;
    esac
    shift
  done
  if [ -z "$path" ]; then _${programName}_words "$group"; return; fi
  case "$current" in
    -*) _${programName}_flags "$path" ;;
    *) _${programName}_names "$path" ;;
  esac
}
`;
}

const bashEnd = `_${programName}_complete() {
  local IFS=$' \\t\\n' current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local before=("\${COMP_WORDS[@]:1:COMP_CWORD-1}")
  COMPREPLY=($(compgen -W "$(_${programName}_candidates "$current" "$previous" "\${before[@]}")" -- "$current"))
}
complete -o default -F _${programName}_complete ${programName}
`;

const zshEnd = `_${programName}() {
  local current="\${words[CURRENT]}" previous="\${words[CURRENT-1]}"
  local -a candidates
  candidates=(\${=$(_${programName}_candidates "$current" "$previous" "\${(@)words[2,CURRENT-1]}")})
  compadd -- $candidates || _files
}
compdef _${programName} ${programName}
`;

/** The script for a shell. Throws CliError for one that there is none for. */
export function completionScript(shell: string, commands: readonly Command[]): string {
  switch (shell) {
    case 'bash':
      return `# bash completion for ${programName}\n${shellFunctions(commands)}${bashEnd}`;
    case 'zsh':
      return `#compdef ${programName}\n# zsh completion for ${programName}\n${shellFunctions(commands)}${zshEnd}`;
    default:
      throw new CliError(`no completion for ${shell}: bash and zsh have one`);
  }
}

/** `commands` is asked for late, because the table holds this command too. */
export function completionCommand(commands: () => readonly Command[]): Command {
  return {
    paths: ['completion'],
    summary: 'Generate the autocompletion script for the specified shell (bash or zsh)',
    usage: 'SHELL',
    arity: oneArgument,
    flags: [],
    examples: [
      ['For every zsh', 'completion zsh > /usr/local/share/zsh/site-functions/_linkspan'],
      ['For every bash', 'completion bash > /etc/bash_completion.d/linkspan'],
    ],
    run: async ({ args, io }) => {
      io.out(completionScript(args[0] ?? '', commands()));
      return Promise.resolve();
    },
  };
}
