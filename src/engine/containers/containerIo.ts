/*
 * The streams of a container's first process: both outputs logged, whoever attaches, unless its log driver is `none`.
 */
import { join } from 'node:path';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { defaultLogConfig, logAttributes, logFileRules } from '../../runtime/stdio/logOptions.ts';
import { LogWriter } from '../../runtime/stdio/logWriter.ts';
import { ProcessIo } from '../../runtime/stdio/processIo.ts';
import type { Container } from '../model.ts';
import type { ContainersContext } from './dependencies.ts';

/** Folder of a container's FIFOs. */
export function fifoFolderOf(context: Pick<ContainersContext, 'fifoFolder'>, id: string): string {
  return join(context.fifoFolder, id);
}

/** Where the log is. Throws notImplemented with Docker's text for a driver that keeps none. */
export function readableLogPath({ spec, logPath }: Container): string {
  if (logFileRules(spec.log ?? defaultLogConfig) !== undefined) return logPath;
  throw new LinkspanError('notImplemented', 'configured logging driver does not support reading');
}

/** What the log options ask of each line. Throws containerConfigInvalid. */
export function logAttributesOf(record: Container): Readonly<Record<string, string>> {
  const { id, name, imageId, spec, process } = record;
  const { labels, env } = process;
  return logAttributes(spec.log ?? defaultLogConfig, {
    id,
    name,
    imageId,
    imageName: spec.image,
    labels,
    env,
  });
}

function openLog(context: ContainersContext, record: Container): LogWriter | undefined {
  const { id, name, spec, logPath } = record;
  const rules = logFileRules(spec.log ?? defaultLogConfig);
  if (rules === undefined) return undefined;
  return new LogWriter({
    ...{ path: logPath, clock: context.clock, rules, attributes: logAttributesOf(record) },
    onFailure: (error, isLost) => {
      const text = isLost
        ? 'the log of a container cannot be written; lines are lost'
        : 'the log of a container cannot be rotated or compressed now; it grows meanwhile';
      context.logger.error({ container: name, id, err: error }, text);
    },
  });
}

/** Opens the log; the FIFOs come with the start. */
export function openContainerIo(context: ContainersContext, record: Container): ProcessIo {
  const { id, name, spec } = record;
  return new ProcessIo({
    directory: fifoFolderOf(context, id),
    prefix: '',
    isTty: spec.isTty,
    hasStdin: spec.isStdinOpen,
    isStdinOnce: spec.isStdinOnce,
    outputs: ['stdout', 'stderr'],
    log: openLog(context, record),
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
