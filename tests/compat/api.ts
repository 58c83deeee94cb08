/*
 * Raw requests at the engine's socket, for what no command line would send.
 */
import { request } from 'node:http';
import { text } from 'node:stream/consumers';

export interface Answer {
  readonly status: number;
  readonly body: string;
  /** The `message` of an error answer. */
  readonly message: string;
}

function messageOf(body: string): string {
  try {
    return (JSON.parse(body) as { message?: string }).message ?? '';
  } catch {
    return '';
  }
}

/** One request; `body` is sent as it is, with JSON's content type. */
export function callApi(
  socketPath: string,
  method: string,
  path: string,
  body?: string,
  extraHeaders: Readonly<Record<string, string>> = {},
  timeoutMs = 20_000,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = {
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...extraHeaders,
    };
    const call = request({ socketPath, method, path, headers, timeout: timeoutMs }, (response) => {
      text(response).then((answer) => {
        resolve({ status: response.statusCode ?? 0, body: answer, message: messageOf(answer) });
      }, reject);
    });
    call.on('error', reject);
    call.once('timeout', () => call.destroy(new Error(`no answer to ${method} ${path}`)));
    call.end(body);
  });
}
