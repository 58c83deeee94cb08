/*
 * The part of etcd's v3 API that is used, in a table (codec/protobuf/schema.ts). Names and field numbers are those of
 * etcd's rpc.proto and kv.proto, the same in 3.4, 3.5 and 3.6.
 */
import type { WireSchema } from '../../codec/protobuf/schema.ts';

/** Values of Compare.result and Compare.target. */
export const compareResult = { equal: 0 } as const;
export const compareTarget = { modRevision: 2 } as const;

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
  readonly revision: string;
}

export interface RangeResponse {
  readonly header: Header | null;
  readonly kvs: readonly KeyValue[];
  /** There is more than the limit let through. */
  readonly more: boolean;
}

interface RequestOp {
  readonly request_put?: { readonly key: Uint8Array; readonly value: Uint8Array };
  readonly request_delete_range?: { readonly key: Uint8Array };
}

export interface TxnRequest {
  readonly compare: readonly {
    readonly result: number;
    readonly target: number;
    readonly key: Uint8Array;
    /** 0 = there is no such key. */
    readonly mod_revision: number;
  }[];
  readonly success: readonly RequestOp[];
}

export interface TxnResponse {
  readonly header: Header | null;
  readonly succeeded: boolean;
}

/** Requests and answers by method. */
export interface EtcdMethods {
  readonly 'KV.Range': { readonly request: RangeRequest; readonly response: RangeResponse };
  readonly 'KV.Txn': { readonly request: TxnRequest; readonly response: TxnResponse };
}

export const etcdSchema: WireSchema = {
  messages: {
    ResponseHeader: { revision: 'int64 3' },
    KeyValue: { key: 'bytes 1', mod_revision: 'int64 3', value: 'bytes 5' },
    RangeRequest: { key: 'bytes 1', range_end: 'bytes 2', limit: 'int64 3', revision: 'int64 4' },
    RangeResponse: { header: 'ResponseHeader 1', kvs: 'repeated KeyValue 2', more: 'bool 3' },
    PutRequest: { key: 'bytes 1', value: 'bytes 2' },
    DeleteRangeRequest: { key: 'bytes 1' },
    RequestOp: { request_put: 'PutRequest 2', request_delete_range: 'DeleteRangeRequest 3' },
    Compare: { result: 'int32 1', target: 'int32 2', key: 'bytes 3', mod_revision: 'int64 6' },
    TxnRequest: { compare: 'repeated Compare 1', success: 'repeated RequestOp 2' },
    TxnResponse: { header: 'ResponseHeader 1', succeeded: 'bool 2' },
  },
  services: { KV: { Range: ['RangeRequest', 'RangeResponse'], Txn: ['TxnRequest', 'TxnResponse'] } },
  servicePackage: 'etcdserverpb',
};
