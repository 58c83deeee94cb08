/*
 * From a container's attachment requests to endpoint records: networks looked up, addresses leased, interfaces named,
 * the default route given to one of them. Touches memory only; the caller writes records and the kernel.
 */
import { randomBytes } from 'node:crypto';
import { newId } from '../../base/ids.ts';
import type { Driver } from '../../drivers/interface.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type Ip, parseIp } from '../../net/ip.ts';
import { type Mac, parseMac, randomMac } from '../../net/mac.ts';
import { parseIpWithLength } from '../../net/prefix.ts';
import type { AttachmentRequest, Container, Endpoint, Network } from '../model.ts';
import { dnsNamesOf } from './dnsNames.ts';
import { toDriverNetwork } from './driverValues.ts';
import { getDriver } from './networkPlan.ts';
import type { NetworkTable } from './networkTable.ts';

/** One attachment ready to be made. */
export interface PlannedAttachment {
  readonly network: Network;
  readonly driver: Driver;
  readonly request: AttachmentRequest;
  readonly endpoint: Endpoint & { readonly mac: Mac };
  /** The record that was there before: a reserved one of an earlier run, or none. */
  readonly before: Endpoint | undefined;
}

/** Throws what Docker refuses in the request itself; `network` is what it names. Code containerConfigInvalid or addressInvalid. */
export function checkAttachment(request: AttachmentRequest, network: Network, table: NetworkTable): void {
  const hasStaticAddress = request.ipv4 !== undefined || request.ipv6 !== undefined;
  if (network.isPredefined && hasStaticAddress)
    throw new LinkspanError(
      'containerConfigInvalid',
      'user-specified IP address is supported on user-defined networks only',
    );
  if (network.isPredefined && request.aliases.length > 0)
    throw new LinkspanError(
      'containerConfigInvalid',
      'network-scoped aliases are only supported for user-defined networks',
    );
  if (request.mac !== undefined && parseMac(request.mac) === undefined)
    throw new LinkspanError(
      'containerConfigInvalid',
      `invalid endpoint settings:\ninvalid MAC address: ${request.mac}`,
    );
  if (request.ipv6 !== undefined || (request.linkLocalIps ?? []).length > 0)
    throw new LinkspanError('notImplemented', 'IPv6 and link-local addresses of endpoints are not there yet');
  for (const text of [request.ipv4]) {
    if (text === undefined) continue;
    const ip = parseIp(text);
    if (ip === undefined || ip.family !== 4)
      throw new LinkspanError('addressInvalid', `invalid endpoint settings:\ninvalid IPv4 address: ${text}`);
    if (!table.hasSubnetFor(network.id, ip))
      throw new LinkspanError(
        'addressInvalid',
        `invalid endpoint settings:\nno configured subnet contains IP address ${text}`,
      );
  }
}

/** The IPv4 lease: the one kept from an earlier run, the one asked for, or the lowest free. */
function leaseIpv4(
  table: NetworkTable,
  network: Network,
  request: AttachmentRequest,
  kept: Endpoint | undefined,
): Ip {
  const keptIp = parseIpWithLength(kept?.ipv4 ?? '')?.ip;
  if (keptIp !== undefined) return keptIp;
  const wanted = request.ipv4 === undefined ? undefined : parseIp(request.ipv4);
  if (wanted !== undefined) {
    if (!table.takeAddress(network.id, wanted))
      throw new LinkspanError('addressTaken', 'Address already in use');
    return wanted;
  }
  const ip = table.takeLowestAddress(network.id, 4);
  if (ip === undefined)
    throw new LinkspanError(
      'addressesExhausted',
      `no available IPv4 addresses on this network's address pools: ${network.name} (${network.id})`,
    );
  return ip;
}

/** A host interface name that no other endpoint of this machine is likely to have: `veth` and 7 hex digits. */
function hostInterfaceName(): string {
  return `veth${randomBytes(4).toString('hex').slice(0, 7)}`;
}

/** The lowest `eth<n>` (or other prefix) that `used` lacks; adds it. */
function nameInterface(prefix: string, used: Set<string>): string {
  let index = 0;
  while (used.has(`${prefix}${index}`)) index++;
  used.add(`${prefix}${index}`);
  return `${prefix}${index}`;
}

export class AttachmentPlanner {
  readonly #table: NetworkTable;
  readonly #drivers: ReadonlyMap<string, Driver>;
  readonly #getNetwork: (ref: string) => Network;

  constructor(
    table: NetworkTable,
    drivers: ReadonlyMap<string, Driver>,
    getNetwork: (ref: string) => Network,
  ) {
    this.#table = table;
    this.#drivers = drivers;
    this.#getNetwork = getNetwork;
  }

  /** Leases addresses for every request, all or none, and gives the default route to one of them. */
  plan(container: Container, requests: readonly AttachmentRequest[]): readonly PlannedAttachment[] {
    const planned: PlannedAttachment[] = [];
    const names = new Set<string>();
    try {
      for (const request of requests) planned.push(this.#planOne(container, request, names));
    } catch (error) {
      for (const one of planned) this.giveBack(one);
      throw error;
    }
    const provider = gatewayProvider(planned);
    return planned.map((one) =>
      one === provider ? { ...one, endpoint: { ...one.endpoint, defaultRoutes: [4] } } : one,
    );
  }

  /** Returns the lease of an attachment whose record was not written. */
  giveBack({ network, endpoint, before }: PlannedAttachment): void {
    const ip = parseIpWithLength(endpoint.ipv4 ?? '')?.ip;
    if (before === undefined && ip !== undefined) this.#table.releaseAddress(network.id, ip);
  }

  #planOne(container: Container, request: AttachmentRequest, names: Set<string>): PlannedAttachment {
    const network = this.#getNetwork(request.network);
    if (network.state !== 'ready')
      throw new LinkspanError('networkNotFound', `network ${request.network} not found`);
    checkAttachment(request, network, this.#table);
    const driver = getDriver(this.#drivers, network.driver);
    const plan = driver.plan(toDriverNetwork(network));
    const before = this.#table
      .endpointsOfContainer(container.id)
      .find((endpoint) => endpoint.networkId === network.id);
    const ip = plan.needsPools ? leaseIpv4(this.#table, network, request, before) : undefined;
    const gateway =
      ip === undefined || network.isInternal ? undefined : this.#table.gatewayFor(network.id, ip);
    const endpoint: PlannedAttachment['endpoint'] = {
      id: before?.id ?? newId<'endpoint'>(),
      networkId: network.id,
      containerId: container.id,
      containerName: container.name,
      state: 'attached',
      interfaceName: plan.needsPools ? nameInterface(plan.interfacePrefix, names) : '',
      hostInterfaceName: plan.needsPools ? hostInterfaceName() : '',
      mac: (request.mac === undefined ? undefined : parseMac(request.mac)) ?? randomMac(),
      ...(ip === undefined ? {} : { ipv4: this.#table.withLength(network.id, ip) }),
      ...(gateway === undefined ? {} : { ipv4Gateway: gateway }),
      defaultRoutes: [],
      dnsNames: network.isPredefined ? [] : dnsNamesOf(container, request.aliases),
    };
    return { network, driver, request, endpoint, before };
  }
}

/**
 * Which attachment gives the default route: the highest gateway priority, then the network's name in order; internal
 * networks never do. Docker Engine 28's order for one address family.
 */
function gatewayProvider(planned: readonly PlannedAttachment[]): PlannedAttachment | undefined {
  return planned
    .filter(({ endpoint }) => endpoint.ipv4Gateway !== undefined)
    .toSorted(
      (a, b) =>
        b.request.gatewayPriority - a.request.gatewayPriority || (a.network.name < b.network.name ? -1 : 1),
    )[0];
}
