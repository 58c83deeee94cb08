/*
 * `node ls`.
 */
import { type Command, noArguments } from '../command.ts';
import { listFormat } from '../configFile.ts';
import { encodeFilters } from '../filters.ts';
import { flag } from '../flags.ts';
import { compareNatural, tableFormatUsage } from '../networks/list.ts';
import { getInfo, type NodeAnswer, type TlsInfo } from '../swarm/swarmApi.ts';
import { formatListing, type Listing } from '../text/listing.ts';
import { capitalize } from './words.ts';

interface NodeRow extends NodeAnswer {
  readonly isSelf: boolean;
  /** Of the swarm. */
  readonly tls: TlsInfo | undefined;
}

function isEmpty(tls: TlsInfo | undefined): boolean {
  return Object.values(tls ?? {}).every((value) => value === '');
}

/** Whether the node's certificate comes from the root that the swarm has today. */
function tlsStatus({ tls, Description }: NodeRow): string {
  const own = Description.TLSInfo;
  if (isEmpty(tls) || isEmpty(own)) return 'Unknown';
  const fields = ['TrustRoot', 'CertIssuerSubject', 'CertIssuerPublicKey'] as const;
  return fields.every((field) => own?.[field] === tls?.[field]) ? 'Ready' : 'Needs Rotation';
}

function managerStatus({ ManagerStatus }: NodeAnswer): string {
  if (ManagerStatus === undefined) return '';
  return ManagerStatus.Leader === true ? 'Leader' : capitalize(ManagerStatus.Reachability ?? '');
}

const listing: Listing<NodeRow> = {
  typeName: '*node.nodeContext',
  table:
    '{{.ID}} {{if .Self}}*{{else}} {{ end }}\t{{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}\t{{.EngineVersion}}',
  headers: {
    Self: '',
    ManagerStatus: 'MANAGER STATUS',
    EngineVersion: 'ENGINE VERSION',
    TLSStatus: 'TLS STATUS',
  },
  columns: {
    ID: ({ ID }) => ID,
    Self: ({ isSelf }) => isSelf,
    Hostname: ({ Description }) => Description.Hostname,
    Status: ({ Status }) => capitalize(Status.State),
    Availability: ({ Spec }) => capitalize(Spec.Availability),
    ManagerStatus: managerStatus,
    TLSStatus: tlsStatus,
    EngineVersion: ({ Description }) => Description.Engine.EngineVersion,
  },
};

export const nodeListCommand: Command = {
  paths: ['node ls', 'node list'],
  summary: 'List nodes in the swarm',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-f, --filter', 'filter', 'Filter output based on conditions provided'),
    flag('--format', 'string', tableFormatUsage),
    flag('-q, --quiet', 'bool', 'Only display IDs'),
  ],
  examples: [
    ['Only the managers', 'node ls --filter role=manager'],
    ['Host names and states for a script', "node ls --format '{{.Hostname}} {{.Status}}'"],
  ],
  run: async ({ flags, client, io, config }) => {
    const query = { filters: encodeFilters(flags.list('filter')) };
    const nodes = await client.json<NodeAnswer[]>('GET', '/nodes', { query });
    nodes.sort((a, b) => compareNatural(a.Description.Hostname, b.Description.Hostname));
    const isQuiet = flags.bool('quiet');
    const swarm = isQuiet || nodes.length === 0 ? undefined : (await getInfo(client)).Swarm;
    const rows = nodes.map((node) => ({
      ...node,
      isSelf: node.ID === swarm?.NodeID,
      tls: swarm?.Cluster?.TLSInfo,
    }));
    const chosen = listFormat({ flags, config }, 'nodesFormat');
    const format = isQuiet && chosen === '' ? '{{.ID}}' : chosen;
    io.out(formatListing(listing, rows, format));
  },
};
