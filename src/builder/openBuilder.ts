/*
 * Building by a BuildKit: each build, question and client has a connection of its own. Contract: builder.ts.
 */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { LinkspanError } from '../errors/linkspanError.ts';
import type { ImageContent } from '../runtime/images/content.ts';
import type { ImageStore } from '../runtime/images/images.ts';
import type { BuilderAddress } from './address.ts';
import type { Builder, BuildOptions, BuiltImage, SessionBuildOptions } from './builder.ts';
import { type BuildRequest, formatNames, planSolve } from './buildRequest.ts';
import { openBuildSession } from './buildSession.ts';
import { type BuildKitConnection, dial } from './connection.ts';
import { GrpcError, grpcCode } from './grpc.ts';
import { ImportBook } from './imports.ts';
import { planPolicy } from './localImages.ts';
import { passControl, passSession } from './passThrough.ts';
import { ProgressText } from './progressText.ts';
import type { Exporter, StatusResponse, UsageRecord } from './schema.ts';

/** For what is in the cache: measuring a large one takes seconds. */
const cacheTimeoutMs = 30_000;

export interface BuilderDependencies {
  readonly address: BuilderAddress;
  /** Where images come to lie. */
  readonly images: Pick<ImageStore, 'load' | 'get'>;
  /** Of the same store. */
  readonly content: ImageContent;
}

/** What BuildKit said, in the words of Docker's own builder where a command failed. */
function toBuildError(error: unknown, signal: AbortSignal | undefined, address: BuilderAddress): unknown {
  if (!(error instanceof GrpcError)) return error;
  const cause = error;
  if (signal?.aborted === true) return new LinkspanError('buildFailed', 'the build was canceled', { cause });
  if (error.code === grpcCode.unavailable) {
    const text = `the BuildKit at ${address.text} broke the build off: ${error.message}`;
    return new LinkspanError('builderUnavailable', text, { cause });
  }
  const [, command, exit] =
    /process "((?:[^"\\]|\\.)*)" did not complete successfully: exit code: (\d+)/.exec(error.message) ?? [];
  if (command === undefined) return new LinkspanError('buildFailed', error.message, { cause });
  return new LinkspanError(
    'buildFailed',
    `The command '${command.replace(/\\(.)/g, '$1')}' returned a non-zero code: ${exit}`,
    { cause, details: { exitCode: Number(exit) } },
  );
}

interface Solve {
  readonly request: BuildRequest;
  readonly sessionId: string;
  /** Where BuildKit gets the context; undefined = from the session, as files, or from a remote place. */
  readonly contextUrl: string | undefined;
  readonly exporter: Exporter;
  readonly policy: object | undefined;
  readonly signal: AbortSignal;
  readonly onStatus: (message: Buffer) => Promise<void>;
}

/** Resolves with what the exporter answered. Throws GrpcError. */
async function solve(
  connection: BuildKitConnection,
  { request, sessionId, contextUrl, exporter, policy, signal, onStatus }: Solve,
): Promise<Readonly<Record<string, string>>> {
  const ref = randomBytes(16).toString('hex');
  const { attrs, entitlements } = planSolve(request, contextUrl);
  const follow = async (): Promise<void> => {
    try {
      for await (const message of connection.messages('Control.Status', { ref }, signal))
        await onStatus(message);
    } catch (error) {
      // The solve says what is wrong; without its progress it is a build all the same.
      if (!(error instanceof GrpcError)) throw error;
    }
  };
  const asked = {
    ...{ ref, session: sessionId, frontend: 'dockerfile.v0', frontend_attrs: attrs, entitlements },
    // Older ones know only the single exporter.
    ...{ exporter: exporter.type, exporter_attrs: exporter.attrs, exporters: [exporter], cache: {} },
    ...(policy !== undefined && { source_policy: policy }),
  };
  const following = follow();
  try {
    const answer = await connection.call<{ exporter_response: Readonly<Record<string, string>> }>(
      'Control.Solve',
      asked,
      signal,
    );
    return answer.exporter_response;
  } finally {
    // What a command printed before it failed comes before the failure.
    await following;
  }
}

export function openBuilder({ address, images, content }: BuilderDependencies): Builder {
  const book = new ImportBook();
  const half = { book, images, content };

  /** Runs `work` with a connection; what BuildKit refuses is thrown as a LinkspanError. */
  async function ask<T>(
    work: (connection: BuildKitConnection) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    using connection = await dial(address);
    try {
      return await work(connection);
    } catch (error) {
      throw toBuildError(error, signal, address);
    }
  }

  async function dialFor(client: Duplex): Promise<BuildKitConnection> {
    const connection = await dial(address);
    if (!client.destroyed) return connection;
    connection[Symbol.dispose]();
    throw new LinkspanError('requestInvalid', 'the client has gone');
  }

  function archiveOf(names: readonly string[]): Exporter {
    const name = formatNames(names);
    return { type: 'docker', attrs: name === '' ? {} : { name } };
  }

  async function build(request: BuildRequest, options: BuildOptions): Promise<BuiltImage> {
    const { context, credentials, signal, onText } = options;
    const exporter = archiveOf(request.names);
    // Before anybody is asked.
    planSolve(request, undefined);
    return await ask(async (connection) => {
      using session = openBuildSession(connection, { images, content, context, credentials });
      const { id: sessionId, contextUrl } = session;
      const policy = planPolicy(await content.localTags());
      const progress = new ProgressText();
      const status = connection.wire.message('StatusResponse');
      const onStatus = async (message: Buffer): Promise<void> => {
        for (const line of progress.linesOf(status.deserialize(message) as StatusResponse))
          await onText(line);
      };
      const answer = await solve(connection, {
        request,
        sessionId,
        contextUrl,
        exporter,
        policy,
        signal,
        onStatus,
      });
      const id = answer['containerimage.config.digest'] ?? (await images.get(session.loaded[0] ?? '')).id;
      return { id, names: request.names.length === 0 ? [] : session.loaded };
    }, signal);
  }

  async function buildInSession(request: BuildRequest, options: SessionBuildOptions): Promise<string> {
    const { sessionId, output, signal, onStatus } = options;
    const exporter = output ?? archiveOf(request.names);
    planSolve(request, undefined);
    using _ = book.expect(sessionId, output === undefined ? [0] : []);
    const policy = planPolicy(await content.localTags());
    const asked = { request, sessionId, contextUrl: undefined, exporter, policy, signal, onStatus };
    const answer = await ask((connection) => solve(connection, asked), signal);
    return answer['containerimage.config.digest'] ?? '';
  }

  return {
    build,
    buildInSession,
    serveControl: async (client, begin) => {
      const connection = await dialFor(client);
      begin();
      passControl(client, connection, half);
    },
    serveSession: async (client, metadata, begin) => {
      const connection = await dialFor(client);
      begin();
      passSession(client, metadata, connection, half);
    },
    cache: () =>
      ask(async (connection) => {
        const timeout = AbortSignal.timeout(cacheTimeoutMs);
        try {
          const method = 'Control.DiskUsage';
          return (await connection.call<{ record: readonly UsageRecord[] }>(method, {}, timeout)).record;
        } catch (error) {
          if (!timeout.aborted) throw error;
          const text = `the BuildKit at ${address.text} did not answer in ${cacheTimeoutMs / 1000} s`;
          throw new LinkspanError('builderUnavailable', text, { cause: error });
        }
      }),
    prune: ({ isAll, filters, keptBytes, maxUsedBytes, minFreeBytes, keptSinceMs, signal }) => {
      const asked = {
        ...{ all: isAll, filter: filters, keep_bytes: String(keptBytes) },
        ...{ max_used_bytes: String(maxUsedBytes), min_free_bytes: String(minFreeBytes) },
        keep_duration: String(keptSinceMs * 1_000_000),
      };
      return ask(
        (connection) => Array.fromAsync(connection.stream<UsageRecord>('Control.Prune', asked, signal)),
        signal,
      );
    },
  };
}
