/*
 * What the swarm and node commands read of the API's answers (Docker Engine API 1.50), and the requests that several of
 * them make.
 */
import { CliError } from '../cliError.ts';
import type { ApiClient } from '../http/apiClient.ts';

/** Kept whole: an update sends all of it back. Durations in nanoseconds. */
export interface SwarmSpec {
  readonly [field: string]: unknown;
  readonly Orchestration?: Readonly<Record<string, unknown>>;
  readonly Raft?: Readonly<Record<string, unknown>>;
  readonly Dispatcher?: Readonly<Record<string, unknown>>;
  readonly CAConfig?: Readonly<Record<string, unknown>> & { readonly ForceRotate?: number };
  readonly EncryptionConfig?: { readonly AutoLockManagers?: boolean };
}

export interface TlsInfo {
  readonly TrustRoot?: string;
  readonly CertIssuerSubject?: string;
  readonly CertIssuerPublicKey?: string;
}

export interface SwarmAnswer {
  readonly Version: { readonly Index: number };
  readonly Spec: SwarmSpec;
  readonly TLSInfo?: TlsInfo;
  readonly RootRotationInProgress?: boolean;
  readonly JoinTokens: { readonly Worker: string; readonly Manager: string };
}

export interface InfoAnswer {
  readonly Swarm?: {
    readonly NodeID?: string;
    readonly LocalNodeState?: string;
    readonly ControlAvailable?: boolean;
    readonly Cluster?: { readonly TLSInfo?: TlsInfo };
  };
}

export interface NodeAnswer {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly CreatedAt: string;
  readonly Spec: {
    readonly Name?: string;
    readonly Labels?: Readonly<Record<string, string>> | null;
    readonly Role: string;
    readonly Availability: string;
  };
  readonly Description: {
    readonly Hostname: string;
    readonly Platform: { readonly Architecture: string; readonly OS: string };
    readonly Resources: { readonly NanoCPUs?: number; readonly MemoryBytes?: number };
    readonly Engine: {
      readonly EngineVersion: string;
      readonly Labels?: Readonly<Record<string, string>> | null;
      readonly Plugins?: readonly { readonly Type: string; readonly Name: string }[] | null;
    };
    readonly TLSInfo?: TlsInfo;
  };
  readonly Status: { readonly State: string; readonly Message?: string; readonly Addr?: string };
  readonly ManagerStatus?: {
    readonly Leader?: boolean;
    readonly Reachability?: string;
    readonly Addr?: string;
  };
}

export function getSwarm(client: ApiClient): Promise<SwarmAnswer> {
  return client.json<SwarmAnswer>('GET', '/swarm');
}

export function getInfo(client: ApiClient): Promise<InfoAnswer> {
  return client.json<InfoAnswer>('GET', '/info');
}

/** The path of a node's resource. */
export function nodePath(ref: string): string {
  return `/nodes/${encodeURIComponent(ref)}`;
}

/** The id of the node that `self` means. Throws what the daemon says to those that are no manager. */
export async function resolveSelf(client: ApiClient, ref: string): Promise<string> {
  if (ref !== 'self') return ref;
  const id = (await getInfo(client)).Swarm?.NodeID ?? '';
  if (id !== '') return id;
  // Tells better than we could why there is none.
  await client.text('GET', '/nodes');
  throw new CliError('node ID not found in /info');
}

interface Rotates {
  readonly worker?: boolean;
  readonly manager?: boolean;
  readonly unlockKey?: boolean;
}

/** Replaces the specification that `swarm` had. */
export async function updateSwarm(
  client: ApiClient,
  swarm: SwarmAnswer,
  spec: SwarmSpec,
  rotates: Rotates = {},
): Promise<void> {
  const query = {
    rotateManagerToken: String(rotates.manager ?? false),
    rotateManagerUnlockKey: String(rotates.unlockKey ?? false),
    rotateWorkerToken: String(rotates.worker ?? false),
    version: String(swarm.Version.Index),
  };
  await client.text('POST', '/swarm/update', { query, json: spec });
}
