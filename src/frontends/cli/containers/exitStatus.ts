/*
 * Exit codes of containers: waiting for one, and the code of a container that could not start.
 */
import { CliError } from '../cliError.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { textOf } from '../http/apiClient.ts';

interface WaitReply {
  readonly StatusCode: number;
  readonly Error?: { readonly Message: string } | null;
}

/**
 * Asks the daemon to report the exit. Resolves as soon as the daemon watches; what it resolves to gives the code
 * when the container has ended (or, with `removed`, is gone).
 */
export async function watchExit(
  client: ApiClient,
  id: string,
  condition: 'next-exit' | 'removed' | 'not-running',
): Promise<() => Promise<number>> {
  const query = { condition: condition === 'not-running' ? undefined : condition };
  const response = await client.request('POST', `/containers/${encodeURIComponent(id)}/wait`, { query });
  const code = textOf(response).then((text) => {
    const reply = JSON.parse(text) as WaitReply;
    if (reply.Error?.Message) throw new CliError(reply.Error.Message, 125);
    return reply.StatusCode;
  });
  // The caller may never ask; a broken connection must not then end the process.
  code.catch(() => {});
  return () => code;
}

/** 127 for a command that does not exist, 126 for one that cannot be executed, otherwise `fallback`. */
export function exitCodeOfStartFailure(message: string, fallback: number): number {
  if (/executable file not found|no such file or directory|system cannot find the file/.test(message))
    return 127;
  if (/permission denied|is a directory/.test(message)) return 126;
  return fallback;
}
