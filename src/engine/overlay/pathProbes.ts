/*
 * Looks for black holes: ways between nodes on which packets that overlay networks send are lost for their length, without
 * a word to the sender. Each way is tried when it comes to be used, and now and then, one after the other. What is found is
 * a condition as long as it holds. docs/adr/0021-path-probes.md
 */
import type { Clock } from '../../base/clock.ts';
import type { Condition } from '../../base/condition.ts';
import { ConditionBook } from '../../base/conditionBook.ts';
import type { Logger } from '../../base/logger.ts';
import type { SwarmNetworks } from '../../cluster/swarmNetworks.ts';
import { type Kernel, KernelError } from '../../kernel/kernel.ts';
import { findPathSize, type PathSize } from './pathSize.ts';
import { findNodePaths, type NodePath, type PathCarriers } from './pathTargets.ts';

export interface PathProbesDependencies {
  readonly kernel: Pick<Kernel, 'probePath'>;
  readonly swarm: Pick<
    SwarmNetworks,
    'nodes' | 'dataPath' | 'networks' | 'findNode' | 'peers' | 'blocks' | 'events'
  >;
  readonly carriers: PathCarriers;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1; default Math.random. */
  readonly random?: () => number;
}

/** Between a change and the look at it, so that several are one, and a new path has come to work. */
const settleMs = 1500;
/** Until a path is tried again: one that is well, one on which something was found, one that did not answer at first. */
const againMs = { whole: 600_000, split: 60_000, lost: 60_000, unknown: 15_000 } as const;
/** A failure is only a pause as far as silence goes. */
const longestMs = 600_000;
/** Between two paths. */
const spacingMs = 200;

interface Place {
  readonly path: NodePath;
  /** As Clock's `upMs`. */
  readonly dueAtMs: number;
  /** Undefined: not tried yet. */
  readonly size?: PathSize;
  /** How often nothing came back since something did. */
  readonly silences: number;
}

export class PathProbes implements Disposable {
  readonly #deps: PathProbesDependencies;
  readonly #conditions: ConditionBook;
  readonly #listeners = new DisposableStack();
  readonly #stopping = new AbortController();
  #places: ReadonlyMap<string, Place> = new Map();
  #isChanged = true;
  #wake: () => void = () => {};

  constructor(deps: PathProbesDependencies) {
    this.#deps = deps;
    this.#conditions = new ConditionBook(deps);
    for (const name of ['peers', 'blocks', 'nodes', 'networks'] as const)
      this.#listeners.use(deps.swarm.events.on(name, () => this.lookAgain()));
  }

  /** What the swarm says, or which networks are used here, is not as it was. */
  lookAgain(): void {
    this.#isChanged = true;
    this.#wake();
  }

  /** What holds now. */
  get conditions(): readonly Condition[] {
    return this.#conditions.list();
  }

  /** Once this node's membership is known. */
  start(): void {
    void this.#run();
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
    this.#listeners.dispose();
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#stopping;
    while (!signal.aborted)
      try {
        if (this.#isChanged) {
          await clock.sleep(settleMs, signal);
          this.#follow();
        }
        const place = this.#findDue();
        if (place === undefined) await this.#untilDue();
        else {
          await this.#try(place);
          await clock.sleep(spacingMs, signal);
        }
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({ err: error }, 'could not look after the paths between nodes; it is tried again');
        await clock.sleep(againMs.unknown, signal).catch(() => {});
      }
  }

  /** Which ways there are now; what is known of those that stay is kept. */
  #follow(): void {
    const { swarm, carriers, clock } = this.#deps;
    const paths = findNodePaths(swarm, carriers);
    const isSame = (a: NodePath, b: NodePath): boolean =>
      a.fullBytes === b.fullBytes && a.to.bits === b.to.bits && a.from.bits === b.from.bits;
    this.#places = new Map(
      paths.map((path) => {
        const known = this.#places.get(path.key);
        if (known !== undefined && isSame(known.path, path)) return [path.key, { ...known, path }];
        return [path.key, { path, dueAtMs: clock.upMs(), silences: 0 }];
      }),
    );
    this.#isChanged = false;
    this.#report();
  }

  #findDue(): Place | undefined {
    const nowMs = this.#deps.clock.upMs();
    const [first, ...others] = [...this.#places.values()].filter(({ dueAtMs }) => dueAtMs <= nowMs);
    // Bad ways are due again soon: the others must have their turn.
    return others.reduce(
      (next, one) => (next !== undefined && next.dueAtMs <= one.dueAtMs ? next : one),
      first,
    );
  }

  async #untilDue(): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#stopping;
    const over = new AbortController();
    const due = Promise.withResolvers<void>();
    const end = (): void => due.resolve();
    this.#wake = end;
    signal.addEventListener('abort', end, { once: true });
    const next = Math.min(...[...this.#places.values()].map(({ dueAtMs }) => dueAtMs));
    if (Number.isFinite(next)) clock.sleep(next - clock.upMs(), over.signal).then(end, () => {});
    if (!this.#isChanged) await due.promise;
    signal.removeEventListener('abort', end);
    this.#wake = () => {};
    over.abort();
  }

  async #try({ path, silences: before }: Place): Promise<void> {
    const { kernel, clock, random = Math.random } = this.#deps;
    const size = await findPathSize(kernel, path).catch((error: unknown): PathSize => {
      // The namespace or the address went meanwhile.
      if (error instanceof KernelError) return { kind: 'unknown' };
      throw error;
    });
    const silences = size.kind === 'unknown' ? before + 1 : 0;
    const restMs = Math.min(longestMs, againMs[size.kind] * 2 ** Math.max(0, silences - 1));
    // Nodes that begin together need not go on together.
    const dueAtMs = clock.upMs() + restMs * (0.9 + 0.2 * random());
    if (!this.#places.has(path.key)) return;
    this.#places = new Map([...this.#places, [path.key, { path, dueAtMs, size, silences }]]);
    this.#report();
  }

  #report(): void {
    const { swarm } = this.#deps;
    const own = swarm.findNode(swarm.dataPath?.nodeId ?? '')?.hostname ?? 'this node';
    const reports = [...this.#places.values()].flatMap(({ path, size }) => {
      if (size === undefined || !('passingBytes' in size)) return [];
      const id = `path.${size.kind === 'lost' ? 'blackHole' : 'fragments'}:${path.key}`;
      const severity = size.kind === 'lost' ? ('error' as const) : ('warning' as const);
      return { id, severity, text: wordsOf(own, path, size.kind, size.passingBytes) };
    });
    this.#conditions.report('sizes', reports);
  }
}

function wordsOf(own: string, path: NodePath, kind: 'split' | 'lost', passingBytes: number): string {
  const { hostname, fullBytes, headerBytes, isEncrypted } = path;
  const where = isEncrypted ? 'in the encrypted tunnel between' : 'between';
  const fate = kind === 'lost' ? 'are lost on the way without a word' : 'arrive in fragments, which is slow';
  const passes = kind === 'lost' ? 'passes' : 'passes whole';
  // What the option says is of the underlay.
  const option = `com.docker.network.driver.mtu=${passingBytes + headerBytes}`;
  return `packets of ${fullBytes} bytes, which overlay networks send, ${fate} ${where} ${own} and ${hostname}; the largest that ${passes} is ${passingBytes}: give both nodes' links an MTU that fits the way, or make the networks with --opt ${option}`;
}
