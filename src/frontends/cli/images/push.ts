/*
 * `push`: an image, or all tags of a repository, to a registry.
 */
import { CliError } from '../cliError.ts';
import { type Command, oneArgument } from '../command.ts';
import { flag } from '../flags.ts';
import { registryAuth } from './credentials.ts';
import { printProgress } from './progress.ts';
import { parseReference } from './reference.ts';

export const pushCommand: Command = {
  paths: ['push', 'image push'],
  summary: 'Upload an image to a registry',
  usage: '[OPTIONS] NAME[:TAG]',
  arity: oneArgument,
  completes: 'image',
  flags: [
    flag('-a, --all-tags', 'bool', 'Push all tags of an image to the repository'),
    flag('-q, --quiet', 'bool', 'Suppress verbose output'),
  ],
  examples: [['To a registry of yours', 'push 127.0.0.1:5000/mine:1']],
  run: async ({ client, flags, args, io }) => {
    const [text = ''] = args;
    const { name, tag, digest } = parseReference(text);
    const isAll = flags.bool('all-tags');
    const isQuiet = flags.bool('quiet');
    if (isAll && (tag !== undefined || digest !== undefined))
      throw new CliError("tag can't be used with --all-tags/-a");
    if (!isAll && tag === undefined && digest === undefined && !isQuiet)
      io.out('Using default tag: latest\n');
    if (digest !== undefined) throw new CliError('cannot push a digest reference');
    const { body } = await client.request('POST', `/images/${name}/push`, {
      query: { tag: isAll ? undefined : (tag ?? 'latest') },
      headers: registryAuth(io, text),
    });
    await printProgress(body, isQuiet ? () => {} : io.out, io.isOutTerminal, io.size()?.columns);
    if (isQuiet) io.out(`${name}${isAll ? '' : `:${tag ?? 'latest'}`}\n`);
  },
};
