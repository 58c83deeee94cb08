/*
 * Platforms, as users name them and as the API takes them.
 */
import { CliError } from '../cliError.ts';

/** This machine's, as the docker CLI has it for `linux` alone. */
function hostArchitecture(): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };
  return names[process.arch] ?? process.arch;
}

/** `linux/arm64/v8`, `arm64` or `linux` as a query's JSON; undefined for none. Throws CliError. */
export function platformQuery(text: string): string | undefined {
  if (text === '') return undefined;
  const [os = '', architecture, variant, ...rest] = text.split('/');
  if (rest.length > 0)
    throw new CliError(
      `invalid platform: ${JSON.stringify(text)}: cannot parse platform specifier: invalid argument`,
    );
  if (architecture === undefined)
    return JSON.stringify(
      os === 'linux' ? { architecture: hostArchitecture(), os } : { architecture: os, os: 'linux' },
    );
  return JSON.stringify({ architecture, os, ...(variant === undefined ? {} : { variant }) });
}
