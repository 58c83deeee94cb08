/*
 * Docker's multiplexed stream: where a process has no terminal, its two outputs share one connection in frames.
 *   offset 0: stream (1 stdout, 2 stderr) · 1: three zero bytes · 4: payload length, 4 bytes big endian · 8: payload
 * Content types came with API 1.42.
 */
import { isAtLeast } from './versions.ts';

export type OutputStream = 'stdout' | 'stderr';

const rawStreamType = 'application/vnd.docker.raw-stream';
const multiplexedStreamType = 'application/vnd.docker.multiplexed-stream';

/** Header and payload in one buffer. */
export function encodeFrame(stream: OutputStream, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(8 + payload.length);
  frame[0] = stream === 'stdout' ? 1 : 2;
  frame.writeUInt32BE(payload.length, 4);
  frame.set(payload, 8);
  return frame;
}

/** What to call the stream to a client of `version`. */
export function streamType(version: string, isTty: boolean): string {
  return isTty || !isAtLeast(version, '1.42') ? rawStreamType : multiplexedStreamType;
}
