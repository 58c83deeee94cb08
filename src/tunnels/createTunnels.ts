/*
 * Tunnels of this machine: chooses the engine, takes over what an earlier daemon left, and holds those back that are
 * lost again and again.
 */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { LinkspanError } from '../errors/linkspanError.ts';
import type { Engine, TunnelContext } from './device.ts';
import { createGoEngine } from './goDevice.ts';
import { createKernelEngine } from './kernelDevice.ts';
import { LossBook } from './lossBook.ts';
import type { EngineChoice, Tunnel, TunnelEngine, TunnelSpec, Tunnels } from './tunnel.ts';
import { tunnelEngines } from './tunnel.ts';
import { WireguardTunnel } from './wireguardTunnel.ts';

export interface TunnelsOptions extends TunnelContext {
  /** Those that may be used; default both. */
  readonly engines?: readonly TunnelEngine[];
}

/** A name for the device of a daemon, 13 bytes: the same each time, and another for each `daemonId`. */
export function tunnelNameOf(daemonId: string): string {
  return `lswg-${createHash('sha256').update(daemonId).digest('hex').slice(0, 8)}`;
}

class MachineTunnels implements Tunnels {
  readonly #context: TunnelContext;
  readonly #engines: readonly Engine[];
  readonly #losses = new LossBook();
  readonly #over = new AbortController();

  constructor({ engines = tunnelEngines, ...context }: TunnelsOptions) {
    this.#context = context;
    this.#engines = [createKernelEngine(context), createGoEngine(context)].filter(({ engine }) =>
      engines.includes(engine),
    );
  }

  async findEngine(): Promise<EngineChoice> {
    const found = await this.#choose();
    return 'reason' in found ? { engine: undefined, reason: found.reason } : { engine: found.engine };
  }

  async #choose(): Promise<Engine | { readonly reason: string }> {
    const obstacles: string[] = [];
    for (const engine of this.#engines) {
      const obstacle = await engine.findObstacle();
      if (obstacle === undefined) return engine;
      obstacles.push(obstacle);
    }
    return { reason: obstacles.join(', and ') };
  }

  async open(spec: TunnelSpec): Promise<Tunnel> {
    await this.#waitFor(spec.name);
    const { name, namespace } = spec;
    await mkdir(this.#context.folder, { recursive: true, mode: 0o700 });
    const engine = await this.#findUsed(spec);
    for (const other of this.#engines) if (other !== engine) await other.remove(name, namespace);
    const device = await engine.open(spec);
    const { clock } = this.#context;
    const bornMs = clock.nowMs();
    try {
      const tunnel = await WireguardTunnel.over(name, device, this.#context);
      tunnel.events.on('lost', () => this.#losses.note(name, bornMs, clock.nowMs()));
      this.#context.logger.info({ link: name, engine: engine.engine }, 'an encrypted tunnel is open');
      return tunnel;
    } catch (error) {
      await device.remove().catch(() => {});
      throw error;
    }
  }

  /** What runs stays what it is, so that it goes on. */
  async #findUsed({ name, namespace }: TunnelSpec): Promise<Engine> {
    for (const engine of this.#engines) if (await engine.exists(name, namespace)) return engine;
    const found = await this.#choose();
    if (!('reason' in found)) return found;
    throw new LinkspanError(
      'tunnelUnavailable',
      `this machine can have no encrypted tunnel: ${found.reason}`,
    );
  }

  async remove(name: string, namespace: string): Promise<void> {
    const failures: unknown[] = [];
    for (const engine of this.#engines)
      await engine.remove(name, namespace).catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  }

  async #waitFor(name: string): Promise<void> {
    const { clock } = this.#context;
    const waitMs = this.#losses.waitMs(name, clock.nowMs());
    if (waitMs > 0) await clock.sleep(waitMs, this.#over.signal);
  }

  [Symbol.dispose](): void {
    this.#over.abort();
  }
}

/** Does nothing until it is asked to. */
export function createTunnels(options: TunnelsOptions): Tunnels {
  return new MachineTunnels(options);
}
