/*
 * What goes wrong at a registry, in words: answers with an error document (distribution spec, "Error Codes") and
 * connections that fail. Texts follow Docker's, which are Go's. Pure.
 */
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import { familiarName, familiarReference, type Reference } from '../images/reference.ts';
import { parseChallenges } from './challenge.ts';

/** One error of a registry's document. */
export interface RegistryProblem {
  /** `MANIFEST_UNKNOWN` */
  readonly code: string;
  readonly message: string;
}

const defaultMessages: Readonly<Record<string, string>> = {
  DENIED: 'requested access to the resource is denied',
  UNAUTHORIZED: 'authentication required',
  MANIFEST_UNKNOWN: 'manifest unknown',
  NAME_UNKNOWN: 'repository name not known to registry',
  TOOMANYREQUESTS: 'too many requests',
};

const codesOfStatus: Readonly<Record<number, string>> = {
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  429: 'TOOMANYREQUESTS',
};

function problemOf(code: string, message = ''): RegistryProblem {
  return { code, message: message === '' ? (defaultMessages[code] ?? '') : message };
}

/** The first problem of the document, or undefined if the body is none. */
function parseProblem(body: string): RegistryProblem | undefined {
  try {
    const { errors } = JSON.parse(body) as { errors?: unknown };
    const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
    const { code, message } = (first ?? {}) as { code?: unknown; message?: unknown };
    if (typeof code !== 'string' || code === '') return undefined;
    return problemOf(code, typeof message === 'string' ? message : '');
  } catch {
    return undefined;
  }
}

/** What an answer with an error status means. A bearer challenge that says why comes before the document. */
export function explainAnswer(status: number, challenge: string, body: string): RegistryProblem {
  const bearer = parseChallenges(challenge).find(({ scheme }) => scheme === 'bearer');
  if (status === 401 && bearer?.parameters['error'] === 'insufficient_scope')
    return problemOf('DENIED', bearer.parameters['error_description']);
  return (
    parseProblem(body) ??
    problemOf(codesOfStatus[status] ?? '', codesOfStatus[status] === undefined ? `status ${status}` : '')
  );
}

function format({ code, message }: RegistryProblem): string {
  return code === '' ? message : `${code.toLowerCase().replaceAll('_', ' ')}: ${message}`;
}

/**
 * The registry answered with an error. Codes imageNotFound (404 at our edge) and registryRefused. `method` as Go writes
 * it: `Get`.
 */
export function refusal(
  reference: Reference,
  problem: RegistryProblem,
  url: string,
  action: 'pull' | 'push' | 'login' = 'pull',
  method = 'Get',
): LinkspanError {
  const details = { url, registryCode: problem.code };
  if (action !== 'pull' && problem.code !== '') {
    const where = action === 'login' ? `${method} "${url}": ` : '';
    return new LinkspanError('registryRefused', `${where}${format(problem)}`, { details });
  }
  switch (problem.code) {
    case 'DENIED':
      return new LinkspanError(
        'imageNotFound',
        `pull access denied for ${familiarName(reference)}, repository does not exist or may require ` +
          `'docker login': ${format(problem)}`,
        { details },
      );
    case 'MANIFEST_UNKNOWN':
      return new LinkspanError(
        'imageNotFound',
        `manifest for ${familiarReference(reference)} not found: ${format(problem)}`,
        { details },
      );
    case 'NAME_UNKNOWN':
      return new LinkspanError(
        'imageNotFound',
        `repository ${familiarName(reference)} not found: ${format(problem)}`,
        { details },
      );
    case '':
      return new LinkspanError(
        'registryRefused',
        `${method} "${url}": unexpected answer: ${problem.message}`,
        {
          details,
        },
      );
    default:
      return new LinkspanError('registryRefused', format(problem), { details });
  }
}

interface NetworkCause {
  readonly code?: string;
  readonly address?: string;
  readonly port?: number;
  readonly hostname?: string;
  readonly errors?: readonly NetworkCause[];
  readonly message?: string;
}

const certificateCodes = /^(ERR_TLS_|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(GET|VERIFY))/;

/** What is below fetch's own error; of several addresses that were tried, the last. */
function causeOf(error: unknown): NetworkCause {
  const cause = (error as { cause?: unknown } | undefined)?.cause;
  const found = (typeof cause === 'object' && cause !== null ? cause : error) as NetworkCause;
  return found.errors?.at(-1) ?? found;
}

/** True where the server's certificate is at fault: then nothing else may be tried. */
export function isCertificateFailure(error: unknown): boolean {
  return certificateCodes.test(causeOf(error).code ?? '');
}

function describe(error: unknown): string {
  const { code, address, port, hostname, message } = causeOf(error);
  const where = address === undefined ? '' : ` ${address}${port === undefined ? '' : `:${port}`}`;
  switch (code) {
    case 'ECONNREFUSED':
      return `dial tcp${where}: connect: connection refused`;
    case 'ENETUNREACH':
      return `dial tcp${where}: connect: network is unreachable`;
    case 'EHOSTUNREACH':
      return `dial tcp${where}: connect: no route to host`;
    case 'ETIMEDOUT':
    case 'UND_ERR_CONNECT_TIMEOUT':
      return `dial tcp${where}: i/o timeout`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `dial tcp: lookup ${hostname ?? ''}: no such host`;
    case 'ECONNRESET':
      return 'read: connection reset by peer';
    case 'UND_ERR_SOCKET':
      return 'unexpected EOF';
    case undefined:
    default:
      if (isCertificateFailure(error))
        return `tls: failed to verify certificate: ${message ?? code ?? 'refused'}`;
      return message ?? messageOf(error);
  }
}

/** The registry could not be spoken to. Code registryUnreachable. */
export function unreachable(url: string, error: unknown, method = 'Get'): LinkspanError {
  return new LinkspanError('registryUnreachable', `${method} "${url}": ${describe(error)}`, {
    cause: error,
    details: { url, cause: causeOf(error).code },
  });
}
