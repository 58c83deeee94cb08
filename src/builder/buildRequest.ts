/*
 * What POST /build asks for, as a solve of BuildKit's Dockerfile frontend (its options: frontend/dockerui). What it
 * cannot do is refused with the reason; nothing is swallowed.
 */
import { LinkspanError } from '../errors/linkspanError.ts';
import { formatReference, parseReference, withDefaultTag } from '../runtime/images/reference.ts';

export interface Ulimit {
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

/** Of Docker Engine API 1.50, with the names that it has there in the comments. */
export interface BuildRequest {
  /** `t` */
  readonly names: readonly string[];
  /** `dockerfile`: path in the context. */
  readonly dockerfile: string;
  /** `remote`: a Git or HTTP URL instead of a body; empty = the body is the context. */
  readonly remote: string;
  /** `buildargs`; null = from the daemon's environment, where there is none. */
  readonly args: Readonly<Record<string, string | null>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly target: string;
  readonly isCacheUsed: boolean;
  readonly isPullForced: boolean;
  /** `linux/arm64`; empty = BuildKit's own. */
  readonly platform: string;
  /** `networkmode` */
  readonly network: string;
  /** `name:address` */
  readonly extraHosts: readonly string[];
  readonly cacheFrom: readonly string[];
  /** 0 = the default. */
  readonly shmBytes: number;
  readonly ulimits: readonly Ulimit[];
  readonly cgroupParent: string;
}

function invalid(text: string): LinkspanError {
  return new LinkspanError('requestInvalid', text);
}

/** A field of a list with commas, as Go's encoding/csv reads it. */
function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** `name:address`, also of IPv6, as BuildKit takes it: `name=address`. */
function formatHost(text: string): string {
  const [, name, address] = /^([^:=]+)[:=](.+)$/.exec(text) ?? [];
  if (name === undefined || address === undefined) throw invalid(`invalid extra host: ${text}`);
  if (address === 'host-gateway')
    throw invalid(`--add-host ${text}: BuildKit runs the build, in a network of its own; give an address`);
  return csvField(`${name}=${address.replace(/^\[(.*)\]$/, '$1')}`);
}

/** What a network mode is to BuildKit: an option and, for the host's, a right that it has to be given. */
function networkOptions(mode: string): {
  readonly attrs: Readonly<Record<string, string>>;
  readonly entitlements: readonly string[];
} {
  if (mode === '' || mode === 'default' || mode === 'bridge') return { attrs: {}, entitlements: [] };
  if (mode === 'none') return { attrs: { 'force-network-mode': 'none' }, entitlements: [] };
  if (mode === 'host') return { attrs: { 'force-network-mode': 'host' }, entitlements: ['network.host'] };
  throw invalid(
    `network mode "${mode}" not supported by buildkit: it builds in a network of its own, in the host's or in none`,
  );
}

/** Full names of the image, in the form of the exporter's option `name`. Throws code requestInvalid for one that it cannot have. */
export function formatNames(names: readonly string[]): string {
  const references = names.map(parseReference);
  if (references.some(({ digest }) => digest !== undefined))
    throw invalid('build tag cannot contain a digest');
  return references.map((reference) => formatReference(withDefaultTag(reference))).join(',');
}

/** `contextUrl`: where BuildKit gets the context if there is no remote one. Throws code requestInvalid. */
export function planSolve(
  request: BuildRequest,
  contextUrl: string | undefined,
): { readonly attrs: Readonly<Record<string, string>>; readonly entitlements: readonly string[] } {
  const context = request.remote === '' ? contextUrl : request.remote;
  const network = networkOptions(request.network);
  const hosts = request.extraHosts.map(formatHost);
  const ulimits = request.ulimits.map(({ name, soft, hard }) => `${name}=${soft}:${hard}`);
  const attrs: Record<string, string> = {
    ...(context !== undefined && { context }),
    ...(request.dockerfile !== '' && { filename: request.dockerfile }),
    ...(request.target !== '' && { target: request.target }),
    ...(!request.isCacheUsed && { 'no-cache': '' }),
    'image-resolve-mode': request.isPullForced ? 'pull' : 'local',
    ...(request.platform !== '' && { platform: request.platform }),
    ...(hosts.length > 0 && { 'add-hosts': hosts.join(',') }),
    ...(request.cacheFrom.length > 0 && { 'cache-from': request.cacheFrom.join(',') }),
    ...(request.shmBytes > 0 && { 'shm-size': String(request.shmBytes) }),
    ...(ulimits.length > 0 && { ulimit: ulimits.join(',') }),
    ...(request.cgroupParent !== '' && { 'cgroup-parent': request.cgroupParent }),
    ...network.attrs,
  };
  for (const [name, value] of Object.entries(request.args))
    if (value !== null) attrs[`build-arg:${name}`] = value;
  for (const [name, value] of Object.entries(request.labels)) attrs[`label:${name}`] = value;
  return { attrs, entitlements: network.entitlements };
}
