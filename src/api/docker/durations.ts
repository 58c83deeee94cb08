/*
 * How long ago, as Docker words it (go-units HumanDuration), and the Status text of a container.
 */
import { healthWord } from '../../engine/containers/healthState.ts';
import { isBetweenRuns } from '../../engine/containers/restarts.ts';
import { type Container, zeroTime } from '../../engine/model.ts';

/** `About an hour`, `3 days`; `ms` below zero counts as zero. */
export function formatDuration(ms: number): string {
  const seconds = Math.trunc(Math.max(ms, 0) / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(seconds / 3600 / 24 / 365)} years`;
}

/** Docker's word for the state; ours has an intent that Docker does not show. */
export function stateWord(container: Container): string {
  const { state, startedAt } = container;
  if (isBetweenRuns(container)) return 'restarting';
  if (state !== 'starting') return state;
  return startedAt === zeroTime ? 'created' : 'exited';
}

/** The STATUS column: `Up 3 seconds`, `Exited (0) 2 minutes ago`. */
export function formatStatus(container: Container, nowMs: number): string {
  const since = (moment: string): string => formatDuration(nowMs - Date.parse(moment));
  const health = healthWord(container);
  switch (stateWord(container)) {
    case 'running':
      return `Up ${since(container.startedAt)}${health === undefined ? '' : ` (${health})`}`;
    case 'paused':
      return `Up ${since(container.startedAt)} (Paused)`;
    case 'restarting':
      return `Restarting (${container.exitCode}) ${since(container.finishedAt)} ago`;
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return 'Dead';
    case 'created':
      return 'Created';
    default:
      return container.finishedAt === zeroTime
        ? ''
        : `Exited (${container.exitCode}) ${since(container.finishedAt)} ago`;
  }
}
