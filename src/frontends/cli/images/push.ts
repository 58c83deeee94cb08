/*
 * `push`: an image, or all tags of a repository, to a registry.
 */
import { CliError } from '../cliError.ts';
import { type Command, oneArgument } from '../command.ts';
import { flag } from '../flags.ts';
import { contentTrustFlag } from './contentTrust.ts';
import { registryAuth } from './credentials.ts';
import { platformQuery } from './platform.ts';
import { printProgress } from './progress.ts';
import { parseReference } from './reference.ts';

const platformNote = `
 Info -> Using --platform pushes only the specified platform manifest of a multi-platform image index.
         Other components, like attestations, will not be included.
         To push the complete multi-platform image, remove the --platform flag.
         
`;

export const pushCommand: Command = {
  paths: ['push', 'image push'],
  summary: 'Upload an image to a registry',
  usage: '[OPTIONS] NAME[:TAG]',
  arity: oneArgument,
  completes: 'image',
  flags: [
    flag('-a, --all-tags', 'bool', 'Push all tags of an image to the repository'),
    contentTrustFlag('signing'),
    flag(
      '--platform',
      'string',
      "Push a platform-specific manifest as a single-platform image to the registry. Image index won't be pushed, meaning that other manifests, including attestations won't be preserved. 'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    ),
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
    if (flags.text('platform') !== '') io.out(platformNote);
    if (!isAll && tag === undefined && digest === undefined && !isQuiet)
      io.out('Using default tag: latest\n');
    if (digest !== undefined) throw new CliError('cannot push a digest reference');
    const { body } = await client.request('POST', `/images/${name}/push`, {
      query: {
        tag: isAll ? undefined : (tag ?? 'latest'),
        platform: platformQuery(flags.text('platform')),
      },
      headers: registryAuth(io, text),
    });
    await printProgress(body, isQuiet ? () => {} : io.out, io.isOutTerminal, io.size()?.columns);
    if (isQuiet) io.out(`${name}${isAll ? '' : `:${tag ?? 'latest'}`}\n`);
  },
};
