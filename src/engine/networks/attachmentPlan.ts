/*
 * From a container's attachment requests to endpoint records: networks looked up, addresses leased, interfaces named,
 * the default routes given out. Touches memory only; the caller writes records and the kernel.
 */
import { randomBytes } from 'node:crypto';
import { newId } from '../../base/ids.ts';
import type { Driver, DriverPlan } from '../../drivers/interface.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type Ip, type IpFamily, parseIp } from '../../net/ip.ts';
import { type Mac, parseMac, randomMac } from '../../net/mac.ts';
import { parseIpWithLength } from '../../net/prefix.ts';
import type { AttachmentRequest, Container, Endpoint, Network, SandboxId } from '../model.ts';
import type { Claimed, ClaimedByNetwork } from '../overlay/claims.ts';
import { checkAttachment, refuseSecond } from './attachmentCheck.ts';
import { planDefaultRoutes, withDefaultRoutes } from './defaultRoutes.ts';
import { dnsNamesOf } from './dnsNames.ts';
import { toDriverNetwork } from './driverValues.ts';
import { wantedInterfaceName } from './endpointOptions.ts';
import { gatewayRequest, type WayOut } from './gateway.ts';
import { getDriver } from './networkPlan.ts';
import type { NetworkTable } from './networkTable.ts';

/** One attachment ready to be made. */
export interface PlannedAttachment {
  readonly network: Network;
  readonly driver: Driver;
  readonly endpoint: Endpoint & { readonly mac: Mac };
  /** The record that was there before: a reserved one of an earlier run, or none. */
  readonly before: Endpoint | undefined;
  /** Records of stopped containers, out of the table already, whose addresses this one asked for by name. */
  readonly displaced: readonly Endpoint[];
}

/** A request, or what a hidden endpoint is made for. */
interface Wish {
  readonly request: AttachmentRequest;
  readonly gatewayOf?: SandboxId;
}

/** What the endpoints of a container that come before have left. */
interface Rest {
  readonly ordinal: number;
  readonly taken: ReadonlySet<string>;
  /** Names that are for those who ask for them. */
  readonly reserved: ReadonlySet<string>;
  readonly claimed: ClaimedByNetwork;
}

/** What the requests do not say. */
export interface Given {
  /** Addresses of swarm networks, which are leased already. */
  readonly claimed: ClaimedByNetwork;
  /** Where the sandbox is to get a hidden attachment. */
  readonly wayOut: WayOut | undefined;
}

function wishesOf(requests: readonly AttachmentRequest[], wayOut: WayOut | undefined): readonly Wish[] {
  const wishes = requests.map((request): Wish => ({ request }));
  if (wayOut === undefined) return wishes;
  return [...wishes, { request: gatewayRequest(wayOut), gatewayOf: wayOut.sandboxId }];
}

type Addresses = Readonly<Partial<Record<IpFamily, Ip>>>;

const fieldOf = { 4: 'ipv4', 6: 'ipv6' } as const;

function plainAddressesOf(endpoint: Pick<Endpoint, 'ipv4' | 'ipv6'> | undefined): readonly Ip[] {
  return [endpoint?.ipv4, endpoint?.ipv6].flatMap((text) => parseIpWithLength(text ?? '')?.ip ?? []);
}

/**
 * The lease of one family: the one kept from an earlier run, the one asked for, or the lowest free. A stopped container
 * keeps its address from those who take any, not from one who asks for it, as docker-compose 1.29 does where it makes a
 * service anew: its record goes from the table to `displaced`.
 */
function lease(
  table: NetworkTable,
  network: Network,
  request: AttachmentRequest,
  family: IpFamily,
  kept: Endpoint | undefined,
  displaced: Endpoint[],
): Ip {
  const keptIp = parseIpWithLength(kept?.[fieldOf[family]] ?? '')?.ip;
  if (keptIp !== undefined) return keptIp;
  const text = request[fieldOf[family]];
  const wanted = text === undefined ? undefined : parseIp(text);
  if (wanted !== undefined) {
    if (table.takeAddress(network.id, wanted)) return wanted;
    if (displaced.some((one) => plainAddressesOf(one).some(({ bits }) => bits === wanted.bits)))
      return wanted;
    const stopped = table.findReserved(network.id, wanted);
    if (stopped === undefined) throw new LinkspanError('addressTaken', 'Address already in use');
    table.displace(stopped);
    displaced.push(stopped);
    return wanted;
  }
  const ip = table.takeLowestAddress(network.id, family);
  if (ip === undefined)
    throw new LinkspanError(
      'addressesExhausted',
      `no available IPv${family} addresses on this network's address pools: ${network.name} (${network.id})`,
    );
  return ip;
}

function addressesOf({ ipv4, ipv6 }: Claimed): Addresses {
  const [v4, v6] = [parseIp(ipv4 ?? ''), parseIp(ipv6 ?? '')];
  return { ...(v4 === undefined ? {} : { 4: v4 }), ...(v6 === undefined ? {} : { 6: v6 }) };
}

/** A host interface name that no other endpoint of this machine is likely to have: `veth` and 7 hex digits. */
function hostInterfaceName(): string {
  return `veth${randomBytes(4).toString('hex').slice(0, 7)}`;
}

/** The lowest `eth<n>` (or other prefix) that `used` lacks. */
function nextInterfaceName(prefix: string, used: ReadonlySet<string>): string {
  let index = 0;
  while (used.has(`${prefix}${index}`)) index++;
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

  /**
   * For a new sandbox: leases addresses for every request, all or none, and gives out the default routes. The hidden
   * attachment comes last.
   */
  plan(
    container: Container,
    requests: readonly AttachmentRequest[],
    { claimed, wayOut }: Given,
  ): readonly PlannedAttachment[] {
    const reserved = new Set(requests.flatMap((request) => wantedInterfaceName(request) ?? []));
    const rest = { ordinal: 0, taken: new Set<string>(), reserved, claimed };
    const planned = this.#planAll(container, wishesOf(requests, wayOut), rest);
    const routes = planDefaultRoutes(planned);
    return planned.map((one) => ({ ...one, endpoint: withDefaultRoutes(one.endpoint, routes) }));
  }

  /** For a sandbox that lives: one more attachment, and a hidden one; without default routes. Code endpointExists. */
  planAnother(
    container: Container,
    request: AttachmentRequest,
    { claimed, wayOut }: Given,
  ): readonly PlannedAttachment[] {
    const network = this.#getNetwork(request.network);
    const attached = this.#table
      .endpointsOfContainer(container.id)
      .filter(({ state }) => state === 'attached');
    if (attached.some(({ networkId }) => networkId === network.id)) refuseSecond(container, network);
    const taken = new Set(attached.map(({ interfaceName }) => interfaceName));
    const last = Math.max(-1, ...attached.map(({ ordinal }) => ordinal ?? 0));
    const rest = { ordinal: last + 1, taken, reserved: taken, claimed };
    return this.#planAll(container, wishesOf([request], wayOut), rest);
  }

  /** Returns the leases of an attachment whose record was not written. */
  giveBack({
    network,
    endpoint,
    before,
    displaced,
  }: Pick<PlannedAttachment, 'network' | 'endpoint' | 'before' | 'displaced'>): void {
    const kept = plainAddressesOf(before);
    for (const ip of plainAddressesOf(endpoint))
      if (!kept.some((one) => one.bits === ip.bits)) this.#table.releaseAddress(network.id, ip);
    this.#table.reinstate(displaced);
  }

  /** All or none. */
  #planAll(container: Container, wishes: readonly Wish[], rest: Rest): readonly PlannedAttachment[] {
    const planned: PlannedAttachment[] = [];
    try {
      const taken = new Set(rest.taken);
      for (const wish of wishes) {
        const one = this.#planOne(container, wish, {
          ...rest,
          ordinal: rest.ordinal + planned.length,
          taken,
        });
        taken.add(one.endpoint.interfaceName);
        planned.push(one);
      }
    } catch (error) {
      for (const one of planned) this.giveBack(one);
      throw error;
    }
    return planned;
  }

  #planOne(container: Container, { request, gatewayOf }: Wish, rest: Rest): PlannedAttachment {
    const network = this.#getNetwork(request.network);
    if (network.state !== 'ready')
      throw new LinkspanError('networkNotFound', `network ${request.network} not found`);
    checkAttachment(request, network, this.#table);
    const driver = getDriver(this.#drivers, network.driver);
    const plan = driver.plan(toDriverNetwork(network));
    if (plan.sharesMac === true && request.mac !== undefined)
      throw new LinkspanError(
        'containerConfigInvalid',
        `${network.driver} interfaces do not support custom mac address assignment`,
      );
    const interfaceName = plan.needsPools ? nameInterface(request, plan, rest) : '';
    const before = this.#table
      .endpointsOfContainer(container.id)
      .find((endpoint) => endpoint.networkId === network.id);
    const claim = rest.claimed.get(network.id);
    const displaced: Endpoint[] = [];
    const addresses =
      claim !== undefined
        ? addressesOf(claim)
        : plan.needsPools
          ? this.#lease(network, request, before, displaced)
          : {};
    const endpoint: PlannedAttachment['endpoint'] = {
      id: claim?.endpointId ?? before?.id ?? newId<'endpoint'>(),
      networkId: network.id,
      containerId: container.id,
      containerName: container.name,
      request,
      state: 'attached',
      ...(gatewayOf === undefined ? {} : { gatewayOf }),
      ordinal: rest.ordinal,
      interfaceName,
      hostInterfaceName: plan.needsPools && plan.hasHostInterface !== false ? hostInterfaceName() : '',
      mac: claim?.mac ?? (request.mac === undefined ? undefined : parseMac(request.mac)) ?? randomMac(),
      ...(plan.sharesMac === true ? { sharesMac: true } : {}),
      ...this.#addressFields(network, plan, addresses),
      defaultRoutes: [],
      dnsNames: network.isPredefined || gatewayOf !== undefined ? [] : dnsNamesOf(container, request.aliases),
    };
    return { network, driver, endpoint, before, displaced };
  }

  /** Both families or none. */
  #lease(
    network: Network,
    request: AttachmentRequest,
    before: Endpoint | undefined,
    displaced: Endpoint[],
  ): Addresses {
    const leased: Partial<Record<IpFamily, Ip>> = {};
    try {
      if (network.hasIpv4) leased[4] = lease(this.#table, network, request, 4, before, displaced);
      if (network.hasIpv6) leased[6] = lease(this.#table, network, request, 6, before, displaced);
      return leased;
    } catch (error) {
      // The second failed, so that the first is to be given back unless it was kept.
      if (leased[4] !== undefined && before?.ipv4 === undefined)
        this.#table.releaseAddress(network.id, leased[4]);
      this.#table.reinstate(displaced);
      throw error;
    }
  }

  #addressFields(
    network: Network,
    { routesByDevice, needsGatewayNetwork }: DriverPlan,
    addresses: Addresses,
  ): Pick<Endpoint, 'ipv4' | 'ipv6' | 'ipv4Gateway' | 'ipv6Gateway'> {
    const gatewayOf = (ip: Ip): string | undefined => {
      if (network.isInternal || needsGatewayNetwork === true) return undefined;
      if (routesByDevice === true) return ip.family === 4 ? '0.0.0.0' : '::';
      return this.#table.gatewayFor(network.id, ip);
    };
    const { 4: ipv4, 6: ipv6 } = addresses;
    const ipv4Gateway = ipv4 === undefined ? undefined : gatewayOf(ipv4);
    const ipv6Gateway = ipv6 === undefined ? undefined : gatewayOf(ipv6);
    return {
      ...(ipv4 === undefined ? {} : { ipv4: this.#table.withLength(network.id, ipv4) }),
      ...(ipv6 === undefined ? {} : { ipv6: this.#table.withLength(network.id, ipv6) }),
      ...(ipv4Gateway === undefined ? {} : { ipv4Gateway }),
      ...(ipv6Gateway === undefined ? {} : { ipv6Gateway }),
    };
  }
}

/** What the user wants it to be called, if nobody has that name yet, or the next free one that nobody wants. */
function nameInterface(
  request: AttachmentRequest,
  { interfacePrefix }: DriverPlan,
  { taken, reserved }: Pick<Rest, 'taken' | 'reserved'>,
): string {
  const wanted = wantedInterfaceName(request);
  if (wanted === undefined) return nextInterfaceName(interfacePrefix, taken.union(reserved));
  if (taken.has(wanted))
    throw new LinkspanError(
      'containerConfigInvalid',
      `interface name ${wanted} is used twice in this container`,
    );
  return wanted;
}
