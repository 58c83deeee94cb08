/*
 * Who has which host port, in memory: every binding of every network of this daemon. A port on every address conflicts
 * with the same port on any one, and the other way round; families and protocols do not conflict. Pure.
 */
import { formatIp, type Ip } from '../../net/ip.ts';
import type { Proto } from '../../net/proto.ts';

export interface TablePort {
  readonly proto: Proto;
  /** The unspecified address stands for all of its family. */
  readonly ip: Ip;
  readonly port: number;
}

const slotOf = ({ proto, ip, port }: TablePort): string => `${proto} ${ip.family} ${port}`;

export class PortTable {
  /** Addresses in use by slot. */
  readonly #taken = new Map<string, Map<string, Ip>>();
  readonly #lastEphemeral = new Map<string, number>();

  isFree({ ip, ...rest }: TablePort): boolean {
    const addresses = this.#taken.get(slotOf({ ip, ...rest }));
    if (addresses === undefined) return true;
    return (
      ip.bits !== 0n && !addresses.has(formatIp(ip)) && ![...addresses.values()].some((a) => a.bits === 0n)
    );
  }

  /** All or none; the first that is not free, or undefined. */
  take(ports: readonly TablePort[]): TablePort | undefined {
    const taken: TablePort[] = [];
    for (const port of ports) {
      if (!this.isFree(port)) {
        this.release(taken);
        return port;
      }
      const slot = slotOf(port);
      const addresses = this.#taken.get(slot) ?? new Map<string, Ip>();
      this.#taken.set(slot, addresses.set(formatIp(port.ip), port.ip));
      taken.push(port);
    }
    return undefined;
  }

  /** Success if not taken. */
  release(ports: readonly TablePort[]): void {
    for (const port of ports) {
      const addresses = this.#taken.get(slotOf(port));
      addresses?.delete(formatIp(port.ip));
      if (addresses?.size === 0) this.#taken.delete(slotOf(port));
    }
  }

  /**
   * `candidates` (in order) from the one after the last that was chosen for this protocol, around to it: a port that
   * was just given back is not the next one to be given.
   */
  *afterLast(proto: Proto, candidates: readonly number[]): Generator<number> {
    const last = this.#lastEphemeral.get(proto) ?? 0;
    const start = Math.max(
      0,
      candidates.findIndex((port) => port > last),
    );
    for (let i = 0; i < candidates.length; i++) {
      const port = candidates[(start + i) % candidates.length];
      if (port === undefined) return;
      this.#lastEphemeral.set(proto, port);
      yield port;
    }
  }
}
