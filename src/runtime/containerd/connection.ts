/*
 * Keeps containerd running and reachable: starts or adopts it, watches its event stream, and when that breaks, brings
 * it back. Containers do not depend on it: their shims go on. Says so in events; knows nothing of containers.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Events } from '../../base/events.ts';
import type { Logger } from '../../base/logger.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { RuntimeEvents } from '../runtime.ts';
import type { ContainerdClient } from './client.ts';
import type { DaemonProcess } from './daemonProcess.ts';
import { hasStatus } from './status.ts';

/**
 * How long a containerd may take from its start to its first answer: a large database is read within, also by a slow
 * machine that starts much else. One that ends is noticed at once.
 */
const startTimeoutMs = 120_000;
const probeTimeoutMs = 1000;
const restartDelayMaxMs = 5000;

/** Resolves when containerd has answered; throws runtimeUnavailable with what it logged last. */
async function waitUntilReady(
  client: ContainerdClient,
  daemon: DaemonProcess | undefined,
  timeoutMs: number,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      await client.call('Version.Version', {}, { deadlineMs: probeTimeoutMs });
      return;
    } catch (error) {
      const isDead = daemon !== undefined && !(await daemon.isAlive());
      if (isDead || performance.now() > endMs) {
        const words = (await daemon?.lastWords()) ?? messageOf(error);
        throw new LinkspanError(
          'runtimeUnavailable',
          `containerd ${isDead ? 'ended' : 'does not answer'}: ${words}`,
          {
            cause: error,
          },
        );
      }
    }
  }
}

/** Connects for the first time. Throws runtimeUnavailable. */
export async function connect(client: ContainerdClient, daemon: DaemonProcess | undefined): Promise<void> {
  await daemon?.ensure();
  await waitUntilReady(client, daemon, daemon === undefined ? 5000 : startTimeoutMs);
  try {
    await client.call('Namespaces.Create', { namespace: { name: 'linkspan' } });
  } catch (error) {
    if (!hasStatus(error, 'alreadyExists')) throw error;
  }
}

/** Follows containerd until `signal` fires, restarting the private one whenever it ends. Never throws. */
export async function supervise(
  client: ContainerdClient,
  daemon: DaemonProcess | undefined,
  events: Events<RuntimeEvents>,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  let delayMs = 0;
  while (!signal.aborted) {
    const sinceMs = performance.now();
    try {
      const filters = ['topic=="/tasks/oom",namespace=="linkspan"'];
      for await (const { event } of client.stream(
        'Events.Subscribe',
        { filters },
        { deadlineMs: Infinity, signal },
      ))
        if (event !== null)
          events.emit('oom', { containerId: String(client.decode('TaskOom', event.value)['container_id']) });
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ err: error }, 'the connection to containerd broke');
    }
    if (signal.aborted) return;
    events.emit('connection', { isUp: false });
    // One that ends again at once is not started in a tight loop.
    delayMs = performance.now() - sinceMs > 10_000 ? 0 : Math.min(restartDelayMaxMs, delayMs * 2 + 50);
    await reconnect(client, daemon, logger, delayMs, signal);
    if (!signal.aborted) events.emit('connection', { isUp: true });
  }
}

/** Tries until containerd answers or `signal` fires. */
async function reconnect(
  client: ContainerdClient,
  daemon: DaemonProcess | undefined,
  logger: Logger,
  firstDelayMs: number,
  signal: AbortSignal,
): Promise<void> {
  for (
    let delayMs = firstDelayMs;
    !signal.aborted;
    delayMs = Math.min(restartDelayMaxMs, delayMs * 2 + 100)
  ) {
    try {
      await sleep(delayMs, undefined, { signal });
      await connect(client, daemon);
      logger.info({}, 'containerd is back');
      return;
    } catch (error) {
      if (signal.aborted) return;
      logger.error({ err: error }, 'containerd could not be brought back; trying again');
    }
  }
}
