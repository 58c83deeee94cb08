/*
 * `load` and `import`: tars from a file or stdin to the daemon, with a bar on stderr at a terminal; `save`: one from it.
 */
import { createReadStream, openSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { CliError } from '../cliError.ts';
import { type Command, noArguments, someArguments } from '../command.ts';
import { flag } from '../flags.ts';
import type { Io } from '../io.ts';
import { writeFile } from '../outputFile.ts';
import { platformQuery } from './platform.ts';
import { printProgress, withUploadBar } from './progress.ts';
import { parseReference } from './reference.ts';

/** The bytes of a file, with a bar where one can be seen. Throws CliError if the file cannot be opened. */
function readTar(path: string, io: Io, isQuiet: boolean): AsyncIterable<Uint8Array> {
  let fd: number;
  let size: number;
  try {
    fd = openSync(path, 'r');
    size = statSync(path).size;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why = code === 'EACCES' ? 'permission denied' : 'no such file or directory';
    throw new CliError(`open ${path}: ${why}`);
  }
  const source: AsyncIterable<Uint8Array> = createReadStream(path, { fd, highWaterMark: 256 * 1024 });
  return io.isErrTerminal && !isQuiet ? withUploadBar(source, size, io.err, io.nowMs) : source;
}

export const loadCommand: Command = {
  paths: ['load', 'image load'],
  summary: 'Load an image from a tar archive or STDIN',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-i, --input', 'string', 'Read from tar archive file, instead of STDIN'),
    flag(
      '--platform',
      'string',
      'Load only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    ),
    flag('-q, --quiet', 'bool', 'Suppress the load output'),
  ],
  examples: [
    ['From a file', 'load -i image.tar'],
    ['From a pipe', 'load < image.tar'],
  ],
  run: async ({ client, flags, io }) => {
    const input = flags.text('input');
    const isQuiet = flags.bool('quiet') || !io.isOutTerminal;
    if (input === '' && io.isInTerminal) throw new CliError('requested load from stdin, but stdin is empty');
    const stream = input === '' ? io.stdin : readTar(input, io, flags.bool('quiet'));
    const { body } = await client.request('POST', '/images/load', {
      query: { quiet: isQuiet ? '1' : '0', platform: platformQuery(flags.text('platform')) },
      stream,
    });
    await printProgress(body, io.out, io.isOutTerminal, io.size()?.columns);
  },
};

function statOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}

/** Throws CliError in docker's words for a path that no archive can be written to. */
function checkOutput(path: string): void {
  const fail = (why: string): never => {
    throw new CliError(`failed to save image: ${why}`);
  };
  const folder = dirname(path);
  if (statOf(folder) === undefined) fail(`invalid output path: stat ${folder}: no such file or directory`);
  const info = statOf(path);
  if (info?.isDirectory() === true) fail('cannot write to a directory');
  if (info?.isCharacterDevice() === true) fail('cannot write to a character device file');
  if (info?.isBlockDevice() === true) fail('cannot write to a block device file');
  if (info !== undefined && !info.isFile()) fail('cannot write to an irregular file');
}

export const saveCommand: Command = {
  paths: ['save', 'image save'],
  summary: 'Save one or more images to a tar archive (streamed to STDOUT by default)',
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  arity: someArguments,
  completes: 'image',
  flags: [
    flag('-o, --output', 'string', 'Write to a file, instead of STDOUT'),
    flag(
      '--platform',
      'string',
      'Save only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    ),
  ],
  examples: [
    ['To a file', 'save -o busybox.tar busybox:latest'],
    ['To another machine', 'save mine:1 | ssh other linkspan load'],
  ],
  run: async ({ client, flags, args, io }) => {
    const output = flags.text('output');
    if (output === '' && io.isOutTerminal)
      throw new CliError('cowardly refusing to save to a terminal. Use the -o flag or redirect');
    if (output !== '') checkOutput(output);
    const { body } = await client.request('GET', '/images/get', {
      query: { names: args, platform: platformQuery(flags.text('platform')) },
    });
    if (output !== '') return await writeFile(output, body);
    for await (const part of body) io.out(part);
  },
};

export const importCommand: Command = {
  paths: ['import', 'image import'],
  summary: 'Import the contents from a tarball to create a filesystem image',
  usage: '[OPTIONS] file|URL|- [REPOSITORY[:TAG]]',
  arity: { type: 'between', low: 1, high: 2 },
  flags: [
    flag('-c, --change', 'list', 'Apply Dockerfile instruction to the created image'),
    flag('-m, --message', 'string', 'Set commit message for imported image'),
    flag('--platform', 'string', 'Set platform if server is multi-platform capable'),
  ],
  examples: [['A root file system with a command', 'import -c \'CMD ["/bin/sh"]\' rootfs.tar mine:1']],
  run: async ({ client, flags, args, io }) => {
    const [source = '', repository = ''] = args;
    const isUrl = /^https?:\/\//.test(source);
    if (repository !== '') parseReference(repository);
    const stream = isUrl ? undefined : source === '-' ? io.stdin : readTar(source, io, false);
    const { body } = await client.request('POST', '/images/create', {
      query: {
        fromSrc: isUrl ? source : '-',
        repo: repository,
        message: flags.text('message') || undefined,
        changes: flags.list('change'),
        platform: flags.text('platform') || undefined,
      },
      ...(stream === undefined ? {} : { stream }),
    });
    await printProgress(body, io.out, io.isOutTerminal, io.size()?.columns);
  },
};
