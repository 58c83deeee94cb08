/*
 * What an engine gives to a tunnel: one device that is up, to be changed and asked in WireGuard's own terms. Its two
 * implementations are kernelDevice.ts and goDevice.ts.
 */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Seam } from '../base/seam.ts';
import type { WireguardChange, WireguardState } from '../codec/wireguard/device.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { TunnelEngine, TunnelSpec } from './tunnel.ts';

export interface TunnelContext {
  readonly kernel: Kernel;
  /** Below the exec-root, made with 0700: wireguard-go's pid and log. */
  readonly folder: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly seam: Seam;
  /** How wireguard-go is called, program first; default as it is found on the PATH. */
  readonly wireguardGo?: readonly string[];
}

export interface TunnelDevice {
  readonly engine: TunnelEngine;
  /** Not atomic where it fails. Rejects with a KernelError. */
  set(change: WireguardChange): Promise<void>;
  state(): Promise<WireguardState>;
  /** Resolves with the cause once the device is gone; never after `remove` or `release`. */
  readonly gone: Promise<string>;
  /** Success if it is gone. */
  remove(): Promise<void>;
  /** It goes on without us. */
  release(): void;
}

/** One way to have devices. */
export interface Engine {
  readonly engine: TunnelEngine;
  /** Why this machine cannot have them by this engine, in a sentence; undefined if it can. */
  findObstacle(): Promise<string | undefined>;
  /** Whether a device of that name is there by this engine, also half-made. */
  exists(name: string, namespace: string): Promise<boolean>;
  /** Makes it, or takes over the one that is there. Undoes what it did when it fails. */
  open(spec: TunnelSpec): Promise<TunnelDevice>;
  /** Success if there is nothing of that name. */
  remove(name: string, namespace: string): Promise<void>;
}
