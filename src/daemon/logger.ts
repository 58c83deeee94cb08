/*
 * The daemon's log: one JSON line per event on stderr (pino), so that the service manager or a file keeps it.
 */
import { type LoggerOptions, pino, stdSerializers, stdTimeFunctions } from 'pino';
import type { Logger } from '../base/logger.ts';
import type { LogLevel } from './config.ts';

/** A pino logger; its level can be changed while it runs. */
export interface DaemonLogger extends Logger {
  level: string;
}

/** Also what went wrong first, and then in undoing it. */
function serialize(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (!(error instanceof SuppressedError)) return stdSerializers.err(error);
  return { ...Object(serialize(error.suppressed)), undoing: serialize(error.error) };
}

export function openLogger(level: LogLevel): DaemonLogger {
  const destination = pino.destination({ fd: 2, sync: true });
  const options: LoggerOptions = {
    level,
    timestamp: stdTimeFunctions.isoTime,
    messageKey: 'message',
    serializers: { err: serialize },
    formatters: { bindings: () => ({}), level: (label) => ({ level: label }) },
  };
  return pino(options, destination);
}
