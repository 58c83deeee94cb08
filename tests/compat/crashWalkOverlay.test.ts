/*
 * The same walk (crashWalker.ts) over an overlay network, on the one manager of a swarm: in the end the managers' tables
 * have what the node has, neither more nor less.
 */
import { type Call, call, type Entries, entriesBelow, type Operation, walkAll } from './crashWalker.ts';
import { hostAddress } from './hosts.ts';

const beginSwarm: Call = (daemon) =>
  call(daemon, 'POST', '/swarm/init', { ListenAddr: '0.0.0.0:2377', AdvertiseAddr: hostAddress });
const createNetwork: Call = (daemon) =>
  call(daemon, 'POST', '/networks/create', { Name: 'walk', Driver: 'overlay' });
const createContainer: Call = (daemon) =>
  call(daemon, 'POST', '/containers/create?name=walker', {
    ...{ Image: 'busybox', Cmd: ['sleep', '600'] },
    HostConfig: { NetworkMode: 'walk' },
  });
const start: Call = (daemon) => call(daemon, 'POST', '/containers/walker/start');
const stop: Call = (daemon) => call(daemon, 'POST', '/containers/walker/stop?t=0');
const removeContainer: Call = (daemon) => call(daemon, 'DELETE', '/containers/walker?force=1');
const removeNetwork: Call = (daemon) => call(daemon, 'DELETE', '/networks/walk');

const operations: readonly Operation[] = [
  { name: 'overlay create', setUp: [], run: createNetwork },
  { name: 'start on an overlay', setUp: [createNetwork, createContainer], run: start },
  { name: 'stop on an overlay', setUp: [createNetwork, createContainer, start], run: stop },
  {
    name: 'overlay remove under a stopped container',
    setUp: [createNetwork, createContainer, start, stop],
    run: removeNetwork,
  },
];

/** Rows of the managers, and how they should be by the node's own records. */
function compareRows(entries: Entries): { readonly actual: object; readonly expected: object } {
  const networks = new Map(entriesBelow(entries, 'networks/').map((network) => [network['id'], network]));
  const isOverlay = ({ networkId }: Readonly<Record<string, unknown>>): boolean =>
    networks.get(networkId)?.['scope'] === 'global';
  const users = entriesBelow(entries, 'cluster/networks/').flatMap((record) => {
    const { network, isRemoving } = record as {
      readonly network: { readonly id: string; readonly isIngress: boolean };
      readonly isRemoving: boolean;
    };
    return network.isIngress ? [] : `${network.id} ${isRemoving}`;
  });
  const row = ([id, ip, isUp]: readonly unknown[]): string =>
    `${String(id)} ${String(ip).split('/')[0]} ${String(isUp)}`;
  return {
    actual: {
      networks: users.toSorted(),
      rows: entriesBelow(entries, 'cluster/endpoints/')
        .map((one) => row([one['endpointId'], one['ipv4'], one['isUp']]))
        .toSorted(),
      holders: entriesBelow(entries, 'cluster/ips/').length,
      names: entriesBelow(entries, 'cluster/network-names/').length,
      vnis: entriesBelow(entries, 'cluster/vnis/').length,
    },
    expected: {
      networks: [...networks.values()]
        .flatMap(({ id, name }) => (name === 'walk' ? `${String(id)} false` : []))
        .toSorted(),
      rows: entriesBelow(entries, 'endpoints/')
        .filter(isOverlay)
        .map((one) => row([one['id'], one['ipv4'], one['state'] === 'attached']))
        .toSorted(),
      holders: entriesBelow(entries, 'endpoints/').filter(isOverlay).length,
      names: 1 + users.length,
      vnis: 1 + users.length,
    },
  };
}

walkAll({
  // Hundreds of steps, of which most are those of a bridge, walked whole in crashWalk.test.ts.
  operations: operations.map((one) => ({ ...one, stride: 10 })),
  begin: [beginSwarm],
  once: [createNetwork, createContainer, start, removeContainer, removeNetwork],
  // docker_gwbridge stays. A container has its way out on the host, and its other end in the network's own namespace.
  expect: (_networks, _ips, running) => ({
    bridges: [],
    veths: running,
    namespaces: running + Math.min(1, running),
  }),
  isListed: ({ gatewayOf }) => gatewayOf === undefined,
  compareStored: compareRows,
});
