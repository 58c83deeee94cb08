/*
 * The table `inet linkspan-tunnels`: VXLAN packets of our networks are taken from hosts with a member of the network
 * only, told by VNI and outer source. A VNI that is not ours is none of its business: others may share the port. It is
 * no proof of who sent a packet: on an underlay where sources are forged, that takes encryption.
 * There is no table while there is no such network. It is written anew with the first change after a start, with the networks told by then (what comes for others
 * passes until they are told), and whenever a change is refused, as somebody took it away. RFC 7348 section 5: bits 96
 * to 119 after the start of the UDP header are the VNI.
 */
import { KeyedMutex } from '../base/mutex.ts';
import { type Kernel, KernelError } from '../kernel/kernel.ts';
import { formatIp, type Ip } from '../net/ip.ts';

export interface TunnelGuard {
  /** From now on `vni` is ours, and these hosts are all that it is taken from. */
  allow(vni: number, vteps: readonly Ip[]): Promise<void>;
  /** `vni` is not ours any more; success if it was not. */
  forget(vni: number): Promise<void>;
}

/** By VNI the hosts, as text. */
type Members = ReadonlyMap<number, ReadonlySet<string>>;

const at = 'inet linkspan-tunnels';
const vniField = '@th,96,24';
const setOf = (vtep: string): string => (vtep.includes(':') ? 'members6' : 'members4');

/** nft commands that make the table, whatever is there; `port` is the UDP port of all hosts. */
function planTable(port: number): readonly string[] {
  const rule = (ip: string, set: string): string =>
    `add rule ${at} input udp dport ${port} ${vniField} @vnis ${ip} saddr . ${vniField} != @${set} drop`;
  return [
    `add table ${at}`,
    `delete table ${at}`,
    `add table ${at}`,
    `add set ${at} vnis { typeof ${vniField}; }`,
    `add set ${at} members4 { typeof ip saddr . ${vniField}; }`,
    `add set ${at} members6 { typeof ip6 saddr . ${vniField}; }`,
    // Where fragments are together again.
    `add chain ${at} input { type filter hook input priority raw; policy accept; }`,
    rule('ip', 'members4'),
    rule('ip6', 'members6'),
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

class NftTunnelGuard implements TunnelGuard {
  readonly #kernel: Pick<Kernel, 'nft'>;
  readonly #port: () => number;
  readonly #mutex = new KeyedMutex();
  /** What the table has, undefined where that is not known. */
  #actual: Members | undefined;
  readonly #wanted = new Map<number, ReadonlySet<string>>();

  constructor(kernel: Pick<Kernel, 'nft'>, port: () => number) {
    this.#kernel = kernel;
    this.#port = port;
  }

  async allow(vni: number, vteps: readonly Ip[]): Promise<void> {
    await this.#change(vni, () => this.#wanted.set(vni, new Set(vteps.map(formatIp))));
  }

  async forget(vni: number): Promise<void> {
    await this.#change(vni, () => this.#wanted.delete(vni));
  }

  async #change(vni: number, change: () => void): Promise<void> {
    await this.#mutex.run('', async () => {
      change();
      const wanted = new Map(this.#wanted);
      const before = this.#actual;
      const commands = before === undefined ? undefined : planChange(vni, before, wanted);
      if (commands?.length === 0) return;
      this.#actual = undefined;
      if (wanted.size === 0) {
        await this.#kernel.nft([`add table ${at}`, `delete table ${at}`].join('\n'));
        return;
      }
      if (commands === undefined || !(await this.#attempt(commands))) await this.#write(wanted);
      this.#actual = wanted;
    });
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
    await this.#kernel.nft([...planTable(this.#port()), ...elements].join('\n'));
  }
}

/** `port`: UDP, of all hosts of the swarm; read whenever the table is written anew. */
export function createTunnelGuard(kernel: Pick<Kernel, 'nft'>, port: () => number): TunnelGuard {
  return new NftTunnelGuard(kernel, port);
}
