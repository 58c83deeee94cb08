/*
 * `load` and `import`: tars from a file or stdin to the daemon, with a bar on stderr at a terminal.
 */
import { createReadStream, openSync, statSync } from 'node:fs';
import { CliError } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { flag } from '../flags.ts';
import type { Io } from '../io.ts';
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
      query: { quiet: isQuiet ? '1' : '0', platform: flags.text('platform') || undefined },
      stream,
    });
    await printProgress(body, io.out, io.isOutTerminal, io.size()?.columns);
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
