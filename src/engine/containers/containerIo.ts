/*
 * The streams of a container's first process: both outputs logged, whoever attaches, unless its log driver is `none`.
 */
import { join } from 'node:path';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { readJournal } from '../../runtime/stdio/journalReader.ts';
import { JournalWriter, journalSocketPath } from '../../runtime/stdio/journalWriter.ts';
import {
  defaultLogConfig,
  type LogConfig,
  type LogSubject,
  logAttributes,
  logBufferBytes,
  logExtras,
  logFileRules,
  logTag,
} from '../../runtime/stdio/logOptions.ts';
import { readLog } from '../../runtime/stdio/logReader.ts';
import type { LogSink } from '../../runtime/stdio/logSink.ts';
import { LogWriter } from '../../runtime/stdio/logWriter.ts';
import { ProcessIo } from '../../runtime/stdio/processIo.ts';
import type { LogQuery, LogRecord } from '../../runtime/stdio/stdio.ts';
import type { Container } from '../model.ts';
import type { ContainersContext } from './dependencies.ts';

/** Folder of a container's FIFOs. */
export function fifoFolderOf(context: Pick<ContainersContext, 'fifoFolder'>, id: string): string {
  return join(context.fifoFolder, id);
}

function configOf({ spec }: Container): LogConfig {
  return spec.log ?? defaultLogConfig;
}

function subjectOf({ id, name, imageId, spec, process }: Container): LogSubject {
  const { labels, env } = process;
  return { id, name, imageId, imageName: spec.image, labels, env };
}

/** What the log options ask of each line. Throws containerConfigInvalid. */
export function logAttributesOf(record: Container): Readonly<Record<string, string>> {
  return logAttributes(configOf(record), subjectOf(record));
}

/** Throws notImplemented with Docker's text for a log driver that keeps none. */
export function checkLogReadable(record: Container): void {
  if (configOf(record).driver === 'none')
    throw new LinkspanError('notImplemented', 'configured logging driver does not support reading');
}

/** The log; with `isFollow` on while `sink`, that of a run that goes on, is open. Throws as `checkLogReadable`. */
export function readContainerLog(
  record: Container,
  query: LogQuery,
  sink: LogSink | undefined,
  signal: AbortSignal,
): AsyncIterable<LogRecord> {
  checkLogReadable(record);
  return configOf(record).driver === 'journald'
    ? readJournal(record.id, query, sink instanceof JournalWriter ? sink : undefined, signal)
    : readLog(record.logPath, query, sink instanceof LogWriter ? sink : undefined, signal);
}

/** Throws runtimeFailed with Docker's text where the log driver cannot work. */
export function checkLogDriver(context: Pick<ContainersContext, 'openDatagrams'>, record: Container): void {
  if (configOf(record).driver !== 'journald') return;
  try {
    context.openDatagrams(journalSocketPath)[Symbol.dispose]();
  } catch (cause) {
    const message =
      'failed to create task for container: failed to initialize logging driver: journald is not enabled on this host';
    throw new LinkspanError('runtimeFailed', message, { cause });
  }
}

function openJournalLog(context: ContainersContext, record: Container): LogSink {
  const config = configOf(record);
  const subject = subjectOf(record);
  return new JournalWriter({
    subject: {
      ...subject,
      tag: logTag(config, subject, '{{.ID}}'),
      extras: logExtras(config, subject),
    },
    open: () => context.openDatagrams(journalSocketPath),
    clock: context.clock,
    bufferBytes: logBufferBytes(config),
    onFailure: (error) => {
      const fields = { container: record.name, id: record.id, err: error };
      context.logger.error(fields, 'the journal does not take the log of a container; lines are lost');
    },
  });
}

function openLog(context: ContainersContext, record: Container): LogSink | undefined {
  const { id, name, logPath } = record;
  const config = configOf(record);
  const rules = logFileRules(config);
  if (config.driver === 'journald') return openJournalLog(context, record);
  if (rules === undefined) return undefined;
  return new LogWriter({
    ...{ path: logPath, clock: context.clock, rules, attributes: logAttributesOf(record) },
    bufferBytes: logBufferBytes(config),
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
