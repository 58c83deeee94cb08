/*
 * The part of BuildKit's gRPC API that is used, in a table (codec/protobuf/schema.ts). Field numbers are BuildKit's
 * (api/services/control/control.proto, session/*.proto); fields that we neither set nor read are left out. Messages of
 * others that pass through are never decoded as a whole: what the table leaves out would be lost (rewrite.ts).
 */
import type { WireSchema } from '../codec/protobuf/schema.ts';

export const buildkitSchema: WireSchema = {
  servicePackage: 'moby.buildkit.v1',
  messages: {
    Empty: {},
    Timestamp: { seconds: 'int64 1', nanos: 'int32 2' },
    BytesMessage: { data: 'bytes 1' },

    // Control
    Exporter: { type: 'string 1', attrs: 'map string 2' },
    CacheOptions: {},
    /** What is set of a solve, and what is looked at of one that passes through. */
    SolveRequest: {
      ref: 'string 1',
      exporter: 'string 3',
      exporter_attrs: 'map string 4',
      session: 'string 5',
      frontend: 'string 6',
      frontend_attrs: 'map string 7',
      cache: 'CacheOptions 8',
      entitlements: 'repeated string 9',
      source_policy: 'SourcePolicy 12',
      exporters: 'repeated Exporter 13',
    },
    // moby.buildkit.v1.sourcepolicy
    SourcePolicy: { version: 'int64 1', rules: 'repeated SourceRule 2' },
    SourceRule: { action: 'int32 1', selector: 'SourceSelector 2', updates: 'SourceUpdate 3' },
    SourceSelector: { identifier: 'string 1' },
    SourceUpdate: { identifier: 'string 1', attrs: 'map string 2' },
    /** SolveRequest's rules, in their bytes. */
    PolicyBytes: { source_policy: 'bytes 12' },
    SolveResponse: { exporter_response: 'map string 1' },
    StatusRequest: { ref: 'string 1' },
    Vertex: {
      digest: 'string 1',
      name: 'string 3',
      cached: 'bool 4',
      started: 'Timestamp 5',
      completed: 'Timestamp 6',
      error: 'string 7',
    },
    VertexLog: { vertex: 'string 1', msg: 'bytes 4' },
    StatusResponse: { vertexes: 'repeated Vertex 1', logs: 'repeated VertexLog 3' },
    DiskUsageRequest: { filter: 'repeated string 1' },
    UsageRecord: {
      id: 'string 1',
      mutable: 'bool 2',
      in_use: 'bool 3',
      size: 'int64 4',
      created_at: 'Timestamp 6',
      last_used_at: 'Timestamp 7',
      usage_count: 'int64 8',
      description: 'string 9',
      record_type: 'string 10',
      shared: 'bool 11',
      parents: 'repeated string 12',
    },
    DiskUsageResponse: { record: 'repeated UsageRecord 1' },
    PruneRequest: {
      filter: 'repeated string 1',
      all: 'bool 2',
      /** Nanoseconds; what was used since is kept. */
      keep_duration: 'int64 3',
      /** What is kept at least, bytes; newer servers call it reservedSpace. */
      keep_bytes: 'int64 4',
      /** Bytes; 0 = no such limit. Servers before 0.17 do not know these two. */
      max_used_bytes: 'int64 5',
      min_free_bytes: 'int64 6',
    },

    // What a session answers: grpc.health.v1, moby.filesync.v1.Auth, containerd.services.content.v1 (Info and Read)
    HealthCheckResponse: { status: 'int32 1' },
    CredentialsRequest: { host: 'string 1' },
    ContentRequest: { digest: 'string 1', offset: 'int64 2', size: 'int64 3' },
    ContentInfo: { digest: 'string 1', size: 'int64 2' },
    ContentInfoResponse: { info: 'ContentInfo 1' },
    ContentPart: { offset: 'int64 1', data: 'bytes 2' },
    CredentialsResponse: { username: 'string 1', secret: 'string 2' },
  },
  services: {
    Control: {
      Solve: ['SolveRequest', 'SolveResponse'],
      Status: ['StatusRequest', 'stream StatusResponse'],
      DiskUsage: ['DiskUsageRequest', 'DiskUsageResponse'],
      Prune: ['PruneRequest', 'stream UsageRecord'],
    },
  },
};

/** Google's timestamp. */
export interface Timestamp {
  /** Decimal. */
  readonly seconds: string;
  readonly nanos: number;
}

export interface Exporter {
  readonly type: string;
  readonly attrs: Readonly<Record<string, string>>;
}

export interface SolveRequest {
  readonly ref: string;
  readonly exporter: string;
  readonly exporter_attrs: Readonly<Record<string, string>>;
  readonly session: string;
  readonly frontend: string;
  readonly frontend_attrs: Readonly<Record<string, string>>;
  readonly entitlements: readonly string[];
  readonly exporters: readonly Exporter[];
}

export interface Vertex {
  readonly digest: string;
  readonly name: string;
  readonly cached: boolean;
  readonly started: Timestamp | null;
  readonly completed: Timestamp | null;
  readonly error: string;
}

export interface StatusResponse {
  readonly vertexes: readonly Vertex[];
  readonly logs: readonly { readonly vertex: string; readonly msg: Uint8Array }[];
}

export interface UsageRecord {
  readonly id: string;
  readonly mutable: boolean;
  readonly in_use: boolean;
  /** Decimal, bytes. */
  readonly size: string;
  readonly created_at: Timestamp | null;
  readonly last_used_at: Timestamp | null;
  readonly usage_count: string;
  readonly description: string;
  readonly record_type: string;
  readonly shared: boolean;
  readonly parents: readonly string[];
}
