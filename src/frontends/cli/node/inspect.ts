/*
 * `node inspect`: JSON, a template, or Docker's page for people (`--pretty`).
 */
import { CliError } from '../cliError.ts';
import { type Command, someArguments } from '../command.ts';
import { flag } from '../flags.ts';
import { formatUsage, inspectAll, type InspectView } from '../inspection.ts';
import { type NodeAnswer, nodePath, resolveSelf } from '../swarm/swarmApi.ts';
import { dockerShape } from '../template/dockerShape.ts';
import { formatGoTime } from '../text/goTime.ts';
import { formatBinarySize } from '../text/units.ts';
import { capitalize } from './words.ts';

/** Docker's client decodes a node and shows what it decoded, so an unknown field fails at once. */
const view: InspectView = {
  typeName: 'swarm.Node',
  shape: {
    ...dockerShape,
    optional: {
      '': { ManagerStatus: null },
      Spec: { Name: '' },
      Status: { Message: '', Addr: '' },
      ManagerStatus: { Leader: false },
      Engine: { Labels: null, Plugins: null },
      TLSInfo: { TrustRoot: '', CertIssuerSubject: null, CertIssuerPublicKey: null },
    },
  },
  isTypedOnly: true,
};

function sortLabels(key: string, value: unknown): unknown {
  if (key !== 'Labels' || typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** As Go encodes what it decoded: labels in order, characters of HTML escaped. */
function reencode(json: string): string {
  return JSON.stringify(JSON.parse(json), sortLabels)
    .replaceAll('<', '\\u003c')
    .replaceAll('>', '\\u003e')
    .replaceAll('&', '\\u0026');
}

function labelLines(title: string, labels: Readonly<Record<string, string>> | null | undefined): string[] {
  const names = Object.keys(labels ?? {}).sort();
  return names.length === 0
    ? []
    : [`${title}:`, ...names.map((name) => ` - ${name}=${labels?.[name] ?? ''}`)];
}

function pluginLines({ Description }: NodeAnswer): string[] {
  const plugins = Description.Engine.Plugins ?? [];
  if (plugins.length === 0) return [];
  const types = [...new Set(plugins.map(({ Type }) => Type))].sort();
  const namesOf = (type: string): string =>
    plugins.flatMap(({ Type, Name }) => (Type === type ? [Name] : [])).join(', ');
  return ['Plugins:', ...types.map((type) => ` ${type}:\t\t${namesOf(type)}`)];
}

function managerLines({ ManagerStatus }: NodeAnswer): string[] {
  if (ManagerStatus === undefined) return [];
  return [
    'Manager Status:',
    ` Address:\t\t${ManagerStatus.Addr ?? ''}`,
    ` Raft Status:\t\t${capitalize(ManagerStatus.Reachability ?? '')}`,
    ` Leader:\t\t${ManagerStatus.Leader === true ? 'Yes' : 'No'}`,
  ];
}

function tlsLines({ Description: { TLSInfo } }: NodeAnswer): string[] {
  if (TLSInfo?.TrustRoot === undefined) return [];
  return [
    'TLS Info:',
    ` TrustRoot:\n${TLSInfo.TrustRoot}`,
    ` Issuer Subject:\t${TLSInfo.CertIssuerSubject ?? ''}`,
    ` Issuer Public Key:\t${TLSInfo.CertIssuerPublicKey ?? ''}`,
  ];
}

/** The page of `--pretty`; its columns are Docker's, tabs and all. */
export function formatNode(node: NodeAnswer): string {
  const { Spec, Status, Description } = node;
  const { Platform, Resources, Engine } = Description;
  return [
    `ID:\t\t\t${node.ID}`,
    ...(Spec.Name ? [`Name:\t\t\t${Spec.Name}`] : []),
    ...labelLines('Labels', Spec.Labels),
    `Hostname:              \t${Description.Hostname}`,
    `Joined at:             \t${formatGoTime(node.CreatedAt).toLowerCase()}`,
    'Status:',
    ` State:\t\t\t${capitalize(Status.State)}`,
    ...(Status.Message ? [` Message:              \t${capitalize(Status.Message)}`] : []),
    ` Availability:         \t${capitalize(Spec.Availability)}`,
    ...(Status.Addr ? [` Address:\t\t${Status.Addr}`] : []),
    ...managerLines(node),
    'Platform:',
    ` Operating System:\t${Platform.OS}`,
    ` Architecture:\t\t${Platform.Architecture}`,
    'Resources:',
    ` CPUs:\t\t\t${Math.trunc((Resources.NanoCPUs ?? 0) / 1e9)}`,
    ` Memory:\t\t${formatBinarySize(Resources.MemoryBytes ?? 0)}`,
    ...pluginLines(node),
    `Engine Version:\t\t${Engine.EngineVersion}`,
    ...labelLines('Engine Labels', Engine.Labels),
    ...tlsLines(node),
  ]
    .map((line) => `${line}\n`)
    .join('');
}

export const nodeInspectCommand: Command = {
  paths: ['node inspect'],
  summary: 'Display detailed information on one or more nodes',
  usage: '[OPTIONS] self|NODE [NODE...]',
  arity: someArguments,
  completes: 'node',
  flags: [
    flag('-f, --format', 'string', formatUsage),
    flag('--pretty', 'bool', 'Print the information in a human friendly format'),
  ],
  examples: [
    ['This node', 'node inspect --pretty self'],
    ['Where others reach it', "node inspect -f '{{.Status.Addr}}' host2"],
  ],
  run: async ({ flags, args, client, io }) => {
    const fetch = async (ref: string): Promise<string> =>
      client.text('GET', nodePath(await resolveSelf(client, ref)));
    const format = flags.bool('pretty') ? 'pretty' : flags.text('format');
    if (format !== 'pretty') {
      if (format.startsWith('pretty'))
        throw new CliError('cannot supply extra formatting options to the pretty template');
      return inspectAll(io, args, format, async (ref) => reencode(await fetch(ref)), view);
    }
    // All or nothing, as Docker.
    const pages: string[] = [];
    for (const ref of args) pages.push(formatNode(JSON.parse(await fetch(ref)) as NodeAnswer));
    io.out(pages.join(''));
  },
};
