/*
 * `node paths` and `node rotate-key`: the encrypted tunnels of this node.
 */
import { type Command, noArguments } from '../command.ts';
import { flag } from '../flags.ts';
import { tableFormatUsage } from '../networks/list.ts';
import { formatListing, type Listing } from '../text/listing.ts';

interface PathAnswer {
  readonly ID: string;
  readonly Hostname: string;
  readonly State: string;
  readonly Why: string;
  /** Absent from daemons of earlier versions. */
  readonly Relay?: string;
  readonly Endpoint: string;
  readonly LastHandshake: string;
  readonly ReceivedBytes: number;
  readonly SentBytes: number;
  /** 0: nothing can be sent. Absent from daemons of earlier versions. */
  readonly MTU?: number;
}

interface TunnelsAnswer {
  readonly Engine: string;
  readonly Error?: string;
  readonly Paths: readonly PathAnswer[];
}

const listing: Listing<PathAnswer> = {
  typeName: '*node.pathContext',
  table:
    '{{.ID}}\t{{.Hostname}}\t{{.State}}\t{{.Relay}}\t{{.Endpoint}}\t{{.MTU}}\t{{.LastHandshake}}\t{{.Why}}',
  headers: { LastHandshake: 'LAST HANDSHAKE', ReceivedBytes: 'RECEIVED', SentBytes: 'SENT' },
  columns: {
    ID: ({ ID }) => ID,
    Hostname: ({ Hostname }) => Hostname,
    State: ({ State }) => State,
    Relay: ({ Relay }) => Relay ?? '',
    Endpoint: ({ Endpoint }) => Endpoint,
    LastHandshake: ({ LastHandshake }) => LastHandshake,
    ReceivedBytes: ({ ReceivedBytes }) => ReceivedBytes,
    SentBytes: ({ SentBytes }) => SentBytes,
    MTU: ({ MTU }) => (MTU ? String(MTU) : ''),
    Why: ({ Why }) => Why,
  },
};

export const nodePathsCommand: Command = {
  paths: ['node paths'],
  summary: 'Show how the encrypted tunnels reach the other nodes from this one',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [flag('--format', 'string', tableFormatUsage)],
  examples: [['Which nodes have no session', "node paths --format '{{.Hostname}} {{.State}} {{.Why}}'"]],
  run: async ({ flags, client, io }) => {
    const { Engine, Error: reason, Paths } = await client.json<TunnelsAnswer>('GET', '/linkspan/v1/tunnels');
    if (Engine === '') io.err(`this node cannot encrypt: ${reason ?? ''}\n`);
    io.out(formatListing(listing, Paths, flags.text('format')));
  },
};

export const nodeRotateKeyCommand: Command = {
  paths: ['node rotate-key'],
  summary: 'Give this node another key for its encrypted networks; no packet is lost',
  usage: '',
  arity: noArguments,
  flags: [],
  examples: [['After somebody may have read this machine’s disk', 'node rotate-key']],
  run: async ({ client }) => {
    await client.text('POST', '/linkspan/v1/tunnels/key');
  },
};
