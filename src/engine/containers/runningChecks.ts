/*
 * What needs a container that runs, and Docker's texts where it does not. All throw code containerState. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Container } from '../model.ts';
import { isBetweenRuns } from './restarts.ts';

/** Running or paused. */
export function checkRunning(container: Container): void {
  const { id, state } = container;
  if (isBetweenRuns(container))
    throw new LinkspanError(
      'containerState',
      `Container ${id} is restarting, wait until the container is running`,
    );
  if (state !== 'running' && state !== 'paused')
    throw new LinkspanError('containerState', `container ${id} is not running`);
}

/** Another process can be started in it. */
export function checkExecutable(container: Container): void {
  const { name, state } = container;
  if (state === 'paused')
    throw new LinkspanError(
      'containerState',
      `Container ${name} is paused, unpause the container before exec`,
    );
  checkRunning(container);
}
