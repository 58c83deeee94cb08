/*
 * An engine in memory for the tests of the API: no kernel, no containerd. Not for use outside tests.
 */
import { readLimitSupport } from '../../../runtime/oci/limitSupport.ts';
import type { Engine } from '../../../engine/engine.ts';
import { EventLog } from '../../../engine/events.ts';
import { FakeContainers } from './fakeContainers.ts';
import { FakeImages } from './fakeImages.ts';
import { FakeNetworks } from './fakeNetworks.ts';
import { FakeSwarm } from './fakeSwarm.ts';
import { FakeVolumes } from './fakeVolumes.ts';

/** The fake with its parts in sight, for assertions. */
export interface FakeEngine extends Engine {
  readonly networks: FakeNetworks;
  readonly containers: FakeContainers;
  readonly images: FakeImages;
  readonly swarm: FakeSwarm;
  readonly volumes: FakeVolumes;
}

export function createFakeEngine(): FakeEngine {
  const events = new EventLog();
  const networks = new FakeNetworks();
  return {
    networks,
    containers: new FakeContainers(networks, events),
    images: new FakeImages(),
    volumes: new FakeVolumes(),
    swarm: new FakeSwarm(),
    events,
    encryption: {
      engine: () => Promise.resolve({ engine: undefined, reason: 'a fake has none' }),
      conditions: [],
      paths: () => Promise.resolve([]),
      rotateKey: () => Promise.resolve(),
    },
    info: () =>
      Promise.resolve({
        id: 'fake',
        name: 'host',
        dataRoot: '/var/lib/linkspan',
        containerdVersion: '1.6.20',
        containerd: { address: '/run/containerd.sock', namespace: 'linkspan' },
        runcVersion: '1.1.5',
        cgroupDriver: 'cgroupfs',
        cgroupVersion: 1,
        limitSupport: readLimitSupport(1, '/nowhere'),
        hasAppArmor: false,
        warnings: [],
        loggingDriver: 'json-file',
        isDebug: false,
        labels: [],
      }),
  };
}
