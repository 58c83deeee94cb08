/*
 * The session of a build that has no client with one of its own (POST /build): BuildKit gets the context and the
 * registries' credentials from it, and gives it the image. Contracts: moby.upload.v1, moby.filesync.v1, grpc.health.v1.
 */
import { randomBytes } from 'node:crypto';
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Readable } from 'node:stream';
import { blockBytes, encodeHeader } from '../files/tarHeader.ts';
import type { ImageContent } from '../runtime/images/content.ts';
import type { ImageStore, RegistryCredentials } from '../runtime/images/images.ts';
import type { BuildKitConnection } from './connection.ts';
import { beginAnswer, endCall, frameMessage, GrpcError, grpcCode, readMessages, writeTo } from './grpc.ts';
import { isOfLocalImages, serveLocalImages } from './localImages.ts';
import { receiveImage, sendMethod } from './imports.ts';

const uploadMethod = '/moby.upload.v1.Upload/Pull';
const credentialsMethod = '/moby.filesync.v1.Auth/Credentials';
const healthMethod = '/grpc.health.v1.Health/Check';

export interface BuildSessionOptions {
  readonly images: Pick<ImageStore, 'load'>;
  readonly content: ImageContent;
  /** A tar, which may be compressed. */
  readonly context: Readable | undefined;
  /** By the registry's address as clients keep it: `https://index.docker.io/v1/`, `host:5000`. */
  readonly credentials: Readonly<Record<string, RegistryCredentials>>;
}

/** Where a tar says what it is. */
const magicOffset = 257;

/**
 * The context as BuildKit knows it for a tar: it looks at the first KiB alone, in which a tar that begins with extended
 * fields (Python's, git's) has no file yet. The entry of the folder itself comes before these.
 */
async function* knownAsTar(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let head = Buffer.alloc(0);
  let isKnown = false;
  for await (const chunk of source) {
    if (isKnown) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    isKnown = head.length >= blockBytes;
    if (isKnown && head.toString('latin1', magicOffset, magicOffset + 5) === 'ustar') yield folderHeader;
    if (isKnown) yield head;
  }
  if (!isKnown) yield head;
}

const folderHeader = encodeHeader({
  ...{ name: './', type: 'directory', mode: 0o755, uid: 0, gid: 0, sizeBytes: 0, modifiedMs: 0 },
});

export interface BuildSession extends Disposable {
  readonly id: string;
  /** Where BuildKit reads the context. */
  readonly contextUrl: string | undefined;
  /** What the store made of the image: its names, or its id. Empty before it has come. */
  readonly loaded: readonly string[];
}

/** BuildKit asks for `registry-1.docker.io` where clients keep Docker Hub under its old address. */
function credentialsOf(
  all: BuildSessionOptions['credentials'],
  host: string,
): RegistryCredentials | undefined {
  const isHub = host === 'registry-1.docker.io' || host === 'docker.io';
  const key = isHub ? 'https://index.docker.io/v1/' : host;
  return (
    all[key] ??
    Object.entries(all).find(([name]) => name.replace(/^https?:\/\//, '').split('/')[0] === host)?.[1]
  );
}

export function openBuildSession(
  connection: BuildKitConnection,
  { images, content, context, credentials }: BuildSessionOptions,
): BuildSession {
  const { wire } = connection;
  const id = randomBytes(16).toString('hex');
  let loaded: readonly string[] = [];
  let unread = context;

  async function answer(stream: ServerHttp2Stream, bytes: Uint8Array): Promise<void> {
    stream.resume();
    beginAnswer(stream);
    await writeTo(stream, frameMessage(bytes));
    endCall(stream);
  }

  async function upload(stream: ServerHttp2Stream): Promise<void> {
    const source = unread;
    unread = undefined;
    if (source === undefined) throw new GrpcError(grpcCode.notFound, 'the context has been read already');
    stream.resume();
    beginAnswer(stream);
    const codec = wire.message('BytesMessage');
    for await (const chunk of knownAsTar(source))
      await writeTo(stream, frameMessage(codec.serialize({ data: chunk })));
    endCall(stream);
  }

  async function giveCredentials(stream: ServerHttp2Stream): Promise<void> {
    for await (const message of readMessages(stream)) {
      const { host } = wire.message('CredentialsRequest').deserialize(message) as { host: string };
      const found = credentialsOf(credentials, host);
      // A user name of none is how an identity token is told from a password.
      const [username, secret] =
        found?.identityToken === undefined
          ? [found?.username ?? '', found?.password ?? '']
          : ['', found.identityToken];
      await answer(stream, wire.message('CredentialsResponse').serialize({ username, secret }));
      return;
    }
  }

  const serve = (stream: ServerHttp2Stream, path: string, headers: OutgoingHttpHeaders): void => {
    const work = async (): Promise<void> => {
      if (path === uploadMethod) await upload(stream);
      else if (path === credentialsMethod) await giveCredentials(stream);
      else if (path === healthMethod)
        await answer(stream, wire.message('HealthCheckResponse').serialize({ status: 1 }));
      else if (path === sendMethod)
        await receiveImage(stream, wire, images, (names) => {
          loaded = names;
        });
      else if (isOfLocalImages(path, headers)) await serveLocalImages(stream, path, wire, content);
      else throw new GrpcError(grpcCode.unimplemented, `this session has no ${path}`);
    };
    work().catch((error: unknown) => endCall(stream, error));
  };

  const session = connection.openSession(
    {
      'x-docker-expose-session-uuid': id,
      'x-docker-expose-session-name': 'linkspan',
      'x-docker-expose-session-sharedkey': '',
      'x-docker-expose-session-grpc-method': [uploadMethod, credentialsMethod, sendMethod, healthMethod],
    },
    serve,
  );
  return {
    id,
    contextUrl: context === undefined ? undefined : `http://buildkit-session/${id}`,
    get loaded() {
      return loaded;
    },
    [Symbol.dispose]: () => {
      context?.destroy();
      session[Symbol.dispose]();
    },
  };
}
