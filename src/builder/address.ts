/*
 * Where a BuildKit listens, as its own tools write it: `unix:///run/buildkit/buildkitd.sock`, `tcp://host:1234`.
 */

export type BuilderAddress =
  | { readonly path: string; readonly text: string }
  | { readonly host: string; readonly port: number; readonly text: string };

/** Undefined for anything else. */
export function parseBuilderAddress(text: string): BuilderAddress | undefined {
  const path = /^unix:\/\/(\/.*)$/.exec(text)?.[1];
  if (path !== undefined) return { path, text };
  const [, ip6, name, digits] = /^tcp:\/\/(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/.exec(text) ?? [];
  const [host, port] = [ip6 ?? name, Number(digits)];
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port, text };
}
