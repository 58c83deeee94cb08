/*
 * Between a swarm's words and the engine's records: networks that come from managers, endpoints that go to them, and the
 * plan of a new network. Pure.
 */
import type {
  EndpointClaim,
  SwarmNetwork,
  SwarmNetworkSpec,
  SwarmSurroundings,
} from '../../cluster/swarmNetworks.ts';
import type { Driver } from '../../drivers/interface.ts';
import { checkBlocks } from '../../drivers/overlay/blocks.ts';
import { overlayLabels, parseOverlayOptions } from '../../drivers/overlay/options.ts';
import { countSegments } from '../../drivers/overlay/segments.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { PoolSource } from '../../ipam/pools.ts';
import { type Prefix, parsePrefix } from '../../net/prefix.ts';
import type { Endpoint, Network, NetworkId, NetworkRequest } from '../model.ts';
import { toDriverNetwork } from '../networks/driverValues.ts';
import { planNetwork } from '../networks/networkPlan.ts';

/** The ingress network of every swarm has the first VNI, 4096. */
const firstVni = 4097;
/** 24 bits (RFC 7348 section 5). */
const lastVni = 0xffffff;

/** The record that a node keeps of a swarm's network. */
export function toNetwork(network: SwarmNetwork): Network {
  const { id, createdAt, name, isInternal, isAttachable, isIngress, hasIpv4, hasIpv6, pools, labels } =
    network;
  const options = { ...network.options, [overlayLabels.vnis]: network.vnis.join(',') };
  const { isAttachable: isForAll, isEncrypted } = parseOverlayOptions({ hasIpv4, hasIpv6, options });
  const isOpen = !isIngress && isForAll;
  return {
    ...{ id: id as NetworkId, name, createdAt, driver: 'overlay', scope: 'global', state: 'ready' },
    ...{ isInternal, isAttachable, hasIpv4, hasIpv6, pools, options, labels },
    ...{ ipamDriver: 'default', ipamOptions: {}, isPredefined: false },
    ...(isIngress ? { isIngress: true } : {}),
    ...(isOpen ? {} : { refusesContainers: true }),
    ...(isEncrypted ? { isEncrypted: true } : {}),
  };
}

/** Of one that is being asked for. */
export function isEncrypted({ options }: Pick<NetworkRequest, 'options'>): boolean {
  return parseOverlayOptions({ hasIpv4: true, hasIpv6: true, options }).isEncrypted;
}

const withoutLength = (address: string): string => address.slice(0, address.indexOf('/'));

/** What managers are told of an endpoint of this node; undefined for one without an interface. */
export function toClaim(endpoint: Endpoint): EndpointClaim | undefined {
  const { id, networkId, containerId, containerName, mac, ipv4, ipv6, dnsNames, state } = endpoint;
  if (mac === undefined) return undefined;
  return {
    ...{ endpointId: id, networkId, containerId, containerName, mac, dnsNames },
    ...(ipv4 === undefined ? {} : { ipv4: withoutLength(ipv4) }),
    ...(ipv6 === undefined ? {} : { ipv6: withoutLength(ipv6) }),
    isUp: state === 'attached',
  };
}

/** What a plan looks at besides the swarm: this machine's subnets, kept clear of, and where IPv6 subnets come from. */
export interface PlanSurroundings {
  readonly machine: readonly Prefix[];
  readonly sources6: readonly PoolSource[];
  /** RFC 3339. */
  readonly now: string;
}

function sourcesOf({ addressPools, subnetLength }: SwarmSurroundings): readonly PoolSource[] {
  return addressPools.flatMap((text) => {
    const base = parsePrefix(text);
    return base === undefined ? [] : [{ base, subnetLength }];
  });
}

/** The lowest `count` VNIs that no network of the swarm has. Code poolsExhausted. */
function chooseVnis(count: number, taken: ReadonlySet<number>): readonly number[] {
  const chosen: number[] = [];
  for (let vni = firstVni; chosen.length < count; vni++) {
    if (vni > lastVni)
      throw new LinkspanError('poolsExhausted', 'every VNI is taken by a network of the swarm');
    if (!taken.has(vni)) chosen.push(vni);
  }
  return chosen;
}

/** As Docker: of a list that is too long the first count, one that is too short is filled up. */
function completeVnis(
  given: readonly number[],
  count: number,
  taken: ReadonlySet<number>,
): readonly number[] {
  const first = given.slice(0, count);
  return [...first, ...chooseVnis(count - first.length, new Set([...taken, ...first]))];
}

/** Throws what is wrong with the request, codes as networkPlan's. The name is checked by whoever writes it. */
export function planSwarmNetwork(
  request: NetworkRequest,
  driver: Driver,
  here: PlanSurroundings,
  around: SwarmSurroundings,
): SwarmNetworkSpec {
  const others = around.networks.map((other) => toDriverNetwork(toNetwork(other)));
  const network = planNetwork(
    request,
    driver,
    {
      sources: [...sourcesOf(around), ...here.sources6],
      networks: others.flatMap(({ pools }) => pools.map(({ subnet }) => subnet)),
      machine: here.machine,
    },
    here.now,
  );
  const asDriver = toDriverNetwork(network);
  const families = asDriver.pools.map(({ subnet }) => subnet.base.family);
  if (isEncrypted(request) && new Set(families).size < families.length)
    throw new LinkspanError(
      'networkConfigInvalid',
      'an encrypted network has one subnet of each family: containers of two subnets reach each other by the way out of their hosts, in clear',
    );
  const given = parseOverlayOptions(asDriver).vnis;
  const taken = new Set(around.networks.flatMap(({ vnis }) => vnis));
  const vnis = completeVnis(given, countSegments(asDriver.pools), taken);
  const options = { ...network.options, [overlayLabels.vnis]: vnis.join(',') };
  checkBlocks(
    asDriver,
    network.pools.flatMap(({ ipRange }) => (ipRange === undefined ? [] : (parsePrefix(ipRange) ?? []))),
  );
  driver.checkConflict({ ...asDriver, options }, others);
  const { blockBits } = parseOverlayOptions(asDriver);
  const { name, isInternal, isAttachable, hasIpv4, hasIpv6, pools, labels } = network;
  return {
    ...{ name, isInternal, isAttachable, hasIpv4, hasIpv6, pools, labels, vnis },
    isIngress: request.isIngress,
    options: request.options,
    ...(blockBits === undefined ? {} : { blockBits }),
  };
}
