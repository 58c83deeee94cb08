/*
 * The size of a terminal before the program's first look at it, as create and exec have it from Engine API 1.42 on:
 * `[height, width]`, in characters.
 */
import type { ConsoleSize } from '../../runtime/oci/spec.ts';
import { type Decoder, list, uint32 } from './goJson.ts';
import { isAtLeast } from './versions.ts';

const numbers = list(uint32);

/** Undefined where a side is missing or zero. */
export const consoleSizeBody: Decoder<ConsoleSize | undefined> = (value, where) => {
  const [height = 0, width = 0] = numbers(value, where) ?? [];
  return height > 0 && width > 0 ? [height, width] : undefined;
};

/** For the spec of a container or an exec that a client of `version` asked for. */
export function consoleSizeField(
  size: ConsoleSize | undefined,
  version: string,
): { readonly consoleSize?: ConsoleSize } {
  return size !== undefined && isAtLeast(version, '1.42') ? { consoleSize: size } : {};
}
