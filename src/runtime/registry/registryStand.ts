/* For tests of this folder: an HTTP server on loopback as a registry, and the options of a client that asks it. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RegistryOptions } from './registryHttp.ts';

export interface LoopbackRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly domain: string;
  /** For `a/b:1` of it, soon out of patience. */
  readonly options: RegistryOptions;
}

/** `handle` answers all but the first look. */
export async function startLoopbackRegistry(handle: RequestListener): Promise<LoopbackRegistry> {
  const server = createServer((request, response) => {
    if (request.url === '/v2/') response.end('{}');
    else handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const domain = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    domain,
    options: {
      reference: { domain, path: 'a/b', tag: '1' },
      credentials: {},
      insecureRegistries: [],
      signal: new AbortController().signal,
      patience: { attempts: 3, pauseMs: 1, stallMs: 30_000 },
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
