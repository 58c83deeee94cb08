/*
 * The table `inet linkspan-tunnels`: VXLAN packets of our networks are taken from hosts with a member of the network
 * only, told by VNI and outer source. A VNI that is not ours is none of its business: others may share the port. It is
 * no proof of who sent a packet: on an underlay where sources are forged, that takes encryption.
 * There is no table while there is no such network. It is written anew with the first change after a start, with the
 * networks told by then (what comes for others passes until they are told), and when somebody took it or a part away. RFC 7348 section 5: bits 96
 * to 119 after the start of the UDP header are the VNI.
 */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { KeyedMutex } from '../base/mutex.ts';
import type { Repair } from '../base/repairLog.ts';
import { type Kernel, KernelError } from '../kernel/kernel.ts';
import { formatIp, type Ip } from '../net/ip.ts';
import { readListing } from './nftJson.ts';

export interface TunnelGuard extends Disposable {
  /** From now on `vni` is ours, and these hosts are all that it is taken from. */
  allow(vni: number, vteps: readonly Ip[]): Promise<void>;
  /** `vni` is not ours any more; success if it was not. */
  forget(vni: number): Promise<void>;
  /** Its table went with its namespace: written anew, if there is to be one. */
  rewrite(): Promise<void>;
  /** What an earlier daemon left goes, unless a VNI is ours by now: others may use those. */
  sweep(): Promise<void>;
}

/** By VNI the hosts, as text. */
type Members = ReadonlyMap<number, ReadonlySet<string>>;

/** Family and name of its table. */
export const tunnelTable = 'inet linkspan-tunnels';
const at = tunnelTable;
const removal = `add table ${at}\ndelete table ${at}`;
const vniField = '@th,96,24';
const setOf = (vtep: string): string => (vtep.includes(':') ? 'members6' : 'members4');

/** nft commands that make the table, whatever is there; `port` is the UDP port of all hosts. */
function planTable(port: number): readonly string[] {
  const rule = (ip: string, set: string): string =>
    `add rule ${at} input meta nfproto ${ip === 'ip' ? 'ipv4' : 'ipv6'} udp dport ${port} ${vniField} @vnis ${ip} saddr . ${vniField} != @${set} drop`;
  return [
    removal,
    `add table ${at}`,
    `add set ${at} vnis { typeof ${vniField}; }`,
    `add set ${at} members4 { typeof ip saddr . ${vniField}; }`,
    `add set ${at} members6 { typeof ip6 saddr . ${vniField}; }`,
    // Where fragments are together again.
    `add chain ${at} input { type filter hook input priority raw; policy accept; }`,
    rule('ip', 'members4'),
    rule('ip6', 'members6'),
    // Each inner connection has an outer source port of its own (RFC 7348 section 5), and no packet ever answers it there:
    // tracking would cost every connection an entry on both hosts, and tell nobody anything.
    ...(['prerouting', 'output'] as const).flatMap((hook) => [
      `add chain ${at} ${hook} { type filter hook ${hook} priority raw; policy accept; }`,
      `add rule ${at} ${hook} udp dport ${port} ${vniField} @vnis notrack`,
    ]),
  ];
}

/** Of one VNI. Members come before their VNI and go after it, but in one transaction that is all the same. */
function planVni(op: 'add' | 'delete', vni: number, vteps: Iterable<string>): readonly string[] {
  return [...vteps].map((vtep) => `${op} element ${at} ${setOf(vtep)} { ${vtep} . ${vni} }`);
}

const planOwn = (op: 'add' | 'delete', vni: number): string => `${op} element ${at} vnis { ${vni} }`;

/** What makes `after` of `before` in the one VNI that differs. */
function planChange(vni: number, before: Members, after: Members): readonly string[] {
  const [old, now] = [before.get(vni), after.get(vni)];
  const gone = [...(old ?? [])].filter((vtep) => now?.has(vtep) !== true);
  const come = [...(now ?? [])].filter((vtep) => old?.has(vtep) !== true);
  return [
    ...planVni('delete', vni, gone),
    ...planVni('add', vni, come),
    ...(old === undefined && now !== undefined ? [planOwn('add', vni)] : []),
    ...(old !== undefined && now === undefined ? [planOwn('delete', vni)] : []),
  ];
}

export interface TunnelGuardDependencies {
  readonly kernel: Pick<Kernel, 'nft' | 'events'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of a table in a namespace that comes and goes: whether that is there. */
  readonly isThere?: () => Promise<boolean>;
  /** UDP, of all hosts of the swarm; read whenever the table is written anew. */
  readonly port: () => number;
  readonly onRepair?: (repair: Omit<Repair, 'id' | 'at'>) => void;
}

/** Others that change their tables often are not to cost a listing each. */
const checkRestMs = 250;

class NftTunnelGuard implements TunnelGuard {
  readonly #deps: TunnelGuardDependencies;
  readonly #kernel: Pick<Kernel, 'nft'>;
  readonly #mutex = new KeyedMutex();
  /** What the table has, undefined where that is not known. */
  #actual: Members | undefined;
  readonly #wanted = new Map<number, ReadonlySet<string>>();
  readonly #stopping = new AbortController();
  readonly #listener: Disposable;
  #isCheckDue = false;

  constructor(deps: TunnelGuardDependencies) {
    this.#deps = deps;
    this.#kernel = deps.kernel;
    this.#listener = deps.kernel.events.on('ruleset', ({ isOwn }) => {
      if (!isOwn && this.#wanted.size > 0) void this.#checkLater();
    });
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
    this.#listener[Symbol.dispose]();
  }

  async allow(vni: number, vteps: readonly Ip[]): Promise<void> {
    await this.#change(vni, () => this.#wanted.set(vni, new Set(vteps.map(formatIp))));
  }

  async forget(vni: number): Promise<void> {
    await this.#change(vni, () => this.#wanted.delete(vni), true);
  }

  async rewrite(): Promise<void> {
    await this.#mutex.run('', async () => {
      this.#actual = undefined;
      if (this.#wanted.size === 0) return;
      const wanted = new Map(this.#wanted);
      await this.#write(wanted);
      this.#actual = wanted;
    });
  }

  async sweep(): Promise<void> {
    await this.#mutex.run('', async () => {
      if (this.#actual === undefined && this.#wanted.size === 0) await this.#kernel.nft(removal);
    });
  }

  async #change(vni: number, change: () => void, isLess = false): Promise<void> {
    await this.#mutex.run('', async () => {
      change();
      const { isThere } = this.#deps;
      if (isThere !== undefined && isLess && !(await isThere())) {
        // It went with all that was in it.
        this.#actual = undefined;
        return;
      }
      const wanted = new Map(this.#wanted);
      const before = this.#actual;
      const commands = before === undefined ? undefined : planChange(vni, before, wanted);
      if (commands?.length === 0) return;
      this.#actual = undefined;
      if (wanted.size === 0) {
        if (!(await this.#attempt([removal]))) await this.#kernel.nft(removal);
        return;
      }
      if (commands === undefined || !(await this.#attempt(commands))) await this.#write(wanted);
      this.#actual = wanted;
    });
  }

  async #checkLater(): Promise<void> {
    if (this.#isCheckDue) return;
    this.#isCheckDue = true;
    try {
      await this.#deps.clock.sleep(checkRestMs, this.#stopping.signal);
      this.#isCheckDue = false;
      await this.#mutex.run('', () => this.#check());
    } catch (error) {
      if (!this.#stopping.signal.aborted)
        this.#deps.logger.error({ err: error }, 'could not look after the table of tunnels');
    }
  }

  async #check(): Promise<void> {
    const wanted = this.#actual;
    if (wanted === undefined || (await this.#isWhole(wanted))) return;
    this.#actual = undefined;
    await this.#write(wanted);
    this.#actual = wanted;
    const cause = 'it was gone or changed: written anew';
    this.#deps.logger.warn({ object: `table ${at}` }, cause);
    this.#deps.onRepair?.({ kind: 'firewall', object: `table ${at}`, cause, trigger: 'event' });
  }

  /** As far as numbers tell: what is in our table is nobody else's to exchange. */
  async #isWhole(wanted: Members): Promise<boolean> {
    try {
      const text = await this.#kernel.nft(`list table ${at}`, { isJson: true });
      const { chains, rules, sets } = readListing(text);
      const count = (...names: readonly string[]): number =>
        sets.reduce((sum, { name, elements }) => sum + (names.includes(name) ? elements.size : 0), 0);
      const members = [...wanted.values()].reduce((sum, vteps) => sum + vteps.size, 0);
      return (
        chains.length === 3 &&
        rules.length === 4 &&
        count('vnis') === wanted.size &&
        count('members4', 'members6') === members
      );
    } catch (error) {
      if (error instanceof KernelError) return false;
      throw error;
    }
  }

  /** False if somebody took the table or an element away. */
  async #attempt(commands: readonly string[]): Promise<boolean> {
    try {
      await this.#kernel.nft(commands.join('\n'));
      return true;
    } catch (error) {
      if (error instanceof KernelError) return false;
      throw error;
    }
  }

  async #write(wanted: Members): Promise<void> {
    const elements = [...wanted].flatMap(([vni, vteps]) => [
      ...planVni('add', vni, vteps),
      planOwn('add', vni),
    ]);
    await this.#kernel.nft([...planTable(this.#deps.port()), ...elements].join('\n'));
  }
}

export function createTunnelGuard(deps: TunnelGuardDependencies): TunnelGuard {
  return new NftTunnelGuard(deps);
}
