/*
 * The store of a swarm's records where --store names one: the user's own etcd. Each swarm has its keys below its id.
 */
import { readFileSync } from 'node:fs';
import { systemClock } from '../base/clock.ts';
import type { Seam } from '../base/seam.ts';
import type { SwarmStores } from '../cluster/swarmRecords.ts';
import { LinkspanError, messageOf } from '../errors/linkspanError.ts';
import { EtcdClient } from '../store/etcd/etcdClient.ts';
import { EtcdStore } from '../store/etcd/etcdStore.ts';
import type { StoreConfig } from './config.ts';

/** Of a swarm's keys. */
export const prefixOf = (swarmId: string): string => `/linkspan/v1/${swarmId}/`;

function read(flag: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new LinkspanError('requestInvalid', `cannot read --${flag}: ${messageOf(error)}`);
  }
}

/**
 * Succeeds also if etcd does not answer. Code requestInvalid for files that cannot be read, or a certificate or key that
 * is none.
 */
export async function openSwarmStore(config: StoreConfig, seam: Seam): Promise<SwarmStores & Disposable> {
  const { endpoints, ca, certificate, key } = config;
  const isTls = (ca ?? certificate) !== undefined;
  const tls = {
    ...(ca === undefined ? {} : { ca: read('store-ca', ca) }),
    ...(certificate === undefined ? {} : { certificate: read('store-cert', certificate) }),
    ...(key === undefined ? {} : { key: read('store-key', key) }),
  };
  let client: EtcdClient;
  try {
    client = await EtcdClient.open({ endpoints, ...(isTls ? { tls } : {}) }, systemClock);
  } catch (error) {
    throw new LinkspanError('requestInvalid', `cannot use the certificates of --store: ${messageOf(error)}`);
  }
  return {
    of: (swarmId) => new EtcdStore(client, seam, prefixOf(swarmId)),
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}
