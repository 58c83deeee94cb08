/*
 * Healthchecks and what came of them at the edge (Docker Engine API 1.50, HealthConfig and Health). Durations are
 * nanoseconds; zero values are left out, as Docker does.
 */
import type { Health } from '../../engine/containers/healthState.ts';
import type { Healthcheck } from '../../runtime/oci/healthcheck.ts';
import { type Decoder, int, list, struct, text } from './goJson.ts';

export interface HealthcheckBody {
  readonly Test: readonly string[] | undefined;
  readonly Interval: number;
  readonly Timeout: number;
  readonly StartPeriod: number;
  readonly StartInterval: number;
  readonly Retries: number;
}

export const healthcheckBody: Decoder<HealthcheckBody> = struct<HealthcheckBody>('HealthcheckConfig', {
  Test: list(text),
  Interval: int,
  Timeout: int,
  StartPeriod: int,
  StartInterval: int,
  Retries: int,
});

export function toHealthcheck(body: HealthcheckBody): Healthcheck {
  return {
    test: body.Test ?? [],
    intervalNs: body.Interval,
    timeoutNs: body.Timeout,
    startPeriodNs: body.StartPeriod,
    startIntervalNs: body.StartInterval,
    retries: body.Retries,
  };
}

/** `Healthcheck` of a container's or an image's Config. */
export function healthcheckShape(healthcheck: Healthcheck): Record<string, unknown> {
  const { test, intervalNs, timeoutNs, startPeriodNs, startIntervalNs, retries } = healthcheck;
  return {
    ...(test.length > 0 && { Test: test }),
    ...(intervalNs !== 0 && { Interval: intervalNs }),
    ...(timeoutNs !== 0 && { Timeout: timeoutNs }),
    ...(startPeriodNs !== 0 && { StartPeriod: startPeriodNs }),
    ...(startIntervalNs !== 0 && { StartInterval: startIntervalNs }),
    ...(retries !== 0 && { Retries: retries }),
  };
}

/** `State.Health`. */
export function healthShape({ status, failingStreak, log }: Health): Record<string, unknown> {
  return {
    Status: status,
    FailingStreak: failingStreak,
    Log: log.map(({ start, end, exitCode, output }) => ({
      Start: start,
      End: end,
      ExitCode: exitCode,
      Output: output,
    })),
  };
}
