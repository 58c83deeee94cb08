/*
 * This machine's architecture by Go's name, which images, profiles and the API use.
 */

const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** `amd64`, `arm64`. */
export const goArchitecture: string = names[process.arch] ?? process.arch;
