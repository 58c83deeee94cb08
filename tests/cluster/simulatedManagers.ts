/*
 * Several managers that write to one store, and hear late what others wrote: what each believes is old. Checked at every
 * commit: what must hold of allocation, and that who was given an address has it until he lets go, or has stopped on a
 * network that goes.
 */
import assert from 'node:assert/strict';
import { EndpointBook, type Writer } from '../../src/cluster/networks/endpointBook.ts';
import { NetworkBook } from '../../src/cluster/networks/networkBook.ts';
import type { NetworkRecord } from '../../src/cluster/networks/records.ts';
import type { SwarmEndpoint, SwarmNetworkSpec, SwarmSurroundings } from '../../src/cluster/swarmNetworks.ts';
import { Mirror } from '../../src/store/mirror.ts';
import { LinkspanError } from '../../src/errors/linkspanError.ts';
import { checkAllocation } from './checkAllocation.ts';
import { Disk, SimulatedStore, VirtualTime } from './virtualTime.ts';

const writer: Writer = { check: () => [] };
const pools = { addressPools: ['10.0.0.0/8'], subnetLength: 29 };

/** The lowest free subnet; VNIs of each manager's own, so that nothing but the guard keeps subnets apart. */
function plan(name: string, manager: number, { networks }: SwarmSurroundings): SwarmNetworkSpec {
  let n = 1;
  while (networks.some(({ pools }) => pools[0]?.subnet === `10.0.${n}.0/29`)) n += 1;
  return {
    ...{ name, isInternal: false, isAttachable: true, isIngress: false, hasIpv4: true, hasIpv6: false },
    pools: [{ subnet: `10.0.${n}.0/29`, gateway: `10.0.${n}.1`, auxAddresses: {} }],
    ...{ vnis: [5000 + 1000 * manager + n], options: {}, labels: {} },
  };
}

export class SimulatedManagers {
  readonly time: VirtualTime;
  readonly #disk = new Disk();
  readonly #books: (NetworkBook | undefined)[];
  /** Given, and not let go of. */
  readonly #held = new Map<string, SwarmEndpoint>();
  #count = 0;
  #violation: unknown;

  constructor(seed: number, count: number) {
    this.time = new VirtualTime(seed);
    this.#books = Array.from({ length: count }, () => undefined);
    this.#disk.onCommit = () => this.#guarded(() => this.#check());
  }

  async begin(): Promise<void> {
    this.#books.forEach((_, i) => this.#open(i));
    await this.pass(5000);
    this.act('createNetwork', 0, 0);
    await this.pass(5000);
  }

  async pass(ms: number): Promise<void> {
    await this.time.run(ms, () => {
      if (this.#violation !== undefined) throw this.#violation;
    });
    if (this.#violation !== undefined) throw this.#violation;
  }

  act(op: string, manager: number, which: number): void {
    const book = this.#books[manager];
    if (book === undefined) return;
    const endpoints = new EndpointBook(book);
    const network = book.networks[which % Math.max(1, book.networks.length)];
    const held = [...this.#held.values()][which % Math.max(1, this.#held.size)];
    if (op === 'restart') this.#open(manager);
    // Some names are wanted twice.
    else if (op === 'createNetwork')
      this.#do(() => book.create((around) => plan(`n${which}`, manager, around)));
    else if (network === undefined) return;
    else if (op === 'removeNetwork') this.#do(() => book.remove(network.id));
    else if (op === 'release') {
      if (held === undefined) return;
      this.#held.delete(held.endpointId);
      this.#do(() => endpoints.release('a', [held], writer));
    } else if (op === 'stop') {
      if (held?.isUp !== true) return;
      const stopped = { ...held, isUp: false };
      this.#held.set(held.endpointId, stopped);
      const { nodeId: _node, revision: _revision, ...claim } = stopped;
      this.#do(() => endpoints.claim('a', claim, writer));
    } else {
      const endpointId = `e${this.#count++}`;
      const base = network.pools[0]?.subnet.split('/')[0]?.replace(/\d+$/, '') ?? '';
      const claim = {
        ...{ networkId: network.id, endpointId, containerId: endpointId, containerName: endpointId },
        ...{ mac: '02:00:00:00:00:01', dnsNames: [], isUp: true },
        ...(op === 'claimByName' ? { ipv4: `${base}${2 + (which % 5)}` } : {}),
      };
      this.#do(async () => {
        const row = await endpoints.claim('a', claim, writer);
        this.#guarded(() => {
          this.#held.set(endpointId, row);
          this.#check();
        });
      });
    }
  }

  #open(manager: number): void {
    const store = new SimulatedStore(this.time, this.#disk, () => 0);
    const turn = (work: () => void): void => this.time.after(0, work);
    // The one before goes on with what it was about.
    this.#do(async () => {
      const mirror = await Mirror.open(store, 'cluster/', this.time);
      this.#books[manager] = await NetworkBook.open({ store, mirror, clock: this.time, turn, pools });
    });
  }

  #check(): void {
    checkAllocation(this.#disk);
    for (const row of this.#held.values()) {
      const entry = this.#disk.entries.get(`cluster/endpoints/${row.networkId}/${row.endpointId}`);
      if (!row.isUp && this.#isGoing(row.networkId)) continue;
      assert.equal(
        (entry?.value as SwarmEndpoint | undefined)?.ipv4,
        row.ipv4,
        'who has an address keeps it',
      );
    }
  }

  #isGoing(networkId: string): boolean {
    const entry = this.#disk.entries.get(`cluster/networks/${networkId}`);
    return (entry?.value as NetworkRecord | undefined)?.isRemoving !== false;
  }

  #guarded(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#violation ??= error;
    }
  }

  #do(work: () => Promise<unknown>): void {
    work().catch((error: unknown) => {
      if (!(error instanceof LinkspanError)) this.#violation ??= error;
    });
  }
}
