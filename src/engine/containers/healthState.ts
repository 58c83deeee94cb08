/*
 * What probes make of a container's health, by Docker's rules (Engine 28, daemon/health.go). Pure.
 */
import type { Healthcheck } from '../../runtime/oci/healthcheck.ts';
import type { Container, HealthStatus } from '../model.ts';

/** How one probe ended. */
export interface ProbeResult {
  /** RFC 3339 with nanoseconds. */
  readonly start: string;
  readonly end: string;
  /** 0 = healthy; -1 = it could not be run, or took too long. */
  readonly exitCode: number;
  /** The first 4096 bytes that it wrote, or why there are none. */
  readonly output: string;
}

export interface Health {
  readonly status: HealthStatus;
  /** Failures since the last success. */
  readonly failingStreak: number;
  /** The last five, oldest first. */
  readonly log: readonly ProbeResult[];
}

const keptResults = 5;
const defaultRetries = 3;
const defaultIntervalMs = 30_000;
const defaultTimeoutMs = 30_000;
const defaultStartIntervalMs = 5_000;
/** Longer timers fire at once. */
const maxTimerMs = 2 ** 31 - 1;

/** An image may say anything, and less than nothing is not said. */
function orDefault(ns: number, fallbackMs: number): number {
  return ns <= 0 ? fallbackMs : Math.min(ns / 1e6, maxTimerMs);
}

export function timeoutMsOf({ timeoutNs }: Healthcheck): number {
  return orDefault(timeoutNs, defaultTimeoutMs);
}

function isInStartPeriod({ startPeriodNs }: Healthcheck, ranMs: number): boolean {
  return ranMs < startPeriodNs / 1e6;
}

/** From one probe to the next, `ranMs` after the container's start. */
export function probeDelayMs(healthcheck: Healthcheck, status: HealthStatus, ranMs: number): number {
  return isInStartPeriod(healthcheck, ranMs) && status === 'starting'
    ? orDefault(healthcheck.startIntervalNs, defaultStartIntervalMs)
    : orDefault(healthcheck.intervalNs, defaultIntervalMs);
}

/** After a probe that began `ranMs` after the container's start. */
export function withResult(
  before: Health,
  result: ProbeResult,
  healthcheck: Healthcheck,
  ranMs: number,
): Health {
  const log = [...before.log, result].slice(-keptResults);
  if (result.exitCode === 0) return { status: 'healthy', failingStreak: 0, log };
  if (before.status === 'starting' && isInStartPeriod(healthcheck, ranMs)) return { ...before, log };
  const failingStreak = before.failingStreak + 1;
  const limit = healthcheck.retries > 0 ? healthcheck.retries : defaultRetries;
  return { status: failingStreak >= limit ? 'unhealthy' : before.status, failingStreak, log };
}

/** `starting` as `ps` shows it; undefined where nobody asks, or never has. */
export function healthWord({ health }: Container): string | undefined {
  return health === 'starting' ? 'health: starting' : health;
}
