/*
 * `--network` in its short and long form, and the endpoint settings of the API that come of it. Pure.
 * The long form is `name=N,alias=A,ip=,ip6=,mac-address=,link-local-ip=,driver-opt=K=V,gw-priority=N`; it is one if a
 * `word=word` appears anywhere, and all of it is lower-cased, as the docker CLI does.
 */
import { CliError } from '../cliError.ts';
import { splitPair } from '../flags.ts';
import { splitCsv } from '../text/csv.ts';

export interface Attachment {
  readonly aliases: readonly string[];
  readonly links: readonly string[];
  readonly ipv4: string;
  readonly ipv6: string;
  readonly linkLocal: readonly string[];
  readonly macAddress: string;
  readonly driverOpts: Readonly<Record<string, string>>;
  readonly gwPriority: number;
}

export interface NamedAttachment extends Attachment {
  readonly target: string;
}

/** EndpointSettings of the API: what a client may set, then what only the daemon fills. */
export interface EndpointSettings {
  readonly IPAMConfig: Record<string, unknown> | null;
  readonly [field: string]: unknown;
}

const emptyAttachment: Attachment = {
  aliases: [],
  links: [],
  ipv4: '',
  ipv6: '',
  linkLocal: [],
  macAddress: '',
  driverOpts: {},
  gwPriority: 0,
};

type Draft = { -readonly [K in keyof NamedAttachment]: NamedAttachment[K] };

function applyField(draft: Draft, field: string): void {
  const [rawKey, value] = splitPair(field.toLowerCase());
  if (!field.includes('=')) throw new CliError(`invalid field: ${field.toLowerCase()}`, 125);
  switch (rawKey.trim()) {
    case 'name':
      draft.target = value;
      return;
    case 'alias':
      draft.aliases = [...draft.aliases, value];
      return;
    case 'ip':
      draft.ipv4 = value;
      return;
    case 'ip6':
      draft.ipv6 = value;
      return;
    case 'mac-address':
      draft.macAddress = value;
      return;
    case 'link-local-ip':
      draft.linkLocal = [...draft.linkLocal, value];
      return;
    case 'driver-opt': {
      const [key, option] = splitPair(value);
      if (!value.includes('=')) throw new CliError('invalid key value pair format in driver options', 125);
      draft.driverOpts = { ...draft.driverOpts, [key.trim()]: option.trim() };
      return;
    }
    case 'gw-priority':
      if (!/^[-+]?\d+$/.test(value))
        throw new CliError(`invalid gw-priority: invalid value "${value}" for gw-priority`, 125);
      draft.gwPriority = Number(value);
      return;
    default:
      throw new CliError(`invalid field key ${rawKey}`, 125);
  }
}

/** One `--network` value. Throws CliError. */
export function parseNetworkFlag(text: string): NamedAttachment {
  if (!/\w+=\w+/.test(text)) return { ...emptyAttachment, target: text };
  const draft: Draft = { ...emptyAttachment, target: '' };
  for (const field of splitCsv(text)) applyField(draft, field);
  if (draft.target === '') throw new CliError('network name/id is not specified', 125);
  return draft;
}

function orNull<T>(list: readonly T[]): readonly T[] | null {
  return list.length === 0 ? null : list;
}

/** EndpointSettings with the nulls that the docker CLI sends for what was not given. */
export function endpointSettings(attachment: Attachment): EndpointSettings {
  const { ipv4, ipv6, linkLocal } = attachment;
  const ipam = {
    ...(ipv4 === '' ? {} : { IPv4Address: ipv4 }),
    ...(ipv6 === '' ? {} : { IPv6Address: ipv6 }),
    ...(linkLocal.length === 0 ? {} : { LinkLocalIPs: linkLocal }),
  };
  return {
    IPAMConfig: Object.keys(ipam).length === 0 ? null : ipam,
    Links: orNull(attachment.links),
    Aliases: orNull(attachment.aliases),
    MacAddress: attachment.macAddress,
    DriverOpts: Object.keys(attachment.driverOpts).length === 0 ? null : attachment.driverOpts,
    GwPriority: attachment.gwPriority,
    NetworkID: '',
    EndpointID: '',
    Gateway: '',
    IPAddress: '',
    IPPrefixLen: 0,
    IPv6Gateway: '',
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
    DNSNames: null,
  };
}

/** `default`, `bridge`, `none`, `host` and `container:X`: not a network of the user's. */
export function isUserDefined(target: string): boolean {
  return !['', 'default', 'bridge', 'none', 'host'].includes(target) && !isContainerMode(target);
}

export function isContainerMode(target: string): boolean {
  return target.startsWith('container:');
}

/** Puts the separate flags (`--ip`, `--network-alias`, …) on the first network; they must not be given twice. */
function mergeFirst(first: NamedAttachment, separate: Attachment): NamedAttachment {
  const refuse = (what: string): never => {
    throw new CliError(
      `conflicting options: cannot specify both --${what} and per-network ${what === 'ip' ? 'IPv4 address' : what}`,
      125,
    );
  };
  if (first.aliases.length > 0 && separate.aliases.length > 0) refuse('network-alias');
  if (first.links.length > 0 && separate.links.length > 0) refuse('link');
  if (first.ipv4 !== '' && separate.ipv4 !== '') refuse('ip');
  if (first.ipv6 !== '' && separate.ipv6 !== '') refuse('ip6');
  if (first.macAddress !== '' && separate.macAddress !== '') refuse('mac-address');
  if (first.linkLocal.length > 0 && separate.linkLocal.length > 0) refuse('link-local-ip');
  return {
    ...first,
    aliases: [...first.aliases, ...separate.aliases],
    links: [...first.links, ...separate.links],
    ipv4: first.ipv4 || separate.ipv4,
    ipv6: first.ipv6 || separate.ipv6,
    macAddress: first.macAddress || separate.macAddress,
    linkLocal: [...first.linkLocal, ...separate.linkLocal],
  };
}

/** All networks of a container: the mode is the first one's name. Throws CliError as the docker CLI does. */
export function planNetworks(
  values: readonly string[],
  separate: Attachment,
): { readonly mode: string; readonly endpoints: Record<string, EndpointSettings> } {
  const parsed = values.map(parseNetworkFlag);
  const [first = { ...emptyAttachment, target: 'default' }, ...others] = parsed;
  const all = [mergeFirst(first, separate), ...others];
  const userDefined = all.filter(({ target }) => isUserDefined(target)).length;
  if (all.length > 1 && userDefined < all.length && userDefined > 0)
    throw new CliError(
      'conflicting options: cannot attach both user-defined and non-user-defined network-modes',
      125,
    );
  const endpoints: Record<string, EndpointSettings> = {};
  for (const attachment of all) {
    const { target } = attachment;
    if (Object.hasOwn(endpoints, target))
      throw new CliError(`network "${target}" is specified multiple times`, 125);
    if (isContainerMode(target) || target === 'host' || target === 'none') continue;
    endpoints[target] = endpointSettings(attachment);
  }
  return { mode: first.target, endpoints };
}
