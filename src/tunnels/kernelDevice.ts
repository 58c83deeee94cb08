/*
 * Tunnels by the kernel's own WireGuard. The device is born in the namespace of the spec by a socket of the daemon's, so
 * that its UDP socket is the daemon's; it lives on without any process.
 */
import type { WireguardChange, WireguardState } from '../codec/wireguard/device.ts';
import { type Kernel, KernelError } from '../kernel/kernel.ts';
import type { Engine, TunnelContext, TunnelDevice } from './device.ts';
import { findFault, portTaken, setUpLink } from './linkSetup.ts';
import type { TunnelSpec } from './tunnel.ts';

async function findKind(kernel: Kernel, name: string, namespace: string): Promise<string | undefined> {
  try {
    return (await kernel.findLink(name, namespace))?.kind;
  } catch (error) {
    if (error instanceof KernelError && ['ENOENT', 'EINVAL'].includes(error.code)) return undefined;
    throw error;
  }
}

async function setPort(kernel: Kernel, spec: TunnelSpec, change: WireguardChange): Promise<void> {
  try {
    await kernel.setWireguard(spec.name, change, spec.namespace);
  } catch (error) {
    // Where the device is up already.
    if (error instanceof KernelError && error.code === 'EADDRINUSE') throw portTaken(spec.port, error);
    throw error;
  }
}

class KernelDevice implements TunnelDevice {
  readonly engine = 'kernel' as const;
  readonly gone: Promise<string>;
  readonly #kernel: Kernel;
  readonly #spec: TunnelSpec;
  readonly #open = new DisposableStack();
  readonly #tellGone: (cause: string) => void;

  constructor(kernel: Kernel, spec: TunnelSpec) {
    this.#kernel = kernel;
    this.#spec = spec;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.gone = promise;
    this.#tellGone = resolve;
  }

  /** Hears from now on that the device is gone. */
  async watch(): Promise<void> {
    const { events } = this.#kernel;
    const id = await this.#kernel.numberNamespace(this.#spec.namespace);
    const look = (): void => void this.#look();
    this.#open.use(
      events.on('farLoss', ({ namespaceId, isPairOnly }) => {
        if (namespaceId === id && !isPairOnly) look();
      }),
    );
    this.#open.use(events.on('overrun', look));
  }

  async #look(): Promise<void> {
    const fault = await findFault(this.#kernel, this.#spec).catch(() => undefined);
    if (this.#open.disposed) return;
    if (fault === 'gone') this.#tellGone('the WireGuard device was deleted');
    // What others change on it is put back; where that fails, the next notice tries again.
    else if (fault !== undefined) await setUpLink(this.#kernel, this.#spec).catch(() => {});
  }

  set(change: WireguardChange): Promise<void> {
    return this.#kernel.setWireguard(this.#spec.name, change, this.#spec.namespace);
  }

  state(): Promise<WireguardState> {
    return this.#kernel.wireguard(this.#spec.name, this.#spec.namespace);
  }

  async remove(): Promise<void> {
    this.release();
    await this.#kernel.delLink(this.#spec.name, this.#spec.namespace);
  }

  release(): void {
    this.#open.dispose();
  }
}

export function createKernelEngine({ kernel }: TunnelContext): Engine {
  const exists: Engine['exists'] = async (name, namespace) =>
    (await findKind(kernel, name, namespace)) === 'wireguard';
  return {
    engine: 'kernel',
    findObstacle: async () =>
      (await kernel.hasWireguard()) ? undefined : 'this kernel has no WireGuard (CONFIG_WIREGUARD)',
    exists,
    open: async (spec) => {
      await using undo = new AsyncDisposableStack();
      if (await kernel.ensureWireguard(spec))
        undo.defer(() => kernel.delLink(spec.name, spec.namespace).catch(() => {}));
      await setPort(kernel, spec, { privateKey: spec.privateKey.reveal(), port: spec.port });
      await setUpLink(kernel, spec);
      const device = new KernelDevice(kernel, spec);
      await device.watch();
      undo.move();
      return device;
    },
    remove: async (name, namespace) => {
      if (await exists(name, namespace)) await kernel.delLink(name, namespace);
    },
  };
}
