/*
 * Flags of a swarm's specification and of a node's addresses, which several swarm commands share, and what they change
 * in the specification: only what the user gave.
 */
import { isIPv6 } from 'node:net';
import { formatPrefix, parseIpWithLength, prefixOf } from '../../../net/prefix.ts';
import { CliError } from '../cliError.ts';
import { checkedBy, type FlagSpec, type Flags, flag, splitPair } from '../flags.ts';
import { durationToNs } from '../flagTypes.ts';
import { splitCsv } from '../text/csv.ts';
import { readFileValue } from './fileValue.ts';
import type { SwarmSpec } from './swarmApi.ts';

const defaultPort = '2377';

/** `host`, `interface` or an address, with the port 2377 unless it has one. Throws CliError with Go's text. */
export function parseNodeAddress(text: string): string {
  if (isIPv6(text)) return `[${text}]:${defaultPort}`;
  const [, host, port = defaultPort] = /^(\[[^\]]+\]|[^:]*)(?::(.*))?$/.exec(text) ?? [];
  if (host === undefined) throw new CliError(`invalid bind address format: ${text}`, 125);
  if (!/^\d*$/.test(port))
    throw new CliError(`parse ${JSON.stringify(`tcp://${text}`)}: invalid port ":${port}" after host`, 125);
  return `${host === '' ? '0.0.0.0' : host}:${port === '' ? defaultPort : port}`;
}

function parsePool(text: string): string {
  const given = parseIpWithLength(text.trim());
  if (given === undefined) throw new CliError(`invalid string being converted to CIDR: ${text}`, 125);
  return formatPrefix(prefixOf(given.ip, given.length));
}

/** The values of `--default-addr-pool`, without host bits. */
export function parsePools(text: string): string[] {
  return text.split(',').map(parsePool);
}

interface ExternalCa {
  readonly Protocol: string;
  readonly URL: string;
  readonly Options?: Readonly<Record<string, string>>;
  readonly CACert: string;
}

/** `protocol=cfssl,url=…[,cacert=FILE][,option=…]`. Throws CliError with Docker's texts. */
function parseExternalCa(text: string): ExternalCa {
  const known = { protocol: '', url: '', cacert: '' };
  const options: Record<string, string> = {};
  for (const field of splitCsv(text)) {
    if (!field.includes('=')) throw new CliError(`invalid field '${field}' must be a key=value pair`, 125);
    const [key, value] = splitPair(field);
    const name = key.toLowerCase();
    if (name === 'protocol' && value.toLowerCase() !== 'cfssl')
      throw new CliError(`unrecognized external CA protocol ${value}`, 125);
    if (name === 'protocol') known.protocol = 'cfssl';
    else if (name === 'url') known.url = value;
    else if (name === 'cacert') known.cacert = readCaCert(value);
    else options[key] = value;
  }
  for (const name of ['protocol', 'url'] as const)
    if (known[name] === '') throw new CliError(`the external-ca option needs a ${name}= parameter`, 125);
  return {
    Protocol: known.protocol,
    URL: known.url,
    ...(Object.keys(options).length > 0 && { Options: options }),
    CACert: known.cacert,
  };
}

function readCaCert(path: string): string {
  try {
    return readFileValue(path);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(`unable to read CA cert for external CA: ${error.message}`, 125);
  }
}

/** Of `init` and `join`. */
export const addressFlags: readonly FlagSpec[] = [
  flag('--advertise-addr', 'string', 'Advertised address (format: "<ip|interface>[:port]")'),
  flag('--availability', 'string', 'Availability of the node ("active", "pause", "drain")', 'active'),
  flag(
    '--data-path-addr',
    'string',
    'Address or interface to use for data path traffic (format: "<ip|interface>")',
  ),
  checkedBy(
    flag(
      '--listen-addr',
      'node-addr',
      'Listen address (format: "<ip|interface>[:port]")',
      `0.0.0.0:${defaultPort}`,
    ),
    parseNodeAddress,
  ),
];

/** The addresses in the body of `init` and `join`. Throws CliError for an availability that there is not. */
export function addressesOf(flags: Flags): Readonly<Record<string, string>> {
  const availability = flags.text('availability').toLowerCase();
  if (!['active', 'pause', 'drain'].includes(availability))
    throw new CliError(
      `invalid availability ${JSON.stringify(flags.text('availability'))}, only active, pause and drain are supported`,
    );
  return {
    ListenAddr: parseNodeAddress(flags.text('listen-addr')),
    AdvertiseAddr: flags.text('advertise-addr'),
    DataPathAddr: flags.text('data-path-addr'),
    Availability: flags.has('availability') ? availability : '',
  };
}

/** Of `init`, `update` and `ca`. */
export const caFlags: readonly FlagSpec[] = [
  flag('--cert-expiry', 'duration', 'Validity period for node certificates (ns|us|ms|s|m|h)', '2160h0m0s'),
  checkedBy(
    flag('--external-ca', 'external-ca', 'Specifications of one or more certificate signing endpoints'),
    parseExternalCa,
  ),
];

/** Of `init` and `update`. */
export const specFlags: readonly FlagSpec[] = [
  ...caFlags,
  flag('--dispatcher-heartbeat', 'duration', 'Dispatcher heartbeat period (ns|us|ms|s|m|h)', '5s'),
  flag('--max-snapshots', 'uint', 'Number of additional Raft snapshots to retain'),
  flag('--snapshot-interval', 'uint', 'Number of log entries between Raft snapshots', '10000'),
  flag('--task-history-limit', 'int', 'Task history retention limit', '5'),
];

/** `spec` with what the CA flags say; an external CA without a certificate of its own gets `defaultCert`. */
export function mergeCaFlags(spec: SwarmSpec, flags: Flags, defaultCert: string): SwarmSpec {
  const externals = flags.list('external-ca').map(parseExternalCa);
  return {
    ...spec,
    CAConfig: {
      ...spec.CAConfig,
      ...(flags.has('cert-expiry') && { NodeCertExpiry: durationToNs(flags.text('cert-expiry')) }),
      ...(externals.length > 0 && {
        ExternalCAs: externals.map((one) => ({ ...one, CACert: one.CACert || defaultCert })),
      }),
    },
  };
}

/** `spec` with what the flags say. */
export function mergeSpecFlags(spec: SwarmSpec, flags: Flags, defaultCert: string): SwarmSpec {
  const number = (name: string, field: string): Record<string, number> =>
    flags.has(name) ? { [field]: flags.number(name) } : {};
  return {
    ...mergeCaFlags(spec, flags, defaultCert),
    Orchestration: {
      ...spec.Orchestration,
      ...number('task-history-limit', 'TaskHistoryRetentionLimit'),
    },
    Raft: {
      ...spec.Raft,
      ...number('snapshot-interval', 'SnapshotInterval'),
      ...number('max-snapshots', 'KeepOldSnapshots'),
    },
    Dispatcher: {
      ...spec.Dispatcher,
      ...(flags.has('dispatcher-heartbeat') && {
        HeartbeatPeriod: durationToNs(flags.text('dispatcher-heartbeat')),
      }),
    },
    EncryptionConfig: {
      ...spec.EncryptionConfig,
      ...(flags.has('autolock') && { AutoLockManagers: flags.bool('autolock') }),
    },
  };
}
