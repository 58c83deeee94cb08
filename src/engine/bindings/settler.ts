/*
 * Settles host ports: what is wanted becomes taken in the daemon's table and held by a socket, all or nothing. Exact
 * ports first, then choices, then ephemeral ones, so that no wish takes what a narrower one needs.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Kernel, RefusedPort } from '../../kernel/kernel.ts';
import { formatIp } from '../../net/ip.ts';
import { ephemeralPorts, isRoutedOnly, type Settled, type Want } from './bindingPlan.ts';
import type { PortTable, TablePort } from './portTable.ts';
import { formatHostPort } from '../../net/hostPort.ts';

export type PortKernel = Pick<Kernel, 'holdPorts' | 'releasePorts' | 'getSysctl'>;

/** Go's words for what bind(2) refuses. */
const words: Readonly<Record<string, string>> = {
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'cannot assign requested address',
  EACCES: 'permission denied',
  EMFILE: 'too many open files',
  ENFILE: 'too many open files in system',
};

function refused({ port, code }: RefusedPort): LinkspanError {
  return new LinkspanError(
    'portUnavailable',
    `failed to bind host port ${formatHostPort(port)}/${port.proto}: ${words[code] ?? code}`,
  );
}

function allocated({ ip, port }: TablePort): LinkspanError {
  return new LinkspanError(
    'portUnavailable',
    `Bind for ${formatIp(ip)}:${port} failed: port is already allocated`,
  );
}

/** What a want needs of the host at `port`. */
export function hostPortsOf(want: Want, port: number): readonly TablePort[] {
  return want.places
    .filter(({ isRouted }) => !isRouted)
    .map(({ hostIp }) => ({ proto: want.proto, ip: hostIp, port }));
}

/** A want that has a host port in some of its places, and what it has not yet in the others. */
export interface PartlySettled extends Settled {
  readonly missing: readonly TablePort[];
}

const isExact = ({ choice }: Want): boolean => choice !== undefined && choice.first === choice.last;

export class Settler {
  readonly #table: PortTable;
  readonly #kernel: PortKernel;

  constructor(table: PortTable, kernel: PortKernel) {
    this.#table = table;
    this.#kernel = kernel;
  }

  /** Throws code portUnavailable, with nothing taken or held, where one cannot be had. */
  async settle(wants: readonly Want[]): Promise<readonly Settled[]> {
    const settled: Settled[] = [];
    try {
      settled.push(...wants.filter(isRoutedOnly).map((want) => ({ want, hostPort: 0 })));
      const host = wants.filter((want) => !isRoutedOnly(want));
      settled.push(...(await this.#settleExact(host.filter(isExact))));
      for (const want of host.filter((one) => one.choice !== undefined && !isExact(one)))
        settled.push(await this.#settleOne(want, rangeOf(want)));
      const open = host.filter(({ choice }) => choice === undefined);
      const candidates = open.length === 0 ? [] : await this.#ephemeral();
      for (const want of open)
        settled.push(await this.#settleOne(want, this.#table.afterLast(want.proto, candidates)));
      return settled;
    } catch (error) {
      await this.release(settled);
      throw error;
    }
  }

  /**
   * Settles what is missing, at the same host ports: a network of another family came. Resolves with those that have
   * everything now; what may have another port and cannot complete this one is left out. Throws as `settle`.
   */
  async complete(partial: readonly PartlySettled[]): Promise<readonly PartlySettled[]> {
    const exact = partial.filter(({ want }) => isExact(want));
    await this.#takeExactly(exact.flatMap(({ missing }) => missing));
    const complete = [...exact];
    try {
      for (const one of partial.filter(({ want }) => !isExact(want)))
        if (await this.#takeIfFree(one.missing)) complete.push(one);
      return complete;
    } catch (error) {
      await this.releasePorts(complete.flatMap(({ missing }) => missing));
      throw error;
    }
  }

  async release(settled: readonly Settled[]): Promise<void> {
    const ports = settled.flatMap(({ want, hostPort }) => hostPortsOf(want, hostPort));
    await this.releasePorts(ports);
  }

  async releasePorts(ports: readonly TablePort[]): Promise<void> {
    if (ports.length === 0) return;
    await this.#kernel.releasePorts(ports);
    this.#table.release(ports);
  }

  async #settleExact(wants: readonly Want[]): Promise<readonly Settled[]> {
    const settled = wants.map((want) => ({ want, hostPort: want.choice?.first ?? 0 }));
    const ports = settled.flatMap(({ want, hostPort }) => hostPortsOf(want, hostPort));
    await this.#takeExactly(ports);
    return settled;
  }

  /** All or none. */
  async #takeExactly(ports: readonly TablePort[]): Promise<void> {
    const taken = this.#table.take(ports);
    if (taken !== undefined) throw allocated(taken);
    const refusal = ports.length === 0 ? undefined : await this.#hold(ports);
    if (refusal === undefined) return;
    this.#table.release(ports);
    throw refused(refusal);
  }

  /** All or none; false if somebody has one. */
  async #takeIfFree(ports: readonly TablePort[]): Promise<boolean> {
    if (this.#table.take(ports) !== undefined) return false;
    const refusal = await this.#hold(ports);
    if (refusal === undefined) return true;
    this.#table.release(ports);
    if (refusal.code !== 'EADDRINUSE') throw refused(refusal);
    return false;
  }

  /** The first of `candidates` that neither we nor anybody else has. */
  async #settleOne(want: Want, candidates: Iterable<number>): Promise<Settled> {
    for (const hostPort of candidates) {
      if (await this.#takeIfFree(hostPortsOf(want, hostPort))) return { want, hostPort };
    }
    throw new LinkspanError('portUnavailable', 'all ports are allocated');
  }

  /** A kernel that does not answer leaves the table as before. */
  async #hold(ports: readonly TablePort[]): Promise<RefusedPort | undefined> {
    try {
      return await this.#kernel.holdPorts(ports);
    } catch (error) {
      this.#table.release(ports);
      throw error;
    }
  }

  async #ephemeral(): Promise<readonly number[]> {
    const read = (name: string): Promise<string> =>
      this.#kernel.getSysctl(`net/ipv4/${name}`).catch(() => '');
    const [range, reserved] = await Promise.all([
      read('ip_local_port_range'),
      read('ip_local_reserved_ports'),
    ]);
    return ephemeralPorts(range, reserved);
  }
}

function rangeOf({ choice }: Want): readonly number[] {
  const { first, last } = choice ?? { first: 1, last: 0 };
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
