/*
 * Making a bridge network, creating, starting, stopping and removing a container, connecting it to a second network and
 * taking it off, and removing the network, with the daemon killed and with a call failing at every step (crashWalker.ts).
 */
import { type Call, call, type Operation, walkAll } from './crashWalker.ts';

const createNetwork: Call = (daemon) =>
  call(daemon, 'POST', '/networks/create', { Name: 'walk', Driver: 'bridge' });
const createContainer: Call = (daemon) =>
  call(daemon, 'POST', '/containers/create?name=walker', {
    Image: 'busybox',
    Cmd: ['sleep', '600'],
    HostConfig: { NetworkMode: 'walk' },
    NetworkingConfig: { EndpointsConfig: { walk: {} } },
  });
const start: Call = (daemon) => call(daemon, 'POST', '/containers/walker/start');
const stop: Call = (daemon) => call(daemon, 'POST', '/containers/walker/stop?t=0');
const removeContainer: Call = (daemon) => call(daemon, 'DELETE', '/containers/walker?force=1');
const removeNetwork: Call = (daemon) => call(daemon, 'DELETE', '/networks/walk');
const createSecond: Call = (daemon) => call(daemon, 'POST', '/networks/create', { Name: 'walk2' });
/** The default route moves to it, and back. */
const connect: Call = (daemon) =>
  call(daemon, 'POST', '/networks/walk2/connect', {
    Container: 'walker',
    EndpointConfig: { GwPriority: 1 },
  });
const disconnect: Call = (daemon) =>
  call(daemon, 'POST', '/networks/walk2/disconnect', { Container: 'walker' });

const operations: readonly Operation[] = [
  { name: 'network create', setUp: [], run: createNetwork, stride: 5 },
  { name: 'container create', setUp: [createNetwork], run: createContainer },
  { name: 'start (attach)', setUp: [createNetwork, createContainer], run: start, stride: 5 },
  { name: 'stop (detach)', setUp: [createNetwork, createContainer, start], run: stop, stride: 5 },
  { name: 'container remove', setUp: [createNetwork, createContainer, start, stop], run: removeContainer },
  {
    name: 'forced remove of a running container',
    setUp: [createNetwork, createContainer, start],
    run: removeContainer,
    stride: 5,
  },
  { name: 'network remove', setUp: [createNetwork], run: removeNetwork, stride: 5 },
  {
    name: 'connect to a second network',
    setUp: [createNetwork, createSecond, createContainer, start],
    run: connect,
    stride: 5,
  },
  {
    name: 'disconnect from a second network',
    setUp: [createNetwork, createSecond, createContainer, start, connect],
    run: disconnect,
    stride: 5,
  },
];

walkAll({
  operations,
  begin: [],
  once: [createNetwork, createContainer, start, removeContainer, removeNetwork],
  expect: (networks, ips, running) => ({
    bridges: networks.map((id) => `br-${id.slice(0, 12)}`).toSorted(),
    veths: ips.length,
    namespaces: running,
  }),
  isListed: () => true,
  compareStored: () => ({ actual: {}, expected: {} }),
});
