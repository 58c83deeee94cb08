/*
 * Whether other nodes are heard from at all on the ways of networks in clear, where nothing else would tell: an address
 * that is wrong or has changed, a cable, a firewall. Each way that is used gets a small echo now and then; one that stays
 * silent is a condition. Ways through the tunnels are told by what WireGuard counts (tunnelTry.ts).
 * docs/adr/0021-path-probes.md
 */
import type { Clock } from '../../base/clock.ts';
import type { Condition } from '../../base/condition.ts';
import { ConditionBook, type ConditionReport } from '../../base/conditionBook.ts';
import type { Logger } from '../../base/logger.ts';
import type { SwarmNetworks } from '../../cluster/swarmNetworks.ts';
import { hasErrno } from '../../kernel/errno.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { formatIp } from '../../net/ip.ts';
import { findNodePaths, type NodePath, type PathCarriers } from './pathTargets.ts';

export interface PathPulseDependencies {
  readonly kernel: Pick<Kernel, 'probePath'>;
  readonly swarm: Pick<SwarmNetworks, 'nodes' | 'dataPath' | 'networks' | 'findNode' | 'peers' | 'blocks'>;
  readonly carriers: PathCarriers;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Between two rounds over all ways; sooner while one has not answered. */
const roundMs = 20_000;
const soonMs = 5000;
const answerMs = 1000;
/** An echo and its answer may be lost, and a link may be down for a moment. */
const patience = 3;
/** Echoes under way at once. */
const atOnce = 32;
const echoBytes = 128;

interface Pulse {
  readonly path: NodePath;
  /** Rounds without an answer since there was one. */
  readonly silences: number;
  readonly hasAnswered: boolean;
  /** The address to send from is not this machine's. */
  readonly isHomeless: boolean;
}

export class PathPulse implements Disposable {
  readonly #deps: PathPulseDependencies;
  readonly #conditions: ConditionBook;
  readonly #stopping = new AbortController();
  #pulses: ReadonlyMap<string, Pulse> = new Map();

  constructor(deps: PathPulseDependencies) {
    this.#deps = deps;
    this.#conditions = new ConditionBook(deps);
  }

  get conditions(): readonly Condition[] {
    return this.#conditions.list();
  }

  /** Once this node's membership is known. */
  start(): void {
    void this.#run();
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const isWaiting = [...this.#pulses.values()].some(
        ({ silences }) => silences > 0 && silences < patience,
      );
      try {
        await clock.sleep(isWaiting ? soonMs : roundMs, signal);
        await this.#round();
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error }, 'could not look whether other nodes answer');
      }
    }
  }

  async #round(): Promise<void> {
    const { swarm, carriers } = this.#deps;
    const paths = findNodePaths(swarm, carriers).filter(({ isEncrypted }) => !isEncrypted);
    const pulses = new Map<string, Pulse>();
    for (let i = 0; i < paths.length; i += atOnce)
      for (const pulse of await Promise.all(paths.slice(i, i + atOnce).map((path) => this.#ask(path))))
        pulses.set(pulse.path.key, pulse);
    this.#pulses = pulses;
    this.#report();
  }

  async #ask(path: NodePath): Promise<Pulse> {
    const known = this.#pulses.get(path.key);
    const isSame = known?.path.to.bits === path.to.bits && known.path.from.bits === path.from.bits;
    const before = isSame ? known : { silences: 0, hasAnswered: false };
    const { from, to } = path;
    /** Undefined: not from there. */
    const answers = await this.#deps.kernel
      .probePath({ from, to, sizes: [echoBytes], isWhole: false, timeoutMs: answerMs })
      .catch((error: unknown) => {
        if (!hasErrno(error, 'EADDRNOTAVAIL')) throw error;
        return undefined;
      });
    const isAnswered = answers !== undefined && answers.length > 0;
    return {
      path,
      silences: isAnswered ? 0 : before.silences + 1,
      hasAnswered: isAnswered || before.hasAnswered,
      isHomeless: answers === undefined,
    };
  }

  #report(): void {
    const { swarm } = this.#deps;
    const own = swarm.findNode(swarm.dataPath?.nodeId ?? '')?.hostname ?? 'this node';
    const silent = [...this.#pulses.values()].filter(({ silences }) => silences >= patience);
    const homeless = silent.find(({ isHomeless }) => isHomeless);
    if (homeless !== undefined) {
      const text = `${formatIp(homeless.path.from)}, from which ${own} sends to overlay networks and where others send to it, is not an address of this machine: give it back, or let the node leave and join the swarm again`;
      this.#conditions.report('pulse', [{ id: 'path.noAddress', severity: 'error', text }]);
      return;
    }
    this.#conditions.report(
      'pulse',
      silent.map((pulse) => reportOf(own, pulse)),
    );
  }
}

function reportOf(own: string, { path, hasAnswered }: Pulse): ConditionReport {
  const { key, hostname } = path;
  const ends = `${own} and ${hostname} (${formatIp(path.to)})`;
  const id = `path.silent:${key}`;
  // Where it never answered, echo may just not be let through.
  if (!hasAnswered)
    return {
      ...{ id, severity: 'warning' },
      text: `nothing comes back on the way between ${ends}: containers of overlay networks there may not reach each other; if they do, let ICMP echo through, so that it can be seen`,
    };
  return {
    ...{ id, severity: 'error' },
    text: `nothing comes back any more on the way between ${ends}: containers of overlay networks there do not reach each other`,
  };
}
