/*
 * Images on their way from a BuildKit into our store: a solve is asked for docker's archive instead of what its client
 * wanted (rewrite.ts), and the call of the session by which BuildKit sends that archive ends here. The answer to that
 * call is given once the image is in the store, so that a solve that has succeeded has its image, and one whose image
 * is refused fails with the reason.
 */
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { Readable } from 'node:stream';
import type { Wire } from '../codec/protobuf/wire.ts';
import type { ImageStore } from '../runtime/images/images.ts';
import { beginAnswer, endCall, readMessages } from './grpc.ts';

/** The method of a session that takes what an exporter sends. */
export const sendMethod = '/moby.filesync.v1.FileSend/DiffCopy';
/** By which one of several exporters says who it is; BuildKits before 0.13 do not. */
const exporterIdField = 'buildkit-attachable-exporter-id';

async function* dataOf(stream: ServerHttp2Stream, wire: Wire): AsyncGenerator<Uint8Array> {
  const codec = wire.message('BytesMessage');
  for await (const message of readMessages(stream))
    yield (codec.deserialize(message) as { data: Uint8Array }).data;
  // A stream that was reset ends like one that is complete.
  if (stream.aborted) throw new Error('the image was cut off');
}

/** Loads what BuildKit sends over `stream`, and answers it. Never throws; `onLoaded` gets the names, or the id. */
export async function receiveImage(
  stream: ServerHttp2Stream,
  wire: Wire,
  images: Pick<ImageStore, 'load'>,
  onLoaded: (names: readonly string[]) => void = () => {},
): Promise<void> {
  try {
    const tar = Readable.from(dataOf(stream, wire), { objectMode: false });
    const names = await images.load(tar, () => {});
    onLoaded(names);
    beginAnswer(stream);
    endCall(stream);
  } catch (error) {
    endCall(stream, error);
  }
}

/** Which exporters' archives are for us, by session. */
export class ImportBook {
  /** How many solves expect each exporter: those of one session may have exporters in the same place. */
  readonly #expected = new Map<string, Map<string, number>>();

  /** Exporters by their place in the solve. They are expected until the result is disposed of. */
  expect(sessionId: string, exporters: readonly number[]): Disposable {
    const count = (by: 1 | -1): void => {
      const ids = this.#expected.get(sessionId) ?? new Map<string, number>();
      for (const id of exporters.map(String)) {
        const users = (ids.get(id) ?? 0) + by;
        if (users > 0) ids.set(id, users);
        else ids.delete(id);
      }
      if (ids.size > 0) this.#expected.set(sessionId, ids);
      else this.#expected.delete(sessionId);
    };
    count(1);
    return { [Symbol.dispose]: () => count(-1) };
  }

  isExpected(sessionId: string, path: string, headers: OutgoingHttpHeaders): boolean {
    if (path !== sendMethod) return false;
    const ids = this.#expected.get(sessionId);
    const id = headers[exporterIdField];
    return ids !== undefined && (id === undefined || ids.has(String(id)));
  }
}
