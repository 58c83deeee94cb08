/*
 * The resolver on real sockets, in the lane's own namespace as if it were a container's:
 *
 *   test ── 127.0.0.11:53 ── redirect ── resolver (DNS worker) ── 127.0.0.x:53, upstream servers of this test
 */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam, Seam } from '../../src/base/seam.ts';
import { recordType } from '../../src/codec/dns/message.ts';
import { FrameReader, frame } from '../../src/dns/frames.ts';
import type { SandboxView } from '../../src/dns/localAnswer.ts';
import { type Dns, openDns } from '../../src/dns/openDns.ts';
import { listRedirect, planRedirect, readRedirect } from '../../src/dns/redirect.ts';
import { tcpLimits } from '../../src/dns/tcpServer.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { openKernel } from '../../src/kernel/openKernel.ts';
import { askTcp, askUdp, burst, newQuery, serveNames, throwMalformed, toAnswer } from '../compat/dnsPeer.ts';
import { until } from './bridgeWorld.ts';

const server = '127.0.0.11';
/** The lane's namespace. */
const path = '/proc/1/ns/net';
const good = '127.0.0.101';
const silent = '127.0.0.102';
const refusing = '127.0.0.103';
const closed = '127.0.0.104';
const { a, txt } = recordType;

function viewWith(...servers: readonly string[]): SandboxView {
  return { networks: [{ id: 'n1', links: {} }], servers, canAskHost: false, hasNdots: false };
}

/** What the resolver says, over UDP unless told, and in how long. */
async function ask(
  name: string,
  type: number = a,
  options: { readonly isTcp?: boolean; readonly udpBytes?: number } = {},
): Promise<ReturnType<typeof toAnswer> & { readonly ms: number }> {
  const start = performance.now();
  const query = newQuery(name, type, options.udpBytes, 4711);
  const bytes = await (options.isTcp === true ? askTcp : askUdp)(server, 53, query);
  return { ...toAnswer(bytes), ms: performance.now() - start };
}

const texts = ({ answers }: ReturnType<typeof toAnswer>): readonly string[] =>
  answers.map(({ text }) => text);

describe('the resolver of a sandbox', () => {
  let kernel: Kernel;
  let dns: Dns;
  const upstreams: Disposable[] = [];
  let isThere = false;

  const open = async (...servers: readonly string[]): Promise<void> => {
    const ports = await dns.open({ id: 's1', path, view: viewWith(...servers), wanted: undefined });
    await kernel.nft(planRedirect(ports, isThere));
    isThere = true;
  };

  before(async () => {
    assert.equal(process.env['LINKSPAN_LANE'], '1', 'run this inside scripts/lane');
    const seam = openSeam();
    kernel = await openKernel({ seam, logger: silentLogger });
    dns = openDns({ seam, logger: silentLogger, resolvConfPath: '/nonexistent' });
    dns.put([
      { id: 'e1', network: 'n1', networkName: 'n1', names: ['web'], addresses: ['10.0.0.1'] },
      ...Array.from({ length: 60 }, (_, i) => ({
        ...{ id: `m${i}`, network: 'n1', networkName: 'n1', names: [`m${i}`, 'many'] },
        addresses: [`10.0.1.${i}`],
      })),
    ]);
  });
  beforeEach(async () => {
    await until('nothing is open', async () => (await dns.statistics()).open === 0);
  });
  after(async () => {
    for (const upstream of upstreams) upstream[Symbol.dispose]();
    await dns[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  test('answers on 127.0.0.11:53 over UDP and TCP without taking the port', async () => {
    await open(good);
    assert.deepEqual(texts(await ask('web')), ['10.0.0.1']);
    assert.deepEqual(texts(await ask('web', a, { isTcp: true })), ['10.0.0.1']);
    {
      using _own = await serveNames('0.0.0.0', 'names');
      const own = toAnswer(await askUdp('127.0.0.1', 53, newQuery('x', a, undefined, 1)));
      assert.deepEqual(texts(own), ['198.51.100.7']);
      assert.deepEqual(texts(await ask('web')), ['10.0.0.1']);
    }
    upstreams.push(await serveNames(good, 'names'));
    upstreams.push(await serveNames(silent, 'silent'));
    upstreams.push(await serveNames(refusing, 'refuse'));
  });

  test('forwards, passing over servers that are closed, refuse or are silent', async () => {
    await open(closed, refusing, good);
    const quick = await ask('example.org');
    assert.deepEqual(texts(quick), ['198.51.100.7']);
    assert.ok(quick.ms < 2000, `${quick.ms}`);
    await open(silent, good);
    const slow = await ask('example.org');
    assert.deepEqual(texts(slow), ['198.51.100.7']);
    assert.ok(slow.ms >= 3900 && slow.ms < 5000, `${slow.ms}`);
    await open(closed);
    assert.equal((await ask('example.org')).code, 2);
    await open();
    assert.equal((await ask('example.org')).code, 2);
  });

  test('cuts what is too long for UDP, takes EDNS, and gives all over TCP', async () => {
    await open(good);
    for (const [name, type, all] of [
      ['many', a, 60],
      ['big.org', txt, 100],
    ] as const) {
      const plain = await ask(name, type);
      assert.ok(plain.isTruncated && plain.bytes <= 512 && plain.answers.length < all, name);
      const wide = await ask(name, type, { udpBytes: 800 });
      assert.ok(wide.isTruncated && wide.bytes > 512 - 20 && wide.bytes <= 800, name);
      const whole = await ask(name, type, { isTcp: true });
      assert.deepEqual([whole.isTruncated, whole.answers.length], [false, all]);
    }
    assert.equal((await ask('many', a, { udpBytes: 1400 })).answers.length, 60);
  });

  test('1,000 questions at a silent server hold nothing up and all get an answer', async () => {
    await open(silent);
    const all = burst(server, 'slow.org', 1000);
    await until('they are open', async () => (await dns.statistics()).open > 900);
    assert.ok((await ask('web')).ms < 1000);
    assert.deepEqual((await all).codes, { 2: 1000 });
  });

  test('1,000 questions at once are forwarded and answered', async () => {
    await open(good);
    assert.deepEqual((await burst(server, 'quick.org', 1000)).codes, { 0: 1000 });
  });

  test('one sandbox has 1,024 questions open at most; the rest is refused at once', async () => {
    await open(silent);
    const { codes } = await burst(server, 'slow.org', 1500);
    const [failed = 0, refused = 0] = [codes['2'], codes['5']];
    // More than 1,024 fail only if the burst takes longer than a silent server is waited for.
    assert.ok(failed + refused === 1500 && failed >= 1024 && refused > 0, JSON.stringify(codes));
  });

  test('malformed packets of every kind: no long answer, no end', async () => {
    await open(good);
    const { sent, received, longest } = await throwMalformed(server);
    assert.ok(received < sent && longest <= 1232, `${received} of ${sent}, ${longest}`);
    assert.deepEqual(texts(await ask('web')), ['10.0.0.1']);
    assert.deepEqual(texts(await ask('web', a, { isTcp: true })), ['10.0.0.1']);
  });

  test('TCP clients may send questions one behind the other and byte by byte', async () => {
    await open(good);
    const socket = connect(53, server);
    const reader = new FrameReader(65535);
    const queries = ['web', 'example.org', 'm1'].map((name, i) => frame(newQuery(name, a, undefined, i)));
    for (const byte of Buffer.concat(queries)) socket.write(Uint8Array.of(byte));
    const ids: number[] = [];
    for await (const chunk of socket) {
      for (const answer of reader.push(chunk as Buffer)) ids.push((answer[0] ?? 0) * 256 + (answer[1] ?? 0));
      if (ids.length === 3) break;
    }
    assert.deepEqual(new Set(ids), new Set([0, 1, 2]));
  });

  test('TCP clients that hold on are bounded and hinder nobody', async () => {
    await open(good);
    const sockets: Socket[] = [];
    let closedEarly = 0;
    for (let i = 0; i < tcpLimits.connections + 10; i++) {
      const socket = connect(53, server);
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      socket.on('close', () => closedEarly++);
      socket.resume();
      sockets.push(socket);
    }
    await sleep(200);
    assert.equal(closedEarly, 10);
    // One that never reads: its answers stop being made once it is behind.
    const [greedy] = sockets;
    assert.ok(greedy);
    greedy.pause();
    const big = frame(newQuery('big.org', txt, undefined, 1));
    const { forwarded: atFirst } = await dns.statistics();
    for (let i = 0; i < 5000; i++) greedy.write(big);
    let forwarded = -1;
    await until('nothing more is asked for it', async () => {
      const before = forwarded;
      ({ forwarded } = await dns.statistics());
      await sleep(300);
      return forwarded === before;
    });
    assert.ok(forwarded - atFirst < 4000, `${forwarded - atFirst}`);
    assert.ok((await ask('web')).ms < 1000);
    for (const socket of sockets) socket.destroy();
    await sleep(200);
    assert.deepEqual(texts(await ask('web', a, { isTcp: true })), ['10.0.0.1']);
  });

  test('takes its ports again after a restart, so that sockets opened before go on', async () => {
    await open(good);
    const client = createSocket('udp4');
    const exchange = async (): Promise<readonly string[]> => {
      client.send(newQuery('web', a, undefined, 1), 53, server);
      const [answer] = (await once(client, 'message')) as [Buffer];
      return texts(toAnswer(answer));
    };
    assert.deepEqual(await exchange(), ['10.0.0.1']);
    const wanted = readRedirect(await kernel.nft(listRedirect));
    assert.ok(wanted);
    await dns.close('s1');
    assert.deepEqual(await dns.open({ id: 's1', path, view: viewWith(), wanted }), wanted);
    assert.deepEqual(await exchange(), ['10.0.0.1']);
    // Somebody else has it: another is taken.
    await dns.close('s1');
    const squatter = createSocket('udp4');
    squatter.bind(wanted.udp, server);
    await once(squatter, 'listening');
    const moved = await dns.open({ id: 's1', path, view: viewWith(), wanted });
    assert.notEqual(moved.udp, wanted.udp);
    await kernel.nft(planRedirect(moved, true));
    assert.deepEqual(await exchange(), ['10.0.0.1']);
    squatter.close();
    client.close();
  });

  test('a redirect that fails or is made twice leaves one table', async () => {
    await open(good);
    await open(good);
    const tables = await kernel.nft('list tables');
    assert.equal(tables.match(/linkspan-dns/g)?.length, 1);
  });

  test('a step that fails at opening leaves nothing open', async () => {
    const seam = new Seam(undefined);
    await using other = openDns({ seam, logger: silentLogger, resolvConfPath: '/nonexistent' });
    const request = { id: 's2', path, view: viewWith(), wanted: undefined };
    for (let at = 1; ; at++) {
      seam.load({ at, action: { errno: 'EMFILE' } });
      seam.arm();
      try {
        await other.open(request);
        assert.ok(at > 4, `only ${at} steps`);
        break;
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'EMFILE');
        assert.equal((await other.statistics()).sandboxes, 0);
      }
    }
  });
});
