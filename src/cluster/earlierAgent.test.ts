/*
 * An agent of the first release, as its messages were then: no path of data of its own, nothing of what it trusts, nothing
 * of roles. It is served, and what it does not know does not come in its way.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { openSeam } from '../base/seam.ts';
import { openSqliteStore } from '../store/sqliteStore.ts';
import { parseJoinToken } from './identity/joinToken.ts';
import { askToJoin } from './membership/managerClient.ts';
import { description as describe, freeAddress, initRequest, openNode } from './swarmStand.ts';

const description = { ...describe('old'), engineVersion: '0.0.1' };

test('an agent of the first release joins, hears of networks, and gets an address that others see', async () => {
  await using stack = new AsyncDisposableStack();
  const folder = stack.adopt(mkdtempSync(join(tmpdir(), 'linkspan-earlier-')), (one) =>
    rmSync(one, { recursive: true }),
  );
  const store = stack.use(await openSqliteStore(join(folder, 'state.db'), openSeam()));
  const swarm = stack.use(await openNode('new', store));
  swarm.start();
  const address = await freeAddress();
  await swarm.init(initRequest(address));
  const token = parseJoinToken(swarm.cluster().tokens.worker);
  assert.ok(token);
  const call = { description, address: '127.0.0.2', availability: 'active' } as const;
  const { answer, rootPem, keys } = await askToJoin([address], token, call, AbortSignal.timeout(10_000));
  const { id } = await swarm.networks.createNetwork(() => ({
    ...{ name: 'n', isInternal: false, isAttachable: true, isIngress: false, hasIpv4: true, hasIpv6: false },
    pools: [{ subnet: '10.0.7.0/24', gateway: '10.0.7.1', auxAddresses: {} }],
    ...{ vnis: [4100], options: {}, labels: {} },
  }));

  const socket = new WebSocket(`wss://${address}/v1/session`, {
    ...{ ca: rootPem, key: keys.keyPem, cert: keys.certificatePem, servername: 'swarm-manager' },
  });
  stack.defer(() => socket.terminate());
  type Message = Readonly<Record<string, unknown>> & { readonly type: string };
  const heard: Message[] = [];
  socket.on('message', (data: Buffer) => heard.push(JSON.parse(data.toString()) as Message));
  await once(socket, 'open');
  const say = (message: object): void => socket.send(JSON.stringify(message));
  const hear = async (isIt: (message: Message) => boolean): Promise<Message> => {
    for (const endMs = performance.now() + 10_000; performance.now() < endMs; await sleep(5)) {
      const found = heard.find(isIt);
      if (found !== undefined) return found;
    }
    throw new Error(`not heard among ${JSON.stringify(heard)}`);
  };
  say({ type: 'hello', versions: [1], description, address: '127.0.0.2' });
  const welcome = await hear(({ type }) => type === 'welcome');
  assert.deepEqual([welcome['version'], welcome['epoch'], welcome['heartbeatMs']], [1, 1, 5000]);
  assert.deepEqual(welcome['managers'], [address]);
  say({ type: 'subscribe' });
  say({ type: 'call', id: 1, method: 'sync', params: { claims: [], keep: [], isLast: true } });
  say({ type: 'follow', network: id, epoch: '', revision: 0 });
  const networks = await hear(({ type }) => type === 'networks');
  assert.deepEqual((networks['networks'] as { name: string }[]).map(({ name }) => name).sort(), [
    'ingress',
    'n',
  ]);
  const claim = {
    ...{ networkId: id, endpointId: 'e1', containerId: 'c1', containerName: 'web', isUp: true },
    ...{ mac: '02:00:00:00:00:01', dnsNames: ['web'] },
  };
  say({ type: 'call', id: 2, method: 'claim', params: { claim } });
  const { result } = await hear((message) => message.type === 'answer' && message['id'] === 2);
  assert.deepEqual(
    [(result as { ipv4: string }).ipv4, (result as { nodeId: string }).nodeId],
    ['10.0.7.2', answer.nodeId],
  );
  const told = await hear((message) => message.type === 'changes' || message.type === 'snapshot');
  assert.deepEqual([told['network'], typeof told['revision']], [id, 'number']);
  const [row] = await swarm.networks.endpoints(id);
  assert.deepEqual([row?.endpointId, row?.ipv4], ['e1', '10.0.7.2']);
  assert.equal(swarm.networks.findNode(answer.nodeId)?.vtep, '127.0.0.2');
});
