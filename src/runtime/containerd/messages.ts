/*
 * TypeScript types of the messages in schema.ts, and the methods by short name. Requests may leave fields out (proto3
 * defaults: '', 0, false, empty); responses have every field, messages that were not sent are null. int64 is text.
 */

/** int64 as decimal text, since a number cannot hold all of it. */
export type Int64 = string;

export interface Any {
  readonly type_url: string;
  readonly value: Uint8Array;
}

export interface Timestamp {
  readonly seconds: Int64;
  readonly nanos: number;
}

export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
}

/** A blob by media type, digest and size in bytes; annotations are those of the OCI descriptor. */
export interface Descriptor {
  readonly media_type: string;
  readonly digest: string;
  readonly size: Int64;
  readonly annotations?: Labels;
}

export type Labels = Readonly<Record<string, string>>;

/** Values of Process.status. */
export const taskStatus = { unknown: 0, created: 1, running: 2, stopped: 3, paused: 4, pausing: 5 } as const;

/** Values of SnapshotInfo.kind. */
export const snapshotKind = { unknown: 0, view: 1, active: 2, committed: 3 } as const;

/** Values of WriteRequest.action. */
export const writeAction = { stat: 0, write: 1, commit: 2 } as const;

/** A task, or a process that was executed in one (`id` is then the exec's). */
export interface Process {
  readonly container_id: string;
  readonly id: string;
  readonly pid: number;
  readonly status: number;
  readonly exit_status: number;
  readonly exited_at: Timestamp | null;
}

/** What containerd keeps of a container; the spec is JSON inside Any. */
export interface ContainerRecord {
  readonly id: string;
  readonly labels?: Labels;
  readonly image?: string;
  readonly runtime?: { readonly name: string; readonly options?: Any };
  readonly spec?: Any;
  readonly snapshotter?: string;
  readonly snapshot_key?: string;
}

export interface SnapshotInfo {
  readonly name: string;
  readonly parent: string;
  readonly kind: number;
  readonly labels: Labels;
}

export interface ContentInfo {
  readonly digest: string;
  readonly size: Int64;
  readonly labels: Labels;
}

export interface ImageRecord {
  readonly name: string;
  readonly labels: Labels;
  readonly target: Descriptor;
}

export interface WriteRequest {
  readonly action: number;
  readonly ref?: string;
  readonly total?: Int64;
  readonly expected?: string;
  readonly offset?: Int64;
  readonly data?: Uint8Array;
  readonly labels?: Labels;
}

export interface WriteResponse {
  readonly action: number;
  readonly offset: Int64;
  readonly total: Int64;
  readonly digest: string;
}

type Empty = Readonly<Record<string, never>>;
type FieldMask = { readonly paths: readonly string[] };
type ProcessRef = { readonly container_id: string; readonly exec_id?: string };
type SnapshotKey = { readonly snapshotter: string; readonly key: string };
type Stdio = {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal: boolean;
};
type Exit = { readonly exit_status: number; readonly exited_at: Timestamp | null };
type Method<Request, Response> = { readonly request: Request; readonly response: Response };

/** Methods with one request and one response. */
export interface UnaryMethods {
  'Version.Version': Method<Empty, { readonly version: string; readonly revision: string }>;
  'Namespaces.Create': Method<{ readonly namespace: { readonly name: string } }, Empty>;
  'Containers.List': Method<
    { readonly filters: readonly string[] },
    { readonly containers: readonly ContainerRecord[] }
  >;
  'Containers.Create': Method<{ readonly container: ContainerRecord }, Empty>;
  'Containers.Update': Method<
    { readonly container: ContainerRecord; readonly update_mask: FieldMask },
    Empty
  >;
  'Containers.Delete': Method<{ readonly id: string }, Empty>;
  'Tasks.Create': Method<
    Stdio & { readonly container_id: string; readonly rootfs: readonly Mount[]; readonly options?: Any },
    { readonly pid: number }
  >;
  'Tasks.Start': Method<ProcessRef, { readonly pid: number }>;
  'Tasks.Delete': Method<{ readonly container_id: string }, Exit>;
  'Tasks.DeleteProcess': Method<ProcessRef, Exit>;
  'Tasks.Get': Method<ProcessRef, { readonly process: Process }>;
  'Tasks.List': Method<Empty, { readonly tasks: readonly Process[] }>;
  'Tasks.Kill': Method<ProcessRef & { readonly signal: number; readonly all?: boolean }, Empty>;
  'Tasks.Exec': Method<
    Stdio & { readonly container_id: string; readonly exec_id: string; readonly spec: Any },
    Empty
  >;
  'Tasks.ResizePty': Method<ProcessRef & { readonly width: number; readonly height: number }, Empty>;
  'Tasks.CloseIO': Method<ProcessRef & { readonly stdin: true }, Empty>;
  'Tasks.Update': Method<{ readonly container_id: string; readonly resources: Any }, Empty>;
  'Tasks.Pause': Method<ProcessRef, Empty>;
  'Tasks.Resume': Method<ProcessRef, Empty>;
  'Tasks.ListPids': Method<ProcessRef, { readonly processes: readonly { readonly pid: number }[] }>;
  'Tasks.Wait': Method<ProcessRef, Exit>;
  'Snapshots.Prepare': Method<
    SnapshotKey & { readonly parent: string; readonly labels?: Labels },
    { readonly mounts: readonly Mount[] }
  >;
  'Snapshots.View': Method<
    SnapshotKey & { readonly parent: string; readonly labels?: Labels },
    { readonly mounts: readonly Mount[] }
  >;
  'Snapshots.Mounts': Method<SnapshotKey, { readonly mounts: readonly Mount[] }>;
  'Snapshots.Commit': Method<SnapshotKey & { readonly name: string; readonly labels?: Labels }, Empty>;
  'Snapshots.Remove': Method<SnapshotKey, Empty>;
  'Snapshots.Stat': Method<SnapshotKey, { readonly info: SnapshotInfo }>;
  'Snapshots.Usage': Method<SnapshotKey, { readonly size: Int64; readonly inodes: Int64 }>;
  'Content.Info': Method<{ readonly digest: string }, { readonly info: ContentInfo }>;
  'Content.Update': Method<
    {
      readonly info: { readonly digest: string; readonly labels: Labels };
      readonly update_mask: FieldMask;
    },
    { readonly info: ContentInfo }
  >;
  'Content.ListStatuses': Method<
    { readonly filters: readonly string[] },
    { readonly statuses: readonly { readonly ref: string }[] }
  >;
  'Content.Abort': Method<{ readonly ref: string }, Empty>;
  'Diff.Apply': Method<
    { readonly diff: Descriptor; readonly mounts: readonly Mount[] },
    { readonly applied: Descriptor }
  >;
  'Diff.Diff': Method<
    {
      readonly left: readonly Mount[];
      readonly right: readonly Mount[];
      readonly media_type: string;
      readonly ref: string;
    },
    { readonly diff: Descriptor }
  >;
  'Images.List': Method<{ readonly filters: readonly string[] }, { readonly images: readonly ImageRecord[] }>;
  'Images.Create': Method<{ readonly image: ImageRecord }, Empty>;
  'Images.Update': Method<{ readonly image: ImageRecord; readonly update_mask: FieldMask }, Empty>;
  'Images.Delete': Method<{ readonly name: string; readonly sync: boolean }, Empty>;
  'Leases.Create': Method<{ readonly id: string; readonly labels: Labels }, Empty>;
  'Leases.Delete': Method<{ readonly id: string; readonly sync: boolean }, Empty>;
  'Leases.List': Method<
    { readonly filters: readonly string[] },
    { readonly leases: readonly { readonly id: string }[] }
  >;
  'Leases.AddResource': Method<
    { readonly id: string; readonly resource: { readonly id: string; readonly type: string } },
    Empty
  >;
}

/** Methods that answer with many messages. */
export interface StreamMethods {
  'Events.Subscribe': Method<
    { readonly filters: readonly string[] },
    { readonly topic: string; readonly event: Any | null }
  >;
  'Snapshots.List': Method<
    { readonly snapshotter: string; readonly filters: readonly string[] },
    { readonly info: readonly SnapshotInfo[] }
  >;
  'Content.List': Method<{ readonly filters: readonly string[] }, { readonly info: readonly ContentInfo[] }>;
  'Content.Read': Method<
    { readonly digest: string; readonly offset?: string; readonly size?: string },
    { readonly data: Uint8Array }
  >;
}

/** Methods that change nothing: the fault seam leaves them alone. */
export const readingMethods: ReadonlySet<keyof UnaryMethods> = new Set<keyof UnaryMethods>([
  'Version.Version',
  'Containers.List',
  'Tasks.Get',
  'Tasks.List',
  'Tasks.ListPids',
  'Tasks.Wait',
  'Snapshots.Mounts',
  'Snapshots.Stat',
  'Snapshots.Usage',
  'Content.Info',
  'Content.ListStatuses',
  'Images.List',
  'Leases.List',
]);
