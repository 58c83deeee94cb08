/*
 * `diff`, `export` and `commit`: what a container changed, and its files as a tar or as an image.
 */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { CliError } from '../cliError.ts';
import { type Command, oneArgument } from '../command.ts';
import { flag } from '../flags.ts';
import { parseReference, type Reference } from '../images/reference.ts';
import { writeFile } from '../outputFile.ts';

const statOf = (path: string): ReturnType<typeof statSync> | undefined => {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
};

/** Throws CliError in docker's words. */
function checkOutputPath(path: string): void {
  const folder = dirname(path);
  if (statOf(folder) === undefined)
    throw new CliError(`invalid output path: stat ${folder}: no such file or directory`);
  const info = statOf(path);
  if (info === undefined || info.isDirectory() || info.isFile()) return;
  throw new CliError(
    info.isCharacterDevice() || info.isBlockDevice()
      ? 'got a device'
      : `invalid output path: ${JSON.stringify(path)} must be a directory or a regular file`,
  );
}

const exportCommand: Command = {
  paths: ['export', 'container export'],
  summary: "Export a container's filesystem as a tar archive",
  usage: '[OPTIONS] CONTAINER',
  arity: oneArgument,
  completes: 'container',
  flags: [flag('-o, --output', 'string', 'Write to a file, instead of STDOUT')],
  examples: [
    ['To a file', 'export -o web.tar web'],
    ['What is in it', 'export web | tar -t'],
  ],
  run: async ({ client, flags, args, io }) => {
    const [name = ''] = args;
    const output = flags.text('output');
    if (output === '' && io.isOutTerminal)
      throw new CliError('cowardly refusing to save to a terminal. Use the -o flag or redirect');
    try {
      if (output !== '') checkOutputPath(output);
    } catch (error) {
      throw error instanceof CliError ? new CliError(`failed to export container: ${error.message}`) : error;
    }
    const { body } = await client.request('GET', `/containers/${encodeURIComponent(name)}/export`);
    if (output !== '') return await writeFile(output, body);
    for await (const part of body) io.out(part);
  },
};

const commitCommand: Command = {
  paths: ['commit', 'container commit'],
  summary: "Create a new image from a container's changes",
  usage: '[OPTIONS] CONTAINER [REPOSITORY[:TAG]]',
  arity: { type: 'between', low: 1, high: 2 },
  completes: 'container',
  flags: [
    flag('-a, --author', 'string', 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
    flag('-c, --change', 'list', 'Apply Dockerfile instruction to the created image'),
    flag('-m, --message', 'string', 'Commit message'),
    flag('-p, --pause', 'bool', 'Pause container during commit', 'true'),
  ],
  examples: [
    ['With a name', 'commit web web:tried'],
    ['With another command', 'commit -c \'CMD ["httpd", "-f"]\' web web:2'],
  ],
  run: async ({ client, flags, args, io }) => {
    const [container = '', reference = ''] = args;
    const { name, tag, digest }: Partial<Reference> & Pick<Reference, 'name'> =
      reference === '' ? { name: '' } : parseReference(reference);
    if (digest !== undefined) throw new CliError('refusing to create a tag with a digest reference');
    const query = {
      container,
      repo: name,
      tag: name === '' ? '' : (tag ?? 'latest'),
      author: flags.text('author'),
      comment: flags.text('message'),
      changes: flags.list('change'),
      pause: flags.bool('pause') ? undefined : '0',
    };
    const { Id } = await client.json<{ Id: string }>('POST', '/commit', { query });
    io.out(`${Id}\n`);
  },
};

/** By Docker's numbers of kinds. */
const changeLetters = ['C', 'A', 'D'];

const diffCommand: Command = {
  paths: ['diff', 'container diff'],
  summary: "Inspect changes to files or directories on a container's filesystem",
  usage: 'CONTAINER',
  arity: oneArgument,
  completes: 'container',
  flags: [],
  examples: [['A for added, C for changed, D for deleted', 'diff web']],
  run: async ({ client, args, io }) => {
    const [name = ''] = args;
    const changes = await client.json<{ Path: string; Kind: number }[] | null>(
      'GET',
      `/containers/${encodeURIComponent(name)}/changes`,
    );
    for (const { Path, Kind } of changes ?? []) io.out(`${changeLetters[Kind] ?? ''} ${Path}\n`);
  },
};

export const fileCommands: readonly Command[] = [commitCommand, diffCommand, exportCommand];
