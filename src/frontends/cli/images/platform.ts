/*
 * Platforms, as users name them and as the API takes them.
 */
import { goArchitecture } from '../../../base/architecture.ts';
import { CliError } from '../cliError.ts';

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
      os === 'linux' ? { architecture: goArchitecture, os } : { architecture: os, os: 'linux' },
    );
  return JSON.stringify({ architecture, os, ...(variant === undefined ? {} : { variant }) });
}
