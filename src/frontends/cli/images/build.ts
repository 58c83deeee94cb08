/*
 * `build`: sends a folder, a tar or the place of one to the daemon, whose BuildKit makes an image of it, and prints what
 * that says.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { CliError } from '../cliError.ts';
import { type Command, oneArgument } from '../command.ts';
import { proxyVariables } from '../configFile.ts';
import { flag, type Flags } from '../flags.ts';
import type { Query } from '../http/apiClient.ts';
import { jsonTexts } from '../http/jsonLines.ts';
import type { Io } from '../io.ts';
import { openBuildContext } from './buildContext.ts';
import { registryConfig } from './credentials.ts';

interface BuildMessage {
  readonly stream?: string;
  readonly aux?: { readonly ID?: string };
  readonly error?: string;
  readonly errorDetail?: { readonly code?: number; readonly message?: string };
}

/** `KEY=value` and, where `fromEnvironment` may know it, a bare `KEY`. */
function toMap(
  texts: readonly string[],
  fromEnvironment: (key: string) => string | null,
): string | undefined {
  const pairs = texts.map((text) => {
    const [, key = text, value] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    return [key, value ?? fromEnvironment(key)] as const;
  });
  return pairs.length === 0 ? undefined : JSON.stringify(Object.fromEntries(pairs));
}

function toQuery(flags: Flags, env: NodeJS.ProcessEnv, proxies: readonly string[]): Query {
  const cacheFrom = flags.list('cache-from');
  return {
    t: flags.list('tag'),
    buildargs: toMap([...flags.list('build-arg'), ...proxies], (key) => env[key] ?? null),
    labels: toMap(flags.list('label'), () => ''),
    target: flags.text('target') || undefined,
    nocache: flags.bool('no-cache') ? '1' : undefined,
    pull: flags.bool('pull') ? '1' : undefined,
    q: flags.bool('quiet') ? '1' : undefined,
    platform: flags.text('platform') || undefined,
    networkmode: flags.text('network') || undefined,
    extrahosts: flags.list('add-host'),
    cachefrom: cacheFrom.length === 0 ? undefined : JSON.stringify(cacheFrom),
  };
}

/** Prints what the build says, and resolves with the image's id. Throws CliError with the code of what failed. */
async function printBuild(body: AsyncIterable<Buffer>, io: Io): Promise<string> {
  let id = '';
  for await (const text of jsonTexts(body)) {
    const { stream, aux, error, errorDetail } = JSON.parse(text) as BuildMessage;
    const failure = errorDetail?.message ?? error;
    if (failure !== undefined) throw new CliError(failure, errorDetail?.code ?? 1);
    if (stream !== undefined) io.out(stream);
    id = aux?.ID ?? /^sha256:[0-9a-f]{64}$/m.exec(stream ?? '')?.[0] ?? id;
  }
  return id;
}

interface Source {
  readonly query: Query;
  readonly stream?: AsyncIterable<Uint8Array>;
}

async function openSource(source: string, dockerfile: string, io: Io): Promise<Source> {
  if (/^(https?:\/\/|git:\/\/|git@|github\.com\/)/.test(source))
    return { query: { remote: source, dockerfile: dockerfile || undefined } };
  if (source === '-') {
    if (dockerfile === '-')
      throw new CliError("invalid argument: can't use stdin for both build context and dockerfile");
    return { query: { dockerfile: dockerfile || undefined }, stream: io.stdin };
  }
  const given = dockerfile === '-' ? await buffer(io.stdin) : undefined;
  const { dockerfile: name, tar } = openBuildContext(source, dockerfile, given);
  return { query: { dockerfile: name }, stream: tar };
}

export const buildCommand: Command = {
  paths: ['build', 'image build'],
  summary: 'Build an image from a Dockerfile',
  usage: '[OPTIONS] PATH | URL | -',
  arity: oneArgument,
  flags: [
    flag('--add-host', 'list', 'Add a custom host-to-IP mapping ("host:ip")'),
    flag('--build-arg', 'list', 'Set build-time variables'),
    flag('--cache-from', 'strings', 'Images to consider as cache sources'),
    flag('-f, --file', 'string', 'Name of the Dockerfile (Default is "PATH/Dockerfile")'),
    flag('--iidfile', 'string', 'Write the image ID to the file'),
    flag('--label', 'list', 'Set metadata for an image'),
    flag('--network', 'string', 'Set the networking mode for the RUN instructions during build'),
    flag('--no-cache', 'bool', 'Do not use cache when building the image'),
    flag('--platform', 'string', 'Set platform if server is multi-platform capable'),
    flag('--pull', 'bool', 'Always attempt to pull a newer version of the image'),
    flag('-q, --quiet', 'bool', 'Suppress the build output and print image ID on success'),
    flag('-t, --tag', 'list', 'Name and optionally a tag in the "name:tag" format'),
    flag('--target', 'string', 'Set the target build stage to build.'),
  ],
  examples: [
    ['The folder that you are in', 'build -t mine:1 .'],
    ['A Dockerfile from elsewhere, with an argument', 'build -f app.Dockerfile --build-arg VERSION=2 .'],
  ],
  run: async ({ client, flags, args, io, config }) => {
    const [path = ''] = args;
    // The daemon says so, too, but closes the connection while the context is still being sent.
    if (flags.list('tag').some((name) => name.includes('@')))
      throw new CliError('build tag cannot contain a digest');
    const idFile = flags.text('iidfile');
    // Whoever reads it after a build that failed is not to find the image of an earlier one.
    if (idFile !== '') rmSync(idFile, { force: true });
    const { query, stream } = await openSource(path, flags.text('file'), io);
    const proxies = proxyVariables(config, client.host, flags.list('build-arg'));
    const { body } = await client.request('POST', '/build', {
      query: { ...toQuery(flags, io.env, proxies), ...query },
      headers: registryConfig(io),
      ...(stream === undefined ? {} : { stream }),
    });
    const id = await printBuild(body, io);
    if (idFile !== '') writeFileSync(idFile, id);
  },
};
