/*
 * The part of containerd's gRPC API that is used, in a table (codec/protobuf/schema.ts). Field numbers and service names
 * are containerd's, stable since 1.0 and the same in 1.6, 1.7 and 2.x; fields that we neither set nor read are left out,
 * which proto3 allows.
 */
import type { MessageTable, MethodTable, WireSchema } from '../../codec/protobuf/schema.ts';

const messages: Readonly<Record<string, MessageTable>> = {
  // google.protobuf
  Empty: {},
  Any: { type_url: 'string 1', value: 'bytes 2' },
  Timestamp: { seconds: 'int64 1', nanos: 'int32 2' },
  FieldMask: { paths: 'repeated string 1' },

  // containerd.types
  Mount: { type: 'string 1', source: 'string 2', target: 'string 3', options: 'repeated string 4' },
  Descriptor: { media_type: 'string 1', digest: 'string 2', size: 'int64 3', annotations: 'map string 5' },
  // An enum on the wire is an int32.
  Process: {
    container_id: 'string 1',
    id: 'string 2',
    pid: 'uint32 3',
    status: 'int32 4',
    exit_status: 'uint32 9',
    exited_at: 'Timestamp 10',
  },

  // services.version, services.events; events and options that travel inside Any
  VersionResponse: { version: 'string 1', revision: 'string 2' },
  SubscribeRequest: { filters: 'repeated string 1' },
  Envelope: { timestamp: 'Timestamp 1', namespace: 'string 2', topic: 'string 3', event: 'Any 4' },
  TaskOom: { container_id: 'string 1' },
  RuncOptions: { binary_name: 'string 6', systemd_cgroup: 'bool 9' },

  // services.namespaces
  Namespace: { name: 'string 1', labels: 'map string 2' },
  CreateNamespaceRequest: { namespace: 'Namespace 1' },

  // services.containers
  ContainerRuntime: { name: 'string 1', options: 'Any 2' },
  Container: {
    id: 'string 1',
    labels: 'map string 2',
    image: 'string 3',
    runtime: 'ContainerRuntime 4',
    spec: 'Any 5',
    snapshotter: 'string 6',
    snapshot_key: 'string 7',
  },
  ListContainersRequest: { filters: 'repeated string 1' },
  ListContainersResponse: { containers: 'repeated Container 1' },
  CreateContainerRequest: { container: 'Container 1' },
  UpdateContainerRequest: { container: 'Container 1', update_mask: 'FieldMask 2' },
  DeleteContainerRequest: { id: 'string 1' },

  // services.tasks
  CreateTaskRequest: {
    container_id: 'string 1',
    rootfs: 'repeated Mount 3',
    stdin: 'string 4',
    stdout: 'string 5',
    stderr: 'string 6',
    terminal: 'bool 7',
    options: 'Any 9',
  },
  CreateTaskResponse: { container_id: 'string 1', pid: 'uint32 2' },
  ProcessRequest: { container_id: 'string 1', exec_id: 'string 2' },
  StartResponse: { pid: 'uint32 1' },
  DeleteTaskRequest: { container_id: 'string 1' },
  DeleteResponse: { id: 'string 1', pid: 'uint32 2', exit_status: 'uint32 3', exited_at: 'Timestamp 4' },
  GetTaskResponse: { process: 'Process 1' },
  ListTasksRequest: { filter: 'string 1' },
  ListTasksResponse: { tasks: 'repeated Process 1' },
  UpdateTaskRequest: { container_id: 'string 1', resources: 'Any 2' },
  KillRequest: { container_id: 'string 1', exec_id: 'string 2', signal: 'uint32 3', all: 'bool 4' },
  ExecRequest: {
    container_id: 'string 1',
    stdin: 'string 2',
    stdout: 'string 3',
    stderr: 'string 4',
    terminal: 'bool 5',
    spec: 'Any 6',
    exec_id: 'string 7',
  },
  ResizeRequest: { container_id: 'string 1', exec_id: 'string 2', width: 'uint32 3', height: 'uint32 4' },
  CloseIoRequest: { container_id: 'string 1', exec_id: 'string 2', stdin: 'bool 3' },
  ProcessInfo: { pid: 'uint32 1' },
  ListPidsResponse: { processes: 'repeated ProcessInfo 1' },
  WaitResponse: { exit_status: 'uint32 1', exited_at: 'Timestamp 2' },

  // services.snapshots
  SnapshotInfo: { name: 'string 1', parent: 'string 2', kind: 'int32 3', labels: 'map string 6' },
  PrepareRequest: { snapshotter: 'string 1', key: 'string 2', parent: 'string 3', labels: 'map string 4' },
  MountsResponse: { mounts: 'repeated Mount 1' },
  SnapshotKey: { snapshotter: 'string 1', key: 'string 2' },
  CommitRequest: { snapshotter: 'string 1', name: 'string 2', key: 'string 3', labels: 'map string 4' },
  StatSnapshotResponse: { info: 'SnapshotInfo 1' },
  ListSnapshotsRequest: { snapshotter: 'string 1', filters: 'repeated string 2' },
  ListSnapshotsResponse: { info: 'repeated SnapshotInfo 1' },
  UsageResponse: { size: 'int64 1', inodes: 'int64 2' },

  // services.content
  ContentInfo: { digest: 'string 1', size: 'int64 2', labels: 'map string 5' },
  DigestRequest: { digest: 'string 1' },
  ContentInfoResponse: { info: 'ContentInfo 1' },
  UpdateContentRequest: { info: 'ContentInfo 1', update_mask: 'FieldMask 2' },
  ListContentRequest: { filters: 'repeated string 1' },
  ListContentResponse: { info: 'repeated ContentInfo 1' },
  ReadContentRequest: { digest: 'string 1', offset: 'int64 2', size: 'int64 3' },
  ReadContentResponse: { offset: 'int64 1', data: 'bytes 2' },
  IngestStatus: { ref: 'string 3' },
  ListStatusesRequest: { filters: 'repeated string 1' },
  ListStatusesResponse: { statuses: 'repeated IngestStatus 1' },
  AbortRequest: { ref: 'string 1' },
  WriteRequest: {
    action: 'int32 1',
    ref: 'string 2',
    total: 'int64 3',
    expected: 'string 4',
    offset: 'int64 5',
    data: 'bytes 6',
    labels: 'map string 7',
  },
  WriteResponse: { action: 'int32 1', offset: 'int64 4', total: 'int64 5', digest: 'string 6' },

  // services.diff, services.images, services.leases
  ApplyRequest: { diff: 'Descriptor 1', mounts: 'repeated Mount 2' },
  ApplyResponse: { applied: 'Descriptor 1' },
  DiffRequest: {
    left: 'repeated Mount 1',
    right: 'repeated Mount 2',
    media_type: 'string 3',
    ref: 'string 4',
  },
  DiffResponse: { diff: 'Descriptor 3' },
  Image: { name: 'string 1', labels: 'map string 2', target: 'Descriptor 3' },
  ImageRequest: { image: 'Image 1' },
  UpdateImageRequest: { image: 'Image 1', update_mask: 'FieldMask 2' },
  ListImagesRequest: { filters: 'repeated string 1' },
  ListImagesResponse: { images: 'repeated Image 1' },
  DeleteImageRequest: { name: 'string 1', sync: 'bool 2' },
  Lease: { id: 'string 1', labels: 'map string 3' },
  CreateLeaseRequest: { id: 'string 1', labels: 'map string 3' },
  DeleteLeaseRequest: { id: 'string 1', sync: 'bool 2' },
  ListLeasesRequest: { filters: 'repeated string 1' },
  ListLeasesResponse: { leases: 'repeated Lease 1' },
  LeaseResource: { id: 'string 1', type: 'string 2' },
  AddResourceRequest: { id: 'string 1', resource: 'LeaseResource 2' },
};

const services: Readonly<Record<string, MethodTable>> = {
  'version.v1.Version': { Version: ['Empty', 'VersionResponse'] },
  'events.v1.Events': { Subscribe: ['SubscribeRequest', 'stream Envelope'] },
  'namespaces.v1.Namespaces': { Create: ['CreateNamespaceRequest', 'Empty'] },
  'containers.v1.Containers': {
    List: ['ListContainersRequest', 'ListContainersResponse'],
    Create: ['CreateContainerRequest', 'Empty'],
    Update: ['UpdateContainerRequest', 'Empty'],
    Delete: ['DeleteContainerRequest', 'Empty'],
  },
  'tasks.v1.Tasks': {
    Create: ['CreateTaskRequest', 'CreateTaskResponse'],
    Start: ['ProcessRequest', 'StartResponse'],
    Delete: ['DeleteTaskRequest', 'DeleteResponse'],
    DeleteProcess: ['ProcessRequest', 'DeleteResponse'],
    Get: ['ProcessRequest', 'GetTaskResponse'],
    List: ['ListTasksRequest', 'ListTasksResponse'],
    Kill: ['KillRequest', 'Empty'],
    Exec: ['ExecRequest', 'Empty'],
    ResizePty: ['ResizeRequest', 'Empty'],
    CloseIO: ['CloseIoRequest', 'Empty'],
    Update: ['UpdateTaskRequest', 'Empty'],
    Pause: ['ProcessRequest', 'Empty'],
    Resume: ['ProcessRequest', 'Empty'],
    ListPids: ['ProcessRequest', 'ListPidsResponse'],
    Wait: ['ProcessRequest', 'WaitResponse'],
  },
  'snapshots.v1.Snapshots': {
    Prepare: ['PrepareRequest', 'MountsResponse'],
    View: ['PrepareRequest', 'MountsResponse'],
    Mounts: ['SnapshotKey', 'MountsResponse'],
    Commit: ['CommitRequest', 'Empty'],
    Remove: ['SnapshotKey', 'Empty'],
    Stat: ['SnapshotKey', 'StatSnapshotResponse'],
    List: ['ListSnapshotsRequest', 'stream ListSnapshotsResponse'],
    Usage: ['SnapshotKey', 'UsageResponse'],
  },
  'content.v1.Content': {
    Info: ['DigestRequest', 'ContentInfoResponse'],
    Update: ['UpdateContentRequest', 'ContentInfoResponse'],
    List: ['ListContentRequest', 'stream ListContentResponse'],
    Read: ['ReadContentRequest', 'stream ReadContentResponse'],
    ListStatuses: ['ListStatusesRequest', 'ListStatusesResponse'],
    Write: ['stream WriteRequest', 'stream WriteResponse'],
    Abort: ['AbortRequest', 'Empty'],
  },
  'diff.v1.Diff': {
    Apply: ['ApplyRequest', 'ApplyResponse'],
    Diff: ['DiffRequest', 'DiffResponse'],
  },
  'images.v1.Images': {
    List: ['ListImagesRequest', 'ListImagesResponse'],
    Create: ['ImageRequest', 'Empty'],
    Update: ['UpdateImageRequest', 'Empty'],
    Delete: ['DeleteImageRequest', 'Empty'],
  },
  'leases.v1.Leases': {
    Create: ['CreateLeaseRequest', 'Empty'],
    Delete: ['DeleteLeaseRequest', 'Empty'],
    List: ['ListLeasesRequest', 'ListLeasesResponse'],
    AddResource: ['AddResourceRequest', 'Empty'],
  },
};

/** `Tasks.Create` is called at `/containerd.services.tasks.v1.Tasks/Create`. */
export const containerdSchema: WireSchema = { messages, services, servicePackage: 'containerd.services' };
