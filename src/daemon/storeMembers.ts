/*
 * This machine's member of the store that a swarm's managers share: an etcd of our own, and our client of it.
 */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Seam } from '../base/seam.ts';
import type { MemberRecord, StoreMember, StoreMembers, StorePeers } from '../cluster/managers/storeMember.ts';
import { EtcdClient } from '../store/etcd/etcdClient.ts';
import { EtcdMembers } from '../store/etcd/etcdMembers.ts';
import { EtcdProcess, findEtcd } from '../store/etcd/etcdProcess.ts';
import { EtcdStore } from '../store/etcd/etcdStore.ts';
import { prefixOf } from './swarmStore.ts';

export interface StoreMembersOptions {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly logger: Logger;
  readonly seam: Seam;
}

/** How long a member may take until it answers. It makes its files first. */
const answerMs = 15_000;
const againMs = 50;

const schemeless = (url: string): string => url.replace(/^https:\/\//, '');

function peersOf(members: EtcdMembers): StorePeers {
  return {
    list: async () =>
      (await members.list()).map(({ id, name = '', peerUrls, isLearner }) => ({
        ...{ id, name, isLearner, peer: schemeless(peerUrls[0] ?? '') },
      })),
    addLearner: async (peer) => void (await members.addLearner(`https://${peer}`)),
    promote: (id) => members.promote(id),
    remove: (id) => members.remove(id),
  };
}

/** Touches nothing until it is asked to. */
export function openStoreMembers({ dataRoot, execRoot, logger, seam }: StoreMembersOptions): StoreMembers {
  const dataFolder = join(dataRoot, 'etcd');
  const folder = join(execRoot, 'etcd');
  /** One at a time, since each keeps its etcd running. */
  let latest: { readonly name: string; readonly peer: string; readonly process: EtcdProcess } | undefined;
  const processOf = (name: string, peer: string): EtcdProcess => {
    if (latest?.name === name && latest.peer === peer) return latest.process;
    const made = new EtcdProcess({
      ...{ name, dataFolder, folder, peerListen: peer, clock: systemClock, logger, seam },
    });
    latest = { name, peer, process: made };
    return made;
  };
  const anyProcess = (): EtcdProcess => latest?.process ?? processOf('', '');

  async function open(
    swarmId: string,
    nodeId: string,
    { peer, keys, rootPem, initial, isFirst }: MemberRecord,
    isForcedNew = false,
  ): Promise<StoreMember> {
    await using parts = new AsyncDisposableStack();
    const own = parts.use(processOf(nodeId, peer));
    const { certificatePem, keyPem } = keys;
    await own.ensure({
      certificates: { certificatePem, keyPem, caPem: rootPem },
      initialCluster: Object.entries(initial).map(([name, at]) => `${name}=https://${at}`),
      state: isFirst ? 'new' : 'existing',
      isForcedNew,
    });
    const tls = {
      ca: Buffer.from(rootPem),
      certificate: Buffer.from(certificatePem),
      key: Buffer.from(keyPem),
    };
    const client = parts.use(await EtcdClient.open({ endpoints: [own.endpoint], tls }, systemClock));
    const members = new EtcdMembers(client, systemClock);
    for (const endMs = performance.now() + answerMs; ; ) {
      try {
        await members.status();
        break;
      } catch (error) {
        if (performance.now() > endMs) throw error;
      }
      await systemClock.sleep(againMs);
    }
    const store = parts.use(new EtcdStore(client, seam, prefixOf(swarmId)));
    const opened = parts.move();
    return {
      ...{ store, peers: peersOf(members) },
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  }

  const exists = (path: string): Promise<boolean> =>
    access(path).then(
      () => true,
      () => false,
    );

  return {
    open,
    check: async () => void (await findEtcd()),
    hasData: () => exists(join(dataFolder, 'member')),
    stop: () => anyProcess().stop(),
    wipe: async () => {
      if ((await exists(dataFolder)) || (await exists(folder))) await anyProcess().wipe();
    },
  };
}
