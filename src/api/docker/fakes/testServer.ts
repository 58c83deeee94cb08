/*
 * A server over the engine in memory, and raw connections to it. For tests.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../base/clock.ts';
import type { Condition } from '../../../base/condition.ts';
import { silentLogger } from '../../../base/logger.ts';
import type { Builder } from '../../../builder/builder.ts';
import { examine } from '../../../engine/doctor/doctor.ts';
import { createMetrics } from '../../metrics/metrics.ts';
import type { ApiServer } from '../apiServer.ts';
import { createApiServer } from '../server.ts';
import { createFakeEngine, type FakeEngine } from './fakeEngine.ts';

export interface TestServer extends AsyncDisposable {
  readonly api: ApiServer;
  readonly engine: FakeEngine;
  /** Of a unix socket that the server listens on. */
  readonly socketPath: string;
}

export async function startTestServer(
  conditions: readonly Condition[] = [],
  builder?: Builder,
): Promise<TestServer> {
  const engine = createFakeEngine();
  const api = createApiServer({
    engine,
    builder,
    logger: silentLogger,
    build: { version: '0.1.0', gitCommit: 'abc', buildTime: '' },
    conditions: () => conditions,
    clock: systemClock,
    metrics: createMetrics(),
    doctor: () =>
      examine({
        kernel: { probeFeatures: () => Promise.resolve([{ name: 'bridge', isPresent: true, detail: '' }]) },
        cgroupVersion: 2,
        conditions: () => conditions,
        repairs: { counts: {}, recent: [] },
        findLeaks: () => Promise.resolve([]),
      }),
    dumpFirewall: () => Promise.resolve('table inet linkspan {\n}\n'),
  });
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-api-'));
  const socketPath = join(folder, 'api.sock');
  await api.listen({ socketPath, mode: 0o660 });
  return {
    api,
    engine,
    socketPath,
    [Symbol.asyncDispose]: async () => {
      await api.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A connection that shows what came so far. */
export class RawClient implements Disposable {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  readonly #closed = Promise.withResolvers<void>();

  constructor(socketPath: string) {
    this.#socket = connect({ path: socketPath, allowHalfOpen: true });
    this.#socket.on('data', (data: Buffer) => {
      this.#received = Buffer.concat([this.#received, data]);
    });
    this.#socket.once('end', this.#closed.resolve);
    this.#socket.once('error', this.#closed.resolve);
  }

  send(data: string): this {
    this.#socket.write(data);
    return this;
  }

  /** Half-closes, as the CLI does when it has no stdin. */
  finish(): this {
    this.#socket.end();
    return this;
  }

  /** Resolves with all that came once `pattern` is in it. */
  async until(pattern: RegExp): Promise<string> {
    for (;;) {
      const received = this.text;
      if (pattern.test(received)) return received;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#socket.once('data', () => resolve());
      this.#socket.once('end', () => resolve());
      await promise;
      if (this.#socket.readableEnded && !pattern.test(this.text))
        throw new Error(`the connection ended without ${String(pattern)}: ${JSON.stringify(this.text)}`);
    }
  }

  /** Resolves with all that came once the server has ended its side. */
  async untilEnd(): Promise<string> {
    await this.#closed.promise;
    return this.text;
  }

  /** Resolves once both sides have ended. */
  async untilClosed(): Promise<void> {
    if (this.#socket.closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.once('close', () => resolve());
    await promise;
  }

  /** What came, one character a byte. */
  get text(): string {
    return this.#received.toString('latin1');
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
