/*
 * What becomes of stopped endpoints when their network is removed, over a real store and wherever the removal ends.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { HandClock } from '../../base/handClock.ts';
import { openSeam } from '../../base/seam.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { openSqliteStore } from '../../store/sqliteStore.ts';
import { Mirror } from '../../store/mirror.ts';
import type { Store } from '../../store/store.ts';
import type { EndpointClaim, SwarmNetworkSpec } from '../swarmNetworks.ts';
import { EndpointBook, type Writer } from './endpointBook.ts';
import { NetworkBook } from './networkBook.ts';

const turn = (work: () => void): void => void setImmediate(work);
const pools = { addressPools: ['10.0.0.0/8'], subnetLength: 24 };
const always: Writer = { check: () => [] };

const spec = (n: number): SwarmNetworkSpec => ({
  ...{
    name: `n${n}`,
    isInternal: false,
    isAttachable: true,
    isIngress: false,
    hasIpv4: true,
    hasIpv6: false,
  },
  pools: [{ subnet: `10.0.${n}.0/24`, gateway: `10.0.${n}.1`, auxAddresses: {} }],
  ...{ vnis: [4096 + n], options: {}, labels: {} },
});

const claimOf = (
  networkId: string,
  endpointId: string,
  more: Partial<EndpointClaim> = {},
): EndpointClaim => ({
  ...{ networkId, endpointId, containerId: `c-${endpointId}`, containerName: endpointId, isUp: true },
  ...{ mac: '02:00:00:00:00:01', dnsNames: [endpointId], ...more },
});

test('endpoints that have stopped go with their network, wherever its removal is cut short', async () => {
  await using stack = new AsyncDisposableStack();
  const folder = stack.adopt(mkdtempSync(join(tmpdir(), 'linkspan-stopped-')), (one) =>
    rmSync(one, { recursive: true }),
  );
  const store = stack.use(await openSqliteStore(join(folder, 'state.db'), openSeam()));
  const open = async (over: Store): Promise<NetworkBook> => {
    const clock = new HandClock();
    const mirror = await Mirror.open(over, 'cluster/', clock);
    return await NetworkBook.open({ store: over, mirror, clock, turn, pools });
  };
  /** A network with a page and a bit of stopped endpoints. */
  const make = async (n: number): Promise<string> => {
    using book = await open(store);
    const { id } = await book.create(() => spec(n));
    const endpoints = new EndpointBook(book);
    for (let i = 0; i < 25; i += 1) await endpoints.claim('a', claimOf(id, `e${i}`, { isUp: false }), always);
    return id;
  };
  const left = async (id: string): Promise<number> => {
    const texts = await Promise.all(
      ['networks', 'endpoints', 'ips', 'freed'].map((kind) => store.list(`cluster/${kind}/${id}`)),
    );
    return texts.flatMap(({ entries }) => entries).length;
  };
  const id = await make(1);
  using book = await open(store);
  const endpoints = new EndpointBook(book);
  await endpoints.claim('a', claimOf(id, 'e7'), always);
  await assert.rejects(book.remove(id), { code: 'swarmNetworkInUse', message: /task c-e7$/ });
  assert.equal(await left(id), 1 + 25 + 25, 'nothing of one that stays');
  await endpoints.claim('a', claimOf(id, 'e7', { isUp: false }), always);
  await book.remove(id);
  assert.equal(await left(id), 0);
  await assert.rejects(endpoints.claim('a', claimOf(id, 'e1'), always), { code: 'networkNotFound' });

  // Two, the barrier and the mark: before these nothing is on its way out.
  for (let writes = 2; ; writes += 1) {
    const cut = await make(1 + writes);
    let done = 0;
    const dying: Store = {
      ...store,
      get: (key) => store.get(key),
      list: (prefix) => store.list(prefix),
      watch: (prefix, hear) => store.watch(prefix, hear),
      sync: () => store.sync(),
      txn: (one) => {
        if (done === writes) return Promise.reject(new LinkspanError('store', 'the manager died'));
        done += 1;
        return store.txn(one);
      },
    };
    using mortal = await open(dying);
    const outcome = await mortal.remove(cut).then(
      () => 'removed',
      () => 'cut short',
    );
    if (outcome === 'removed') {
      assert.ok(writes >= 5, `${writes} writes`);
      break;
    }
    assert.ok((await left(cut)) > 0);
    using _next = await open(store);
    assert.equal(await left(cut), 0, `after ${writes} writes`);
  }
});
