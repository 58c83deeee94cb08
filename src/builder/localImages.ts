/*
 * Images that only our store has, as what a Dockerfile stands on: a rule for each of them tells BuildKit to look into the
 * session instead of a registry (moby.buildkit.v1.sourcepolicy), and there their blobs are read from our store
 * (containerd.services.content.v1). A rule is about sources: a stage of the same name stays a stage.
 */
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Wire } from '../codec/protobuf/wire.ts';
import type { ImageContent, LocalTag } from '../runtime/images/content.ts';
import { beginAnswer, endCall, frameMessage, GrpcError, grpcCode, readMessages, writeTo } from './grpc.ts';

const storeId = 'linkspan-images';
const storeField = 'buildkit-attachable-store-id';
const contentPath = '/containerd.services.content.v1.Content/';
/** Of the policy's actions. */
const convert = 2;

/** SolveRequest's source_policy. Without a tag there is none. */
export function planPolicy(tags: readonly LocalTag[]): object | undefined {
  if (tags.length === 0) return undefined;
  return {
    version: '1',
    rules: tags.flatMap(({ reference, digest }) =>
      // As the Dockerfile names it, and as BuildKit does once it has found it.
      [reference, `${reference}@${digest}`].map((name) => ({
        action: convert,
        // By wildcards, of which names of images have none.
        selector: { identifier: `docker-image://${name}` },
        updates: { identifier: `oci-layout://${reference}@${digest}`, attrs: { 'oci.store': storeId } },
      })),
    ),
  };
}

/** True for a call of the session that is about our images. */
export function isOfLocalImages(path: string, headers: OutgoingHttpHeaders): boolean {
  return path.startsWith(contentPath) && String(headers[storeField]).replace(/^oci:/, '') === storeId;
}

async function answer(
  stream: ServerHttp2Stream,
  path: string,
  wire: Wire,
  content: ImageContent,
): Promise<void> {
  const [message] = await Array.fromAsync(readMessages(stream));
  const method = path.slice(contentPath.length);
  if (message === undefined || (method !== 'Info' && method !== 'Read'))
    throw new GrpcError(grpcCode.unimplemented, `images are read only, not ${method}`);
  const { digest, offset, size } = wire.message('ContentRequest').deserialize(message) as Record<
    string,
    string
  >;
  const all = await content.sizeOf(digest ?? '');
  if (all === undefined) throw new GrpcError(grpcCode.notFound, `${digest}: not found`);
  beginAnswer(stream);
  if (method === 'Info') {
    const info = { digest, size: String(all) };
    await writeTo(stream, frameMessage(wire.message('ContentInfoResponse').serialize({ info })));
  } else {
    let at = Number(offset);
    const codec = wire.message('ContentPart');
    for await (const data of content.read(digest ?? '', at, Number(size) || all - at)) {
      await writeTo(stream, frameMessage(codec.serialize({ offset: String(at), data })));
      at += data.length;
    }
  }
  endCall(stream);
}

/** Serves such a call. Never throws. */
export async function serveLocalImages(
  stream: ServerHttp2Stream,
  path: string,
  wire: Wire,
  content: ImageContent,
): Promise<void> {
  await answer(stream, path, wire, content).catch((error: unknown) => endCall(stream, error));
}
