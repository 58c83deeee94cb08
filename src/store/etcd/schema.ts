/*
 * The part of etcd's v3 API that is used, in a table (codec/protobuf/schema.ts). Names and field numbers are those of
 * etcd's rpc.proto and kv.proto, the same in 3.4, 3.5 and 3.6.
 */
import type { WireSchema } from '../../codec/protobuf/schema.ts';

/** Values of Compare.result and Compare.target. */
export const compareResult = { equal: 0 } as const;
export const compareTarget = { modRevision: 2, lease: 4 } as const;
/** Of Event.type. */
export const eventType = { put: 0, delete: 1 } as const;

export interface KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** int64 as decimal text. */
  readonly mod_revision: string;
}

export interface RangeRequest {
  readonly key: Uint8Array;
  /** The first key after the range; absent = `key` alone. */
  readonly range_end?: Uint8Array;
  /** 0 = all. */
  readonly limit?: number;
  /** 0 = the newest. */
  readonly revision?: string;
}

interface Header {
  /** uint64 as decimal text; another one after a restore from a backup. */
  readonly cluster_id: string;
  readonly revision: string;
}

export interface RangeResponse {
  readonly header: Header | null;
  readonly kvs: readonly KeyValue[];
  /** There is more than the limit let through. */
  readonly more: boolean;
}

interface RequestOp {
  readonly request_put?: {
    readonly key: Uint8Array;
    readonly value: Uint8Array;
    /** Goes with this lease; absent = stays. */
    readonly lease?: number;
  };
  readonly request_delete_range?: { readonly key: Uint8Array };
}

export interface TxnRequest {
  readonly compare: readonly {
    readonly result: number;
    readonly target: number;
    readonly key: Uint8Array;
    /** 0 = there is no such key. */
    readonly mod_revision?: number;
    readonly lease?: number;
  }[];
  readonly success: readonly RequestOp[];
}

export interface TxnResponse {
  readonly header: Header | null;
  readonly succeeded: boolean;
}

export interface WatchRequest {
  readonly create_request: {
    readonly key: Uint8Array;
    readonly range_end: Uint8Array;
    /** The first that is told. */
    readonly start_revision: number;
    /** Large answers may come in parts. */
    readonly fragment: boolean;
  };
}

export interface WatchResponse {
  readonly header: Header | null;
  readonly created: boolean;
  readonly canceled: boolean;
  /** Not 0: what was asked for is no longer there. */
  readonly compact_revision: string;
  readonly cancel_reason: string;
  /** More of this answer comes. */
  readonly fragment: boolean;
  /** In order of revision. Of what is deleted, `kv` has key and mod_revision. */
  readonly events: readonly { readonly type: number; readonly kv: KeyValue | null }[];
}

/** Leases are numbered by who asks for them, below 2^53. */
export interface LeaseRequest {
  readonly ID: number;
}

export interface Member {
  /** uint64 as decimal text. */
  readonly ID: string;
  /** Empty until it has started. */
  readonly name: string;
  readonly peerURLs: readonly string[];
  readonly isLearner: boolean;
}

export interface MemberRequest {
  readonly ID: string;
}

export interface StatusResponse {
  readonly header: { readonly member_id: string } | null;
  readonly version: string;
  /** Bytes, as decimal text. */
  readonly dbSize: string;
  readonly dbSizeInUse: string;
  /** Its id; 0 = there is none. */
  readonly leader: string;
  readonly isLearner: boolean;
  readonly errors: readonly string[];
}

/** Requests and answers by method. */
export interface EtcdMethods {
  readonly 'KV.Range': { readonly request: RangeRequest; readonly response: RangeResponse };
  readonly 'KV.Txn': { readonly request: TxnRequest; readonly response: TxnResponse };
  readonly 'Lease.LeaseGrant': {
    readonly request: LeaseRequest & { readonly TTL: number };
    readonly response: object;
  };
  readonly 'Lease.LeaseRevoke': { readonly request: LeaseRequest; readonly response: object };
  readonly 'Cluster.MemberList': {
    /** Field of 3.5: 3.4 answers what this member knows. */
    readonly request: { readonly linearizable: boolean };
    readonly response: { readonly members: readonly Member[] };
  };
  readonly 'Cluster.MemberAdd': {
    readonly request: { readonly peerURLs: readonly string[]; readonly isLearner: boolean };
    readonly response: { readonly member: Member | null };
  };
  readonly 'Cluster.MemberRemove': { readonly request: MemberRequest; readonly response: object };
  readonly 'Cluster.MemberPromote': { readonly request: MemberRequest; readonly response: object };
  readonly 'Maintenance.Status': { readonly request: object; readonly response: StatusResponse };
}

/** Those of streams in both directions. */
export interface EtcdStreams {
  readonly 'Watch.Watch': { readonly request: WatchRequest; readonly response: WatchResponse };
  readonly 'Lease.LeaseKeepAlive': {
    readonly request: LeaseRequest;
    /** Seconds from now, as decimal text; 0 or less = there is no such lease. */
    readonly response: { readonly TTL: string };
  };
}

export const etcdSchema: WireSchema = {
  messages: {
    ResponseHeader: { cluster_id: 'uint64 1', member_id: 'uint64 2', revision: 'int64 3' },
    KeyValue: { key: 'bytes 1', mod_revision: 'int64 3', value: 'bytes 5' },
    RangeRequest: { key: 'bytes 1', range_end: 'bytes 2', limit: 'int64 3', revision: 'int64 4' },
    RangeResponse: { header: 'ResponseHeader 1', kvs: 'repeated KeyValue 2', more: 'bool 3' },
    PutRequest: { key: 'bytes 1', value: 'bytes 2', lease: 'int64 3' },
    DeleteRangeRequest: { key: 'bytes 1' },
    RequestOp: { request_put: 'PutRequest 2', request_delete_range: 'DeleteRangeRequest 3' },
    Compare: {
      ...{ result: 'int32 1', target: 'int32 2', key: 'bytes 3', mod_revision: 'int64 6', lease: 'int64 8' },
    },
    TxnRequest: { compare: 'repeated Compare 1', success: 'repeated RequestOp 2' },
    TxnResponse: { header: 'ResponseHeader 1', succeeded: 'bool 2' },
    WatchRequest: { create_request: 'WatchCreateRequest 1' },
    WatchCreateRequest: {
      ...{ key: 'bytes 1', range_end: 'bytes 2', start_revision: 'int64 3', fragment: 'bool 8' },
    },
    WatchResponse: {
      ...{ header: 'ResponseHeader 1', created: 'bool 3', canceled: 'bool 4', compact_revision: 'int64 5' },
      ...{ cancel_reason: 'string 6', fragment: 'bool 7', events: 'repeated Event 11' },
    },
    Event: { type: 'int32 1', kv: 'KeyValue 2' },
    LeaseGrantRequest: { TTL: 'int64 1', ID: 'int64 2' },
    LeaseRequest: { ID: 'int64 1' },
    LeaseKeepAliveResponse: { TTL: 'int64 3' },
    Member: {
      ...{ ID: 'uint64 1', name: 'string 2', peerURLs: 'repeated string 3', isLearner: 'bool 5' },
    },
    MemberListRequest: { linearizable: 'bool 1' },
    MemberListResponse: { members: 'repeated Member 2' },
    MemberAddRequest: { peerURLs: 'repeated string 1', isLearner: 'bool 2' },
    MemberAddResponse: { member: 'Member 2' },
    MemberRequest: { ID: 'uint64 1' },
    StatusResponse: {
      ...{ header: 'ResponseHeader 1', version: 'string 2', dbSize: 'int64 3', leader: 'uint64 4' },
      ...{ errors: 'repeated string 8', dbSizeInUse: 'int64 9', isLearner: 'bool 10' },
    },
    Nothing: {},
  },
  services: {
    KV: { Range: ['RangeRequest', 'RangeResponse'], Txn: ['TxnRequest', 'TxnResponse'] },
    Watch: { Watch: ['stream WatchRequest', 'stream WatchResponse'] },
    Lease: {
      LeaseGrant: ['LeaseGrantRequest', 'Nothing'],
      LeaseRevoke: ['LeaseRequest', 'Nothing'],
      LeaseKeepAlive: ['stream LeaseRequest', 'stream LeaseKeepAliveResponse'],
    },
    Cluster: {
      MemberList: ['MemberListRequest', 'MemberListResponse'],
      MemberAdd: ['MemberAddRequest', 'MemberAddResponse'],
      MemberRemove: ['MemberRequest', 'Nothing'],
      MemberPromote: ['MemberRequest', 'Nothing'],
    },
    Maintenance: { Status: ['Nothing', 'StatusResponse'] },
  },
  servicePackage: 'etcdserverpb',
};
