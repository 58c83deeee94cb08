/*
 * The kernel worker's thread: runs the verbs of Kernel in the order in which they come, each a few system calls, and
 * watches the kernel's notifications. Started by openKernel. It owns all netlink sockets; nft commands are the nft
 * worker's.
 */
import { release } from 'node:os';
import { announce } from './announce.ts';
import { attach } from './attach.ts';
import { ensureBridge, setAside, setUpBridge } from './bridges.ts';
import {
  attachChild,
  delLinkInside,
  detachChild,
  ensureParent,
  hasLinkKind,
  openInside,
} from './children.ts';
import { changeElements } from './elements.ts';
import { growReceiveBuffers } from './foreignSockets.ts';
import { forgetFlows } from './flows.ts';
import { HostPorts } from './hostPorts.ts';
import type { ElementBatch, NamespacePath } from './kernel.ts';
import { linux, loadLibc } from './libc.ts';
import {
  delAddress,
  delUnreachable,
  dumpAddresses,
  dumpLinkCounters,
  dumpLinks,
  dumpRoutes,
  ensureAddress,
  ensureConnectedRoute,
  ensureDefaultRoute,
  ensureLoopbackRoute,
  ensureUnreachable,
  findLink,
  setDefaultRoute,
  setHairpin,
  setLink,
  setPort,
} from './links.ts';
import { watchModules } from './moduleWatcher.ts';
import {
  createNamespace,
  hasNamespace,
  inNamespace,
  type NamespaceContext,
  numberNamespace,
  openHome,
  openSocketIn,
  removeNamespace,
} from './namespaces.ts';
import { NetlinkSocket, newSocketContext } from './netlinkSocket.ts';
import { ensureOverlay } from './overlays.ts';
import { changePeers, changeRoutes, dumpPeers } from './peers.ts';
import { PathProber } from './pathProbe.ts';
import type { Call, NftVerb, Operations, Verb } from './protocol.ts';
import { Reaper } from './reaper.ts';
import { enterThread, serveVerb } from './serveVerbs.ts';
import { getSysctl, setSysctl } from './sysctl.ts';
import { SysctlWatcher } from './sysctlWatcher.ts';
import { openWatcher } from './watcher.ts';
import { dumpWireguard, ensureWireguard, hasWireguard, moveLink, setWireguard } from './wireguard.ts';

/** Linux 6.3 brought NFT_MSG_DESTROYSETELEM. */
function hasDestroy(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number.parseFloat);
  return major > 6 || (major === 6 && minor >= 3);
}

type OwnVerb = Exclude<Verb, NftVerb>;

/** What is open in the worker's own namespace. */
interface OwnResources {
  readonly host: NetlinkSocket;
  readonly netfilter: NetlinkSocket;
  readonly ports: HostPorts;
  readonly sysctls: SysctlWatcher;
  readonly prober: PathProber;
}

function makeOperations(
  context: NamespaceContext,
  { host, netfilter, ports, sysctls, prober }: OwnResources,
  reaper: Reaper,
  drain: () => void,
): Operations<OwnVerb> {
  const { seam } = context;
  const destroys = hasDestroy();
  const withSocket = <T>(path: NamespacePath, work: (socket: NetlinkSocket) => T): T => {
    if (path === undefined) return work(host);
    using socket = openSocketIn(context, path);
    return work(socket);
  };
  const putElements = (batch: ElementBatch): void => {
    if (batch.namespace === undefined) return changeElements(netfilter, batch, destroys);
    using socket = openSocketIn(context, batch.namespace, linux.NETLINK_NETFILTER);
    changeElements(socket, batch, destroys);
  };
  /** False if the kernel refuses them: somebody may have taken the table away. */
  const tryElements = (batch: ElementBatch | undefined): boolean => {
    if (batch === undefined) return true;
    try {
      putElements(batch);
      return true;
    } catch {
      return false;
    }
  };
  return {
    createNamespace: (path) => createNamespace(context, path),
    removeNamespace: (path) => removeNamespace(context, path),
    hasNamespace: (path) => hasNamespace(seam, path),
    numberNamespace: (path) => numberNamespace(context, host, path),
    ensureBridge: (spec) => ensureBridge(host, spec),
    setUpBridge: (setup, elements) => {
      const isTaken = tryElements(elements);
      if (isTaken) setUpBridge(seam, host, setup);
      return isTaken;
    },
    ensureAddress: (link, address, path) => withSocket(path, (s) => ensureAddress(s, link, address)),
    ensureConnectedRoute: (link, address, path) =>
      withSocket(path, (s) => ensureConnectedRoute(s, link, address)),
    ensureUnreachable: (subnets, path) => withSocket(path, (s) => ensureUnreachable(s, subnets)),
    delUnreachable: (subnets, path) => {
      using inside = openInside(context, path);
      if (inside !== undefined) delUnreachable(inside, subnets);
    },
    ensureLoopbackRoute: (link) => ensureLoopbackRoute(host, link),
    ensureDefaultRoute: (link, gateway, path) =>
      withSocket(path, (s) => ensureDefaultRoute(s, link, gateway)),
    setPort: (link, bridge, isIsolated, path) =>
      withSocket(path, (s) => setPort(s, link, bridge, isIsolated)),
    delAddress: (link, address, path) => withSocket(path, (s) => delAddress(s, link, address)),
    setLink: (link, change, path) => withSocket(path, (s) => setLink(s, link, change)),
    delLink: (name, path) =>
      path === undefined ? reaper.delLink(name) : reaper.track(delLinkInside(context, path, { name })),
    discardBridge: (name, discardedName) => {
      if (!setAside(host, name, discardedName)) return;
      reaper.beginDelLink(discardedName);
      // The news of the name before the answer, so that nobody takes the bridge for a foreign one that stays.
      drain();
    },
    attach: (spec, elements) => {
      const isTaken = tryElements(elements);
      if (isTaken) withSocket(spec.bridgeNamespace, (s) => attach(context, s, spec));
      return isTaken;
    },
    ensureOverlay: (spec) => ensureOverlay(context, host, spec),
    changePeers: (change) => withSocket(change.namespace, (s) => changePeers(s, change)),
    peers: (link, path) => withSocket(path, (s) => dumpPeers(s, link)),
    hasWireguard: () => hasWireguard(context),
    ensureWireguard: (spec) => ensureWireguard(context, host, spec),
    setWireguard: (link, change, path) => setWireguard(context, link, change, path),
    wireguard: (link, path) => dumpWireguard(context, link, path),
    moveLink: (name, path) => reaper.track(moveLink(context, name, path)),
    growReceiveBuffers: (pid, bytes) => growReceiveBuffers(context.libc, seam, pid, bytes),
    changeRoutes: (change) => withSocket(change.namespace, (s) => changeRoutes(s, change)),
    hasLinkKind: (kind) => hasLinkKind(host, kind),
    ensureParent: (spec) => ensureParent(host, spec),
    attachChild: (spec) => attachChild(context, host, spec),
    detachChild: (spec) => reaper.track(detachChild(context, spec)),
    setDefaultRoute: (link, gateway, path) => withSocket(path, (s) => setDefaultRoute(s, link, gateway)),
    announce: (link, mac, ip, path) => announce(context, link, mac, ip, path),
    probePath: (probe) => prober.probe(probe),
    links: (path) => withSocket(path, dumpLinks),
    linkCounters: (path) => withSocket(path, dumpLinkCounters),
    findLink: (name, path) => withSocket(path, (s) => findLink(s, name)),
    addresses: (path) => withSocket(path, dumpAddresses),
    routes: (path) => withSocket(path, dumpRoutes),
    getSysctl: (key, path) => inNamespace(context, path, () => getSysctl(seam, key)),
    setSysctl: (key, value, path) => inNamespace(context, path, () => setSysctl(seam, key, value)),
    watchSysctls: (owner, keys) => sysctls.watch(owner, keys),
    holdPorts: (wanted) => ports.hold(wanted),
    releasePorts: (given) => ports.release(given),
    forgetFlows: (filters) =>
      forgetFlows(netfilter, filters, () => dumpAddresses(host).map((address) => address.ip)),
    setHairpin: (link, isHairpin) => setHairpin(host, link, isHairpin),
    changeElements: putElements,
  };
}

function start(): void {
  const { port, post, seam } = enterThread();
  const libc = loadLibc();
  const sockets = newSocketContext(libc, seam);
  const open = new DisposableStack();
  const home = open.use(openHome());
  const host = open.use(new NetlinkSocket(sockets, linux.NETLINK_ROUTE));
  const netfilter = open.use(new NetlinkSocket(sockets, linux.NETLINK_NETFILTER));
  const ports = open.use(new HostPorts(libc, seam));
  const sysctls = open.use(
    new SysctlWatcher((value) => post({ type: 'events', events: [{ name: 'sysctl', value }] })),
  );
  open.use(watchModules(sockets, () => sysctls.findMissing()));
  const reaper = open.use(new Reaper(sockets));
  const watcher = open.use(
    openWatcher(sockets, (events) => {
      for (const event of events) reaper.observe(event);
      post({ type: 'events', events });
    }),
  );
  const context = { libc, seam, home, sockets };
  const prober = open.use(new PathProber(context));
  const operations = makeOperations(context, { host, netfilter, ports, sysctls, prober }, reaper, () =>
    watcher.drain(),
  );
  port.on('message', (call: Call<OwnVerb> | 'close') => {
    if (call === 'close') {
      port.close();
      void reaper.settle().then(() => open.dispose());
      return;
    }
    serveVerb(operations, call, post);
    // Under load the port is served before the event loop looks at the sockets, and deletes wait for their notice.
    if (reaper.isWaiting) watcher.drain();
  });
  post({ type: 'ready' });
}

start();
