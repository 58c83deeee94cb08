/*
 * Platforms, as users name them and as the API takes them.
 */

/** `linux/arm64/v8` as a query's JSON; undefined for none. */
export function platformQuery(text: string): string | undefined {
  if (text === '') return undefined;
  const [os = '', architecture = '', variant] = text.split('/');
  const named = architecture === '' ? { architecture: os, os: 'linux' } : { architecture, os };
  return JSON.stringify({ ...named, ...(variant === undefined ? {} : { variant }) });
}
