/*
 * `pull`, and the pull that `run` does for a missing image.
 */
import { CliError } from '../cliError.ts';
import { type Command, oneArgument } from '../command.ts';
import { flag } from '../flags.ts';
import { type ApiClient, textOf } from '../http/apiClient.ts';
import type { Io } from '../io.ts';
import { contentTrustFlag } from './contentTrust.ts';
import { registryAuth } from './credentials.ts';
import { printProgress } from './progress.ts';
import { formatReference, isImageId, parseReference } from './reference.ts';

export { formatReference } from './reference.ts';

interface Pull {
  readonly client: ApiClient;
  readonly io: Io;
  readonly reference: string;
  readonly platform: string;
  readonly isQuiet: boolean;
  /** `run` keeps stdout for the container. */
  readonly toStderr: boolean;
  /** Every tag of the repository. */
  readonly isAllTags?: boolean;
}

/** Pulls and prints progress. Throws CliError when the daemon or the registry refuses. */
export async function pullImage(pull: Pull): Promise<void> {
  const { client, io } = pull;
  if (isImageId(pull.reference)) throw new CliError('invalid repository name');
  const { name, tag, digest } = parseReference(pull.reference);
  const response = await client.request('POST', '/images/create', {
    query: {
      fromImage: name,
      tag: pull.isAllTags === true ? undefined : (digest ?? tag ?? 'latest'),
      platform: pull.platform || undefined,
    },
    headers: registryAuth(io, pull.reference),
  });
  const isTerminal = pull.toStderr ? io.isErrTerminal : io.isOutTerminal;
  if (!pull.isQuiet) {
    await printProgress(response.body, pull.toStderr ? io.err : io.out, isTerminal, io.size()?.columns);
    return;
  }
  await printProgress(response.body, () => {}, false);
  await textOf(response).catch(() => '');
}

export const pullCommand: Command = {
  paths: ['pull', 'image pull'],
  summary: 'Download an image from a registry',
  usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
  arity: oneArgument,
  flags: [
    flag('-a, --all-tags', 'bool', 'Download all tagged images in the repository'),
    contentTrustFlag('verification'),
    flag('--platform', 'string', 'Set platform if server is multi-platform capable'),
    flag('-q, --quiet', 'bool', 'Suppress verbose output'),
  ],
  examples: [['From a registry of yours', 'pull 127.0.0.1:5000/busybox:1.36']],
  run: async ({ client, flags, args, io }) => {
    const text = args[0] ?? '';
    const { tag, digest, name } = parseReference(text);
    const isAllTags = flags.bool('all-tags');
    if (isAllTags && (tag !== undefined || digest !== undefined))
      throw new CliError("tag can't be used with --all-tags/-a");
    const isQuiet = flags.bool('quiet');
    if (!isAllTags && tag === undefined && digest === undefined && !isQuiet)
      io.out('Using default tag: latest\n');
    await pullImage({
      client,
      io,
      reference: text,
      platform: flags.text('platform'),
      isQuiet,
      toStderr: false,
      isAllTags,
    });
    const full = `${name}${formatReference(text).slice(parseReference(text).shortName.length)}`;
    io.out(`${isAllTags ? name : full}\n`);
  },
};
