/*
 * The streams of a container's first process: both outputs logged always, whoever attaches.
 */
import { join } from 'node:path';
import { LogWriter } from '../../runtime/stdio/logWriter.ts';
import { ProcessIo } from '../../runtime/stdio/processIo.ts';
import type { Container } from '../model.ts';
import type { ContainersContext } from './dependencies.ts';

/** Folder of a container's FIFOs. */
export function fifoFolderOf(context: Pick<ContainersContext, 'fifoFolder'>, id: string): string {
  return join(context.fifoFolder, id);
}

/** Opens the log; the FIFOs come with the start. */
export function openContainerIo(context: ContainersContext, record: Container): ProcessIo {
  const { id, name, spec, logPath } = record;
  return new ProcessIo({
    directory: fifoFolderOf(context, id),
    prefix: '',
    isTty: spec.isTty,
    hasStdin: spec.isStdinOpen,
    isStdinOnce: spec.isStdinOnce,
    outputs: ['stdout', 'stderr'],
    log: new LogWriter(logPath, context.clock, (error) => {
      context.logger.error(
        { container: name, id, err: error },
        'the log of a container cannot be written; lines are lost',
      );
    }),
    makeFifo: context.makeFifo,
    closeStdin: () => {
      context.runtime.closeStdin(id).catch((error: unknown) => {
        context.logger.debug(
          { container: name, id, err: error },
          'closing stdin failed: the process is gone',
        );
      });
    },
  });
}
