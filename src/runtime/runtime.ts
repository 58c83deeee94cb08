/*
 * The face of the container runtime to the engine: snapshots, tasks and their stdio, by container id.
 * containerd implements it (runtime/containerd); nothing above knows gRPC. Images are beside it (runtime/images).
 */
import type { Events } from '../base/events.ts';
import type { Tree, TreeMount } from '../files/rootTree.ts';

/** OCI runtime spec 1.0.2, as JSON but for numbers that need 64 bits, which are bigints; built by runtime/oci. */
export type OciSpec = Readonly<Record<string, unknown>>;

/** Paths of FIFOs; undefined = not connected. With a terminal, only stdin and stdout. */
export interface StdioPaths {
  readonly stdin: string | undefined;
  readonly stdout: string | undefined;
  readonly stderr: string | undefined;
  readonly isTerminal: boolean;
}

export interface ExitStatus {
  readonly exitCode: number;
  /** RFC 3339 nano. */
  readonly exitedAt: string;
}

/** What containerd knows of one of our containers when the daemon comes back. */
export interface RuntimeContainer {
  readonly id: string;
  readonly task:
    | {
        readonly status: 'created' | 'running' | 'paused' | 'stopped';
        readonly pid: number;
        readonly exit?: ExitStatus;
      }
    | undefined;
}

/** Something at an absolute path of a container that its image has not, has otherwise, or has and the container has not. */
export interface RootfsChange {
  readonly path: string;
  readonly kind: 'added' | 'changed' | 'deleted';
}

export interface RuntimeEvents extends Record<string, unknown> {
  /** The connection to containerd was lost or came back. */
  readonly connection: { readonly isUp: boolean };
  /** The kernel killed a process of the container for memory. */
  readonly oom: { readonly containerId: string };
}

/** How the files of a container that does not run are looked at. */
export interface StoppedAccess {
  /** `mounts` = nothing but what is mounted, where that is not read-only. */
  readonly write: 'none' | 'mounts' | 'all';
  readonly mounts: readonly TreeMount[];
}

export interface ViewMount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface Runtime extends AsyncDisposable {
  readonly events: Events<RuntimeEvents>;
  versions(): Promise<{ readonly containerd: string; readonly runc: string }>;
  /** Where containerd listens, and under which of its namespaces everything of ours is. */
  readonly containerd: { readonly address: string; readonly namespace: string };

  /**
   * Writable snapshot over the image's top layer (`chainId`; empty for an image without layers), with these labels.
   * containerd's own container record follows at the first createTask. Succeeds if the snapshot is already there.
   */
  prepare(id: string, chainId: string, labels: Readonly<Record<string, string>>): Promise<void>;
  /**
   * The `index`-th image, counted from 0, that the container has mounted, by the image's top layer: keeps the layers until
   * `remove`. Succeeds if it is already there.
   */
  prepareView(id: string, index: number, chainId: string): Promise<void>;
  /** How it is mounted, read-only, in the words of the OCI spec. */
  viewMount(id: string, index: number): Promise<ViewMount>;
  /** Task (killed if alive), record and snapshots; success if already gone. */
  remove(id: string): Promise<void>;
  list(): Promise<readonly RuntimeContainer[]>;
  /** Ends processes that requests of a daemon before this one left half-made, so that no list shows them. */
  sweep(): Promise<void>;
  /**
   * A regular file of the container's root file system, as the container would see it (absolute path inside; symbolic
   * links are followed inside the root only), without mounting it: for /etc/passwd and /etc/group. Undefined if there
   * is none, or if it is larger than 1 MiB.
   */
  readRootfsFile(id: string, path: string): Promise<Buffer | undefined>;
  /**
   * Copies what is in a folder of the container's root file system into an empty folder of the host, which gets its owner
   * and mode too. Owners, modes, times, links, devices and extended attributes stay. Only before the container's first
   * start: nobody may change the root file system meanwhile. Symbolic links are followed inside the root only.
   * `none`: there is nothing at `path`, `file`: something that is no folder; nothing was copied then.
   */
  copyRootfsFolder(id: string, path: string, target: string): Promise<'copied' | 'none' | 'file'>;
  /** What the container's root file system has beside its image, running or not; a folder is before what is in it. */
  changes(id: string): Promise<readonly RootfsChange[]>;
  /** The files of a running container, as its process `pid` sees them. Code containerState if that has ended. */
  withRunningRootfs<T>(id: string, pid: number, work: (tree: Tree) => Promise<T>): Promise<T>;
  /** The root file system of a container that does not run; one that is written to is not started before `work` has ended. */
  withStoppedRootfs<T>(id: string, options: StoppedAccess, work: (tree: Tree) => Promise<T>): Promise<T>;
  usage(id: string): Promise<{ readonly writableBytes: number }>;

  /** Creates the task: the process exists but has not run. Rejects with runc's own text. */
  createTask(id: string, spec: OciSpec, stdio: StdioPaths): Promise<{ readonly pid: number }>;
  startTask(id: string): Promise<void>;
  /** Settles when the init process ends, also if it has ended already. */
  waitTask(id: string): Promise<ExitStatus>;
  /** Removes an ended task, or kills one that lives; success if there is none. */
  deleteTask(id: string): Promise<void>;
  /** Success if the process has ended already. */
  kill(
    id: string,
    signal: number,
    options?: { readonly execId?: string; readonly all?: boolean },
  ): Promise<void>;
  /** Changes what `resources`, the OCI spec's `linux.resources`, names of a task that runs or is paused. Rejects with runc's own text. */
  updateResources(id: string, resources: OciSpec): Promise<void>;
  pause(id: string): Promise<void>;
  resume(id: string): Promise<void>;
  resize(
    id: string,
    size: { readonly height: number; readonly width: number },
    execId?: string,
  ): Promise<void>;
  closeStdin(id: string, execId?: string): Promise<void>;
  pids(id: string): Promise<readonly number[]>;

  /** `process` is the OCI spec's process object. */
  createExec(id: string, execId: string, process: OciSpec, stdio: StdioPaths): Promise<void>;
  startExec(id: string, execId: string): Promise<{ readonly pid: number }>;
  waitExec(id: string, execId: string): Promise<ExitStatus>;
  /** SIGKILL to an exec's first process, `pid` on the host, and to all that it started. Success if it has ended. */
  killExec(id: string, execId: string, pid: number): Promise<void>;
  deleteExec(id: string, execId: string): Promise<void>;
}
