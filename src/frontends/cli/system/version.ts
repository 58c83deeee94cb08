/*
 * `version`: client and server, as text or through a template.
 */
import { goArchitecture } from '../../../base/architecture.ts';
import { CliError } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { flag } from '../flags.ts';
import { apiVersion } from '../http/apiClient.ts';
import { formatUsage } from '../inspection.ts';
import { dockerShape } from '../template/dockerShape.ts';
import { compileTemplate } from '../template/evaluator.ts';
import { TemplateError } from '../template/lexer.ts';
import { GoStruct, type GoValue, toTyped } from '../template/values.ts';
import { parseJson } from '../text/goJson.ts';

/** The version of this program; kept equal to package.json's by a test. */
export const clientVersion = '0.1.0';

interface ServerVersion {
  readonly Version: string;
  readonly ApiVersion: string;
  readonly MinAPIVersion?: string;
  readonly Os: string;
  readonly Arch: string;
  readonly KernelVersion?: string;
  readonly GitCommit?: string;
  readonly BuildTime?: string;
  readonly Components?: readonly {
    readonly Name: string;
    readonly Version: string;
    readonly Details?: Readonly<Record<string, string>>;
  }[];
}

function row(indent: number, name: string, value: string): string {
  return value === '' ? '' : `${' '.repeat(indent)}${`${name}:`.padEnd(19 - indent)}${value}\n`;
}

function formatClient(): string {
  return [
    'Client:\n',
    row(1, 'Version', clientVersion),
    row(1, 'API version', apiVersion),
    row(1, 'Node version', process.version),
    row(1, 'OS/Arch', `linux/${goArchitecture}`),
  ].join('');
}

function formatServer(server: ServerVersion): string {
  const [engine, ...others] = server.Components ?? [];
  const range = server.MinAPIVersion ? ` (minimum version ${server.MinAPIVersion})` : '';
  return [
    '\nServer:\n',
    ` ${engine?.Name ?? 'Engine'}:\n`,
    row(2, 'Version', engine?.Version ?? server.Version),
    row(2, 'API version', `${server.ApiVersion}${range}`),
    row(2, 'Git commit', server.GitCommit ?? ''),
    row(2, 'Built', server.BuildTime ?? ''),
    row(2, 'OS/Arch', `${server.Os}/${server.Arch}`),
    row(2, 'Kernel', server.KernelVersion ?? ''),
    ...others.map(({ Name, Version }) => ` ${Name}:\n${row(2, 'Version', Version)}`),
  ].join('');
}

/** Docker's templates use Go's field names where they differ from the JSON ones. */
function withGoNames(value: GoValue): GoValue {
  if (!(value instanceof GoStruct)) return value;
  const fields = new Map(value.fields);
  const json = new Set(value.fields.keys());
  fields.set('APIVersion', fields.get('ApiVersion'));
  return new GoStruct(value.typeName, fields, json);
}

function structOf(serverText: string | undefined): GoStruct {
  const client = {
    Version: clientVersion,
    ApiVersion: apiVersion,
    DefaultAPIVersion: apiVersion,
    Os: 'linux',
    Arch: goArchitecture,
    Context: 'default',
  };
  const typed = (json: unknown): GoValue =>
    withGoNames(toTyped(json, { ...dockerShape, optional: {} }, 'types.Version'));
  return new GoStruct(
    'system.versionInfo',
    new Map([
      ['Client', typed(client)],
      ['Server', serverText === undefined ? null : typed(parseJson(serverText))],
    ]),
  );
}

export const versionCommand: Command = {
  paths: ['version'],
  summary: 'Show the Linkspan version information',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [flag('-f, --format', 'string', formatUsage)],
  examples: [["The daemon's version alone", "version -f '{{.Server.Version}}'"]],
  run: async ({ client, flags, io }) => {
    let failure: CliError | undefined;
    const serverText = await client.text('GET', '/version').catch((error: unknown) => {
      if (!(error instanceof CliError)) throw error;
      failure = error;
      return undefined;
    });
    const format = flags.text('format');
    if (format === '') {
      io.out(formatClient());
      if (serverText !== undefined) io.out(formatServer(JSON.parse(serverText) as ServerVersion));
    } else {
      try {
        const template = compileTemplate(format === 'json' ? '{{json .}}' : format);
        io.out(`${template.run(structOf(serverText))}\n`);
      } catch (error) {
        if (error instanceof TemplateError)
          throw new CliError(`template parsing error: ${error.message}`, 64);
        throw error;
      }
    }
    if (failure !== undefined) throw failure;
  },
};
