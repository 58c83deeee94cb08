/*
 * Error kinds at the edges: one table per boundary.
 */
import type { ErrorKind } from './codes.ts';

/** Docker Engine API 1.50 statuses. */
export const httpStatusOfKind: Readonly<Record<ErrorKind, number>> = {
  notFound: 404,
  conflict: 409,
  invalid: 400,
  forbidden: 403,
  unauthorized: 401,
  unavailable: 503,
  tooLarge: 413,
  notImplemented: 501,
  internal: 500,
};
