/*
 * Bodies: JSON within a limit and with Docker's rules for the Content-Type header (Engine 28, httputils), and image
 * tars as streams.
 */
import type { IncomingMessage } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type Decoder, parseJson } from './goJson.ts';

/** What is read and dropped of a body that is too large, so that the client is still there to read the answer. */
const maxDroppedBytes = 512 * 1024 * 1024;

/** 4 MiB: a container with thousands of labels has about 1 MiB; Docker itself has no limit. */
export const maxJsonBytes: number = 4 * 1024 * 1024;

function tooLarge(): LinkspanError {
  return new LinkspanError(
    'requestTooLarge',
    `the request body is too large: at most ${maxJsonBytes} bytes of JSON are accepted`,
  );
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length <= maxJsonBytes) chunks.push(chunk);
    else if (length > maxDroppedBytes) break;
    else chunks.length = 0;
  }
  if (length > maxJsonBytes) throw tooLarge();
  return Buffer.concat(chunks);
}

/** Docker's answer to a Content-Type header that cannot be read. */
export function malformedContentType(given: string | undefined): LinkspanError {
  const why = (given ?? '') === '' ? 'no media type' : 'expected slash after first token';
  return new LinkspanError('requestInvalid', `malformed Content-Type header (${given ?? ''}): mime: ${why}`);
}

function checkContentType(given: string | undefined): void {
  const mediaType = (given ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (mediaType === 'application/json') return;
  if (!/^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(mediaType)) throw malformedContentType(given);
  throw new LinkspanError(
    'requestInvalid',
    `unsupported Content-Type header (${given}): must be 'application/json'`,
  );
}

/** Undefined if the request has no body. Throws codes requestInvalid and requestTooLarge. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const declared = request.headers['content-length'];
  const isChunked = request.headers['transfer-encoding'] !== undefined;
  if (!isChunked && (declared === undefined || declared === '0')) return undefined;
  checkContentType(request.headers['content-type']);
  const body = await readAll(request);
  if (body.toString('latin1').trim() === '')
    throw new LinkspanError('requestInvalid', 'invalid JSON: got EOF while reading request body');
  return parseJson(body.toString('utf8'));
}

/** The decoded body; a missing one gives the zero value. */
export async function readBody<T>(request: IncomingMessage, decode: Decoder<T>): Promise<T> {
  return decode(await readJson(request), '');
}

/**
 * The body as a stream that may be destroyed: the connection stays, and the rest of the body is dropped, so that the
 * client gets to read why. Fails when the client goes away in the middle.
 */
export function bodyStream(request: IncomingMessage): Readable {
  const body = new PassThrough();
  // Whoever reads hears of it; until somebody does, an error that nobody hears would end the daemon.
  body.on('error', () => {});
  request.pipe(body);
  request.once('close', () => {
    if (!request.complete) body.destroy(new LinkspanError('requestInvalid', 'unexpected EOF'));
  });
  body.once('close', () => {
    request.unpipe(body);
    request.resume();
  });
  return body;
}
