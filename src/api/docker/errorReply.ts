/*
 * Errors at the HTTP edge: the status comes from the error's kind in one place, the body is Docker's `{"message"}`.
 */
import type { Logger } from '../../base/logger.ts';
import { httpStatusOfKind } from '../../errors/kinds.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';

export interface ErrorReply {
  readonly status: number;
  readonly message: string;
}

/** Errors of the HTTP framework itself (a malformed URL) carry their own status. */
function frameworkStatus(error: unknown): number | undefined {
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode;
  return typeof status === 'number' && status >= 400 && status < 500 ? status : undefined;
}

/** What to answer for `error`. A failure that is not the client's is logged, with its stack. */
export function errorReply(error: unknown, logger: Logger, what: string): ErrorReply {
  const status =
    error instanceof LinkspanError ? httpStatusOfKind[error.kind] : (frameworkStatus(error) ?? 500);
  if (status === 500) {
    if (error instanceof LinkspanError)
      logger.warn({ ...error.details, code: error.code, err: error, request: what }, 'a request failed');
    else logger.error({ err: error, request: what }, 'a request failed unexpectedly');
  }
  return { status, message: messageOf(error) };
}
