/*
 * The MTU of the links that carry tunnels, as the kernel says it: read once, then kept by its notices, so that a driver's
 * plan needs to ask nobody.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import { formatIp, type Ip } from '../../net/ip.ts';

/** Ethernet's (RFC 894), where no link has the address: some clouds translate it on the way. */
const ethernetMtuBytes = 1500;

export class UnderlayView implements Disposable {
  readonly #linkOf = new Map<string, number>();
  readonly #mtuOf = new Map<number, number>();
  readonly #listeners = new DisposableStack();

  static async open(kernel: Pick<Kernel, 'events' | 'links' | 'addresses'>): Promise<UnderlayView> {
    const view = new UnderlayView();
    const { events } = kernel;
    view.#listeners.use(
      events.on('link', ({ action, link: { ifindex, kind, mtuBytes } }) => {
        // Containers' ends carry no tunnels, and there may be hundreds.
        if (kind === 'veth' && !view.#mtuOf.has(ifindex)) return;
        if (action === 'new') view.#mtuOf.set(ifindex, mtuBytes);
        else view.#mtuOf.delete(ifindex);
      }),
    );
    view.#listeners.use(
      events.on('address', ({ action, address: { ip, ifindex } }) => {
        if (action === 'new') view.#linkOf.set(formatIp(ip), ifindex);
        else if (view.#linkOf.get(formatIp(ip)) === ifindex) view.#linkOf.delete(formatIp(ip));
      }),
    );
    const [addresses, links] = await Promise.all([kernel.addresses(), kernel.links()]);
    for (const { ip, ifindex } of addresses) view.#linkOf.set(formatIp(ip), ifindex);
    const carriers = new Set(view.#linkOf.values());
    for (const { ifindex, kind, mtuBytes } of links)
      if (kind !== 'veth' || carriers.has(ifindex)) view.#mtuOf.set(ifindex, mtuBytes);
    return view;
  }

  [Symbol.dispose](): void {
    this.#listeners.dispose();
  }

  /** Of the link that has the address; Ethernet's if none has it. */
  mtuOf(address: Ip): number {
    return this.#mtuOf.get(this.#linkOf.get(formatIp(address)) ?? -1) ?? ethernetMtuBytes;
  }
}
