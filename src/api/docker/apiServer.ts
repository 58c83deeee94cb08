/*
 * The face of the Docker Engine API server to the composition root: what it needs, and what can be done with it.
 * Announced version 1.50, oldest accepted 1.24 (Docker Engine API, Engine 28).
 */
import type { Clock } from '../../base/clock.ts';
import type { Condition } from '../../base/condition.ts';
import type { Logger } from '../../base/logger.ts';
import type { DoctorReport } from '../../engine/doctor/doctor.ts';
import type { Builder } from '../../builder/builder.ts';
import type { Engine } from '../../engine/engine.ts';
import type { Metrics } from '../metrics/metrics.ts';

/** The newest Engine API version that we speak. */
export const apiVersion = '1.50';
/** The oldest one that we accept. */
export const minApiVersion = '1.24';

/** What `version` and `info` say about this build. */
export interface BuildInfo {
  readonly version: string;
  readonly gitCommit: string;
  /** RFC 3339; empty if unknown. */
  readonly buildTime: string;
}

export interface ApiDeps {
  readonly engine: Engine;
  /** Undefined where none is configured. */
  readonly builder: Builder | undefined;
  readonly logger: Logger;
  readonly build: BuildInfo;
  /** What holds now; served at `/linkspan/v1/conditions`, and its texts in the warnings of `info`. */
  readonly conditions: () => readonly Condition[];
  readonly clock: Clock;
  /** Served at `/linkspan/v1/doctor`. */
  readonly doctor: () => Promise<DoctorReport>;
  /** Our nft table as text; served at `/linkspan/v1/firewall`. */
  readonly dumpFirewall: () => Promise<string>;
  /** Told of every request; served at `/metrics`. */
  readonly metrics: Metrics;
}

/** Where to listen: a unix socket with its permissions, or TCP (port 0 = any free one). */
export type ListenAddress =
  | { readonly socketPath: string; readonly mode: number; readonly gid?: number }
  | { readonly host: string; readonly port: number };

export interface ApiServer extends AsyncDisposable {
  /**
   * Starts to accept; may be called several times. Resolves with the address as `unix:///path` or `tcp://host:port`.
   * A socket file that nobody answers on is replaced; one that is answered rejects with code `daemonRunning`.
   */
  listen(address: ListenAddress): Promise<string>;
  /** One request without a socket, for tests. */
  inject(request: {
    readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
    readonly url: string;
    readonly headers?: Record<string, string>;
    readonly body?: string | Buffer;
  }): Promise<{
    readonly status: number;
    readonly headers: Readonly<Record<string, unknown>>;
    readonly text: string;
  }>;
  /** Stops accepting, ends every connection (attached clients too) and removes the socket files. */
  close(): Promise<void>;
}
