/*
 * The one error class. Callers branch on `code` or `kind`, never on the text; the text is Docker's where Docker has one.
 */
import { type ErrorCode, type ErrorKind, errorCodes } from './codes.ts';

export class LinkspanError extends Error {
  readonly code: ErrorCode;
  /** Machine-readable facts for logs (ids, addresses); never a secret. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LinkspanError';
    this.code = code;
    this.details = options.details ?? {};
  }

  get kind(): ErrorKind {
    return errorCodes[this.code];
  }
}

/** True if `error` is a LinkspanError with this code. */
export function hasCode(error: unknown, code: ErrorCode): error is LinkspanError {
  return error instanceof LinkspanError && error.code === code;
}

/** The store refused, or did not answer: where it was asked to write, nobody knows what it did. */
export function isStoreFailure(error: unknown): boolean {
  return hasCode(error, 'store') || hasCode(error, 'storeUnavailable');
}

/** What went wrong first, where undoing it failed too. */
export function originOf(error: unknown): unknown {
  return error instanceof SuppressedError ? originOf(error.suppressed) : error;
}

/** The text of any thrown value. */
export function messageOf(thrown: unknown): string {
  const error = originOf(thrown);
  return error instanceof Error ? error.message : String(error);
}
