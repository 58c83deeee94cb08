/*
 * The kinds of flag values, how help names them, and what each accepts. The error texts are Go's, because users and
 * scripts know them from Docker.
 */
import { parseMemoryBytes } from './text/units.ts';

export type FlagType =
  | 'bool'
  | 'string'
  | 'int'
  | 'uint16'
  | 'uint32'
  | 'uint'
  | 'decimal'
  | 'bytes'
  | 'duration'
  | 'list'
  | 'strings'
  | 'map'
  | 'filter'
  | 'network'
  | 'mount'
  | 'node-addr'
  | 'ipNetSlice'
  | 'external-ca'
  | 'pem-file'
  | 'ulimit';

function integerProblem(value: string, go: string, pattern: RegExp): string | undefined {
  return pattern.test(value) ? undefined : `strconv.${go}: parsing ${JSON.stringify(value)}: invalid syntax`;
}

const durationPattern = /^[-+]?(\d+(\.\d*)?(ns|us|\u00b5s|ms|s|m|h))+$|^0$/;

/** What is wrong with `value` for a flag of this type, or undefined. */
export function checkFlagValue(type: FlagType, value: string): string | undefined {
  switch (type) {
    case 'bool':
      return /^(1|0|t|f|T|F|true|false|TRUE|FALSE|True|False)$/.test(value)
        ? undefined
        : `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`;
    case 'int':
      return integerProblem(value, 'ParseInt', /^[-+]?(\d+|0x[\da-f]+)$/i);
    case 'uint32':
      if (/^\d+$/.test(value) && Number(value) >= 2 ** 32)
        return `strconv.ParseUint: parsing ${JSON.stringify(value)}: value out of range`;
      return integerProblem(value, 'ParseUint', /^\d+$/);
    case 'uint':
    case 'uint16':
      return integerProblem(value, 'ParseUint', /^\d+$/);
    case 'decimal':
      return /^[-+]?\d*(\.\d+)?(\/\d+)?$/.test(value) && /\d/.test(value)
        ? undefined
        : `failed to parse ${value} as a rational number`;
    case 'bytes':
      return value === '-1' || parseMemoryBytes(value) !== undefined ? undefined : `invalid size: '${value}'`;
    case 'duration':
      if (durationPattern.test(value)) return undefined;
      return `time: ${/^[-+]?\d+(\.\d*)?$/.test(value) ? 'missing unit in' : 'invalid'} duration ${JSON.stringify(value)}`;
    case 'filter':
      return value === '' || value.includes('=') ? undefined : 'bad format of filter (expected name=value)';
    case 'string':
    case 'list':
    case 'strings':
    case 'map':
    case 'network':
    case 'mount':
    case 'node-addr':
    case 'ipNetSlice':
    case 'external-ca':
    case 'pem-file':
    case 'ulimit':
      return undefined;
  }
}

/** Nanoseconds in a Go duration such as `1h2m3.5s`; 0 if malformed (parseFlags has checked it). */
export function durationToNs(text: string): number {
  const unitNs: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };
  let total = 0;
  for (const [, amount = '0', unit = 's'] of text.matchAll(/(\d+(?:\.\d*)?)(ns|us|\u00b5s|ms|s|m|h)/g))
    total += Number(amount) * (unitNs[unit] ?? 0);
  return text.startsWith('-') ? -total : total;
}
