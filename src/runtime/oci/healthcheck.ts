/*
 * How a container's health is asked for: Docker's HEALTHCHECK, as images and users give it (Engine API 1.50,
 * HealthConfig). Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

/** What is 0 or empty is not said. */
export interface Healthcheck {
  /** `['CMD', …]`, `['CMD-SHELL', command]`, `['NONE']`. */
  readonly test: readonly string[];
  readonly intervalNs: number;
  readonly timeoutNs: number;
  /** From the start on failures do not count, until the first success. */
  readonly startPeriodNs: number;
  /** In place of the interval during that time. */
  readonly startIntervalNs: number;
  /** Failures in a row that make it unhealthy. */
  readonly retries: number;
}

const minNs = 1_000_000;

/** Throws containerConfigInvalid, with Docker's texts where it refuses too; an unknown kind of test it ignores. */
export function checkHealthcheck(healthcheck: Healthcheck): void {
  const refuse = (message: string): never => {
    throw new LinkspanError('containerConfigInvalid', message);
  };
  const { intervalNs, timeoutNs, startPeriodNs, startIntervalNs, retries, test } = healthcheck;
  for (const [name, value] of [
    ['Interval', intervalNs],
    ['Timeout', timeoutNs],
    ['StartPeriod', startPeriodNs],
    ['StartInterval', startIntervalNs],
  ] as const)
    if (value !== 0 && value < minNs) refuse(`${name} in Healthcheck cannot be less than 1ms`);
  if (retries < 0) refuse('Retries in Healthcheck cannot be negative');
  const [kind] = test;
  if (kind !== undefined && !['CMD', 'CMD-SHELL', 'NONE'].includes(kind))
    refuse(`Unknown healthcheck type '${kind}' (expected 'CMD')`);
}

/** The user's wishes, and the image's for what the user does not say. */
export function mergeHealthcheck(
  own: Healthcheck | undefined,
  image: Healthcheck | undefined,
): Healthcheck | undefined {
  if (own === undefined || image === undefined) return own ?? image;
  return {
    test: own.test.length > 0 ? own.test : image.test,
    intervalNs: own.intervalNs || image.intervalNs,
    timeoutNs: own.timeoutNs || image.timeoutNs,
    startPeriodNs: own.startPeriodNs || image.startPeriodNs,
    startIntervalNs: own.startIntervalNs || image.startIntervalNs,
    retries: own.retries || image.retries,
  };
}

/** The command that asks; undefined if nobody does. `shell` undefined = `/bin/sh -c`. */
export function probeCommand(
  healthcheck: Healthcheck | undefined,
  shell: readonly string[] = ['/bin/sh', '-c'],
): readonly string[] | undefined {
  const [kind, ...words] = healthcheck?.test ?? [];
  if (kind === 'CMD') return words;
  return kind === 'CMD-SHELL' ? [...shell, ...words] : undefined;
}
