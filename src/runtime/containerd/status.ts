/*
 * gRPC statuses of containerd's answers: what callers branch on, and how the rest becomes a LinkspanError.
 */
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';

/** The gRPC status codes that are looked at (grpc/status.proto numbers). */
export const grpcStatus = {
  cancelled: 1,
  unknown: 2,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  failedPrecondition: 9,
  unavailable: 14,
} as const;

/** A call that containerd refused. `message` is containerd's own text, which ends with runc's where runc spoke. */
export class ContainerdError extends Error {
  /** gRPC status code. */
  readonly status: number;
  readonly method: string;
  constructor(method: string, status: number, text: string) {
    super(text);
    this.name = 'ContainerdError';
    this.method = method;
    this.status = status;
  }
}

/** True for a ContainerdError with one of these statuses. */
export function hasStatus(error: unknown, ...names: readonly (keyof typeof grpcStatus)[]): boolean {
  return error instanceof ContainerdError && names.some((name) => grpcStatus[name] === error.status);
}

/** Resolves undefined in place of a refusal with one of these statuses: `already gone` is success. */
export async function unless<T>(
  promise: Promise<T>,
  ...names: readonly (keyof typeof grpcStatus)[]
): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (hasStatus(error, ...names)) return undefined;
    throw error;
  }
}

/** What leaves the runtime: codes runtimeUnavailable and runtimeFailed, the text verbatim. Others pass unchanged. */
export function toLinkspanError(error: unknown): unknown {
  if (!(error instanceof ContainerdError)) return error;
  if (hasStatus(error, 'unavailable', 'deadlineExceeded', 'cancelled'))
    return new LinkspanError(
      'runtimeUnavailable',
      `containerd does not answer (${error.method}): ${error.message}`,
      { cause: error },
    );
  return new LinkspanError('runtimeFailed', messageOf(error), {
    cause: error,
    details: { method: error.method, status: error.status },
  });
}
